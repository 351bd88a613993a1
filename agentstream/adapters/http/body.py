"""A response as it is stored: status, safe headers, and the body as one block with its chunk lengths."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_HEADERS = frozenset(
    (
        *("content-type", "content-disposition", "location"),
        *("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "x-ms-region"),
        *("retry-after", "retry-after-ms", "x-should-retry"),
    )
)

Dictionaries = dict[str, bytes]
"""What a compressor knows beforehand, by the name under which a block written with it stands; new ones take the last.

Part of the stored form: none of them ever changes a byte.
"""

COMPLETE = "complete"
CLOSED = "closed"
CUT = "cut"
BROKEN = "broken"
CANCELLED = "cancelled"


def safe_headers(headers: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """Those of `headers` that are stored and handed on: a list of what may, so that no secret has to be known.

    `prefixes` are how the names of a provider's own harmless headers begin. What describes the bytes on the wire
    (length, encoding) goes too: the body is kept decoded.
    """
    lower = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in lower if name in _HEADERS or name.startswith(prefixes)}


@dataclass(slots=True)
class Recorded:
    """What was handed on of one response.

    `end` tells how its body ended: `complete`; `closed` by the caller; `cut`, a clean end without the marker that
    ends such a body; `broken` by an error; `cancelled` together with the task that read it.
    """

    status: int
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    end: str = COMPLETE

    def stored(self, dictionaries: Dictionaries, texts: Sequence[str] = ()) -> dict[str, Any]:
        """The value that is a step's result: the status, and headers and body as one compressed block.

        `texts` are in the body and in events before the outcome: in the record they are references to those, and the
        compressor knows them, so that what a model says is stored once.
        """
        name, dictionary = list(dictionaries.items())[-1]
        head: dict[str, Any] = {"headers": self.headers}
        if len(self.chunks) > 1:
            head["chunks"] = _lengths(self.chunks)
        compressor = zlib.compressobj(9, zdict=_primed(dictionary, texts))
        block = compressor.compress(
            b"\n".join((json.dumps(head, separators=(",", ":")).encode(), b"".join(self.chunks)))
        )
        value: dict[str, Any] = {"status": self.status, name: block + compressor.flush()}
        if texts:
            value["texts"] = {str(number): text for number, text in enumerate(texts)}  # a list would become items
        if self.end != COMPLETE:
            value["end"] = self.end
        return value

    @classmethod
    def read(cls, value: object, dictionaries: Dictionaries) -> Recorded | None:
        """What `stored()` made, read back; None where `value` is nothing of the kind (a record is untrusted)."""
        try:
            stored: Any = value
            status = int(stored["status"])
            name = next(name for name in dictionaries if name in stored)
            dictionary = _primed(dictionaries[name], _in_order(stored.get("texts", {})))
            head, _, body = zlib.decompressobj(zdict=dictionary).decompress(stored[name]).partition(b"\n")
            about = json.loads(head)
            headers = {str(name): str(text) for name, text in about["headers"].items()}
            chunks = list(_cut(body, about.get("chunks", "")))
        except (TypeError, KeyError, ValueError, AttributeError, StopIteration, zlib.error):
            return None
        return cls(status, headers, chunks, str(stored.get("end", COMPLETE)))


def _primed(dictionary: bytes, texts: Sequence[str]) -> bytes:
    """A dictionary, and after it the texts as a body has them. Part of the stored form: see `Dictionaries`."""
    written = (json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass") for text in texts)
    return b"".join((dictionary, *written))


def _in_order(texts: Mapping[str, Any]) -> list[str]:
    """The texts by their numbers: a server may write an object in another order."""
    found = [texts[str(number)] for number in range(len(texts))]
    if not all(isinstance(text, str) for text in found):
        raise TypeError("a text that is none")
    return found


def _lengths(chunks: Iterable[bytes]) -> str:
    """`1370 37*20 14`: a text, since lists of numbers cost more than what they say."""
    runs = ((size, len(list(same))) for size, same in groupby(map(len, chunks)))
    return " ".join(str(size) if count == 1 else f"{size}*{count}" for size, count in runs)


def _cut(body: bytes, lengths: str) -> Iterator[bytes]:
    start = 0
    for run in lengths.split():
        size, _, count = run.partition("*")
        if int(size) <= 0:
            raise ValueError(f"a chunk of {size} bytes")
        for _ in range(int(count or 1)):
            if start >= len(body):
                return
            yield body[start : start + int(size)]
            start += int(size)
    if start < len(body):
        yield body[start:]
