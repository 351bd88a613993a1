"""References to large values: what stands in an event for bytes that are kept in a stream of their own.

    {"$blob": {"sha256": "…", "size": 300000, "type": "text/plain; charset=utf-8", "encoding": "text"}}

`encoding` says what the bytes are the content of: "text" (a string, UTF-8), "bytes" (the codec's
`$bytes`), "json" (any other part of a value, as its canonical form is written; if attachments are
in it they stand beside, under `holds`), or "attachment" (a file with a media type and perhaps a `name`).

The codec escapes dicts of the user's whose keys begin with `$`, so a `$blob` object in a record is always ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

BLOB = "$blob"
TEXT, BYTES, JSON, ATTACHMENT = "text", "bytes", "json", "attachment"
ENCODINGS = {
    TEXT: "text/plain; charset=utf-8",
    BYTES: "application/octet-stream",
    JSON: "application/json",
}
"""The encodings of values, and their media types."""

MARK = b'"$blob"'
"""Stands in every message that refers to a blob."""

_ADDRESS = re.compile(r"[0-9A-Za-z_-]{16,128}(\.[0-9A-Za-z_-]{1,128})?", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Ref(msgspec.Struct, frozen=True):
    """What is known of some large content.

    `holds` are the forms of the attachments in it; `at` is where it is, if that is not under its SHA-256 (encrypted).
    """

    sha256: str
    size: int
    type: str
    encoding: str
    name: str | None = None
    holds: tuple[Any, ...] = ()
    at: str | None = None

    @property
    def address(self) -> str:
        """What the stream that holds the content is called by."""
        return self.at or self.sha256

    def stored(self) -> dict[str, Any]:
        """What stands under `$blob`."""
        told: dict[str, Any] = {"sha256": self.sha256, "size": self.size, "type": self.type, "encoding": self.encoding}
        if self.name is not None:
            told["name"] = self.name
        if self.at is not None:
            told["at"] = self.at
        if self.holds:
            told["holds"] = list(self.holds)
        return told


def ref_in(data: Any) -> Ref | None:
    """The reference that a stored object is; None for anything else."""
    if type(data) is not dict or len(data) != 1:
        return None
    return read_ref(data.get(BLOB))


def read_ref(content: Any) -> Ref | None:
    """What stands under `$blob`, whoever wrote it; None where it is no reference."""
    if type(content) is not dict:
        return None
    name, at, size, holds = content.get("name"), content.get("at"), content.get("size"), content.get("holds", [])
    digest, media_type, encoding = content.get("sha256"), content.get("type"), content.get("encoding")
    if type(digest) is not str or not _HASH.fullmatch(digest) or type(media_type) is not str or type(holds) is not list:
        return None
    if type(encoding) is not str or (encoding not in ENCODINGS and encoding != ATTACHMENT):
        return None
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 <= size < 2**63 or size != int(size):
        return None
    if at is not None and not (isinstance(at, str) and _ADDRESS.fullmatch(at)):
        return None
    return Ref(digest, int(size), media_type, encoding, name if isinstance(name, str) else None, tuple(holds), at)


def refs_of(data: Any) -> Iterator[Ref]:
    """Every reference in a stored value, those of attachments inside other large values too."""
    waiting = [data]
    while waiting:
        part = waiting.pop()
        if type(part) is dict:
            ref = ref_in(part)
            if ref is not None:
                yield ref
                waiting.extend(ref.holds)
            else:
                waiting.extend(part.values())
        elif type(part) is list:
            waiting.extend(part)


def without_places(data: Any) -> Any:
    """A stored form in which large content is called by its hash alone, wherever it is kept."""
    if type(data) is list:
        return [without_places(part) for part in data]
    if type(data) is not dict:
        return data
    made = {name: without_places(part) for name, part in data.items()}
    content = made.get(BLOB)
    if len(made) == 1 and type(content) is dict:
        content.pop("at", None)
    return made


def placed(data: Any, place: Callable[[str], str | None]) -> Any:
    """A stored form whose large content is said to be where `place` says, by its SHA-256."""
    if type(data) is list:
        return [placed(part, place) for part in data]
    if type(data) is not dict:
        return data
    made = {name: placed(part, place) for name, part in data.items()}
    content = made.get(BLOB)
    if len(made) == 1 and type(content) is dict and type(content.get("sha256")) is str:
        holds = {"holds": content.pop("holds")} if "holds" in content else {}
        content.update(at=place(content["sha256"]), **holds)  # in the order that `stored` writes them in
    return made


def refs_in(message: bytes) -> list[Ref]:
    """Every reference in a stored message; most hold none, and are not parsed to know it."""
    if MARK not in message:
        return []
    try:
        return list(refs_of(msgspec.json.decode(message)))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
