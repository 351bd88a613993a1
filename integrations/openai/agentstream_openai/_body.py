"""A response as it is stored: status, safe headers, and the body as one block with its chunk lengths."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_HEADERS = frozenset(
    (
        *("content-type", "content-disposition", "location", "date"),
        *("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "x-ms-region"),
        *("retry-after", "retry-after-ms", "x-should-retry"),
    )
)
_HEADER_PREFIXES = ("openai-", "x-ratelimit-")

COMPLETE = "complete"
CLOSED = "closed"
CUT = "cut"
BROKEN = "broken"


def safe_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of `headers` that are stored and handed on: a list of what may, so that no secret has to be known.

    What describes the bytes on the wire (length, encoding) goes too: the body is kept decoded.
    """
    lower = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in lower if name in _HEADERS or name.startswith(_HEADER_PREFIXES)}


@dataclass(slots=True)
class Recorded:
    """What was handed on of one response.

    `end` tells how its body ended: `complete`; `closed` by the caller; `cut`, a clean end without the marker that
    ends such a body; `broken` by an error.
    """

    status: int
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    end: str = COMPLETE

    def stored(self) -> dict[str, Any]:
        """The value that is a step's result. The body is text where that is no longer than its compressed form."""
        body = b"".join(self.chunks)
        value: dict[str, Any] = {"status": self.status, "headers": self.headers, **_packed(body)}
        if len(self.chunks) > 1:
            value["chunks"] = _lengths(self.chunks)
        if self.end != COMPLETE:
            value["end"] = self.end
        return value

    @classmethod
    def read(cls, value: object) -> Recorded | None:
        """What `stored()` made, read back; None where `value` is nothing of the kind (a record is untrusted)."""
        if not isinstance(value, dict) or not isinstance(value.get("status"), int):
            return None
        headers, end = value.get("headers"), value.get("end", COMPLETE)
        try:
            body = _unpacked(value)
            chunks = list(_cut(body, str(value.get("chunks", ""))))
        except (ValueError, zlib.error):
            return None
        if not isinstance(headers, dict):
            return None
        return cls(value["status"], {str(name): str(text) for name, text in headers.items()}, chunks, str(end))


def _packed(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    small = zlib.compress(body, 9)
    in_base64 = len(small) * 4 // 3
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"zlib": small} if len(small) < len(body) else {"bytes": body}
    return {"text": text} if len(json.dumps(text, ensure_ascii=False)) <= in_base64 else {"zlib": small}


def _unpacked(value: Mapping[str, Any]) -> bytes:
    if isinstance(value.get("zlib"), bytes):
        return zlib.decompress(value["zlib"])
    if isinstance(value.get("bytes"), bytes):
        return value["bytes"]
    return str(value.get("text", "")).encode()


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
