"""One stream as its row tells it, and what its row alone refuses."""

from __future__ import annotations

import sqlite3
from typing import Any
from zlib import crc32

import msgspec

from agentstream.backends.embedded.checking import instant, is_json, offset_of
from agentstream.backends.embedded.faults import Damaged
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import StreamInfo

ANYTHING = 2**62
"""In place of a new tail: more than the tail changed (created, closed, deleted)."""

# The last row of a stream: its frame's end is the stream's tail, its time the last change.
LAST_FRAME = "(SELECT id FROM frames WHERE stream = s.id ORDER BY start DESC, id DESC LIMIT 1)"

STREAMS = f"""
SELECT s.id, s.path, s.content_type, s.parent, s.fork_at, s.fork_source, s.forks, s.closed, s.deleted, s.ttl,
       s.expires_at, s.touched, s.seq, coalesce(f.start + f.count, s.fork_at), s.crc,
       f.start = (SELECT start FROM frames WHERE stream = s.id ORDER BY start DESC LIMIT 1),
       (SELECT id FROM frames WHERE stream = s.id ORDER BY start, id LIMIT 1), s.created, f.at
FROM streams s LEFT JOIN frames f ON f.id = {LAST_FRAME}
"""
"""Rows for `stream_of`; a WHERE follows. Every stream has a frame, if only the mark of its creation."""


class Stream(msgspec.Struct):
    """A row of `streams`, its tail, and (for the writer) what is known of its producers."""

    id: int
    path: str
    content_type: str
    parent: int | None
    fork_at: int
    fork_source: str | None
    forks: int
    closed: int
    deleted: int
    ttl: int | None
    expires_at: str | None
    touched: float | None
    seq: str | None
    tail: int
    producers: dict[str, tuple[int, int] | None] = msgspec.field(default_factory=dict)
    json: bool = False
    life: int | None = None
    """The id of its first frame, where it was looked up: ids of streams are used again, those of frames are not."""

    def __post_init__(self) -> None:
        self.json = is_json(self.content_type)

    @property
    def offset(self) -> str:
        return offset_of(self.tail)

    def expired(self, now: float) -> bool:
        return over(self.ttl, self.touched, self.expires_at, now)

    def worn(self, now: float) -> bool:
        """Whether an access now should be written down as one."""
        return self.ttl is not None and self.touched is not None and now - self.touched > grain(self.ttl)

    def checksum(self) -> int:
        """Stands for everything the row says."""
        return _checksum(
            self.id, self.path, self.content_type, self.parent, self.fork_at, self.fork_source, self.forks,
            self.closed, self.deleted, self.ttl, self.expires_at, self.touched, self.seq,
        )  # fmt: skip

    def info(self) -> StreamInfo:
        return StreamInfo(self.content_type, self.offset, bool(self.closed), self.ttl, self.expires_at)


def grain(ttl: int) -> float:
    """How coarsely accesses are noted: a stream's time to live is renewed by a write at most this often."""
    return min(ttl / 20, 60.0)


def over(ttl: int | None, touched: float | None, expires_at: str | None, now: float) -> bool:
    """Whether a stream's time to live is over; never early, and late by at most `grain`."""
    if ttl is not None and touched is not None:
        return now >= touched + ttl + grain(ttl)
    return expires_at is not None and now >= instant(expires_at)


def load(connection: sqlite3.Connection, path: str) -> Stream | None:
    """The stream at `path`, deleted or not, or None."""
    row = connection.execute(f"{STREAMS} WHERE s.path = ?", (path,)).fetchone()
    return None if row is None else stream_of(row)


def stream_of(row: tuple[Any, ...]) -> Stream:
    """A row of `STREAMS`; `Damaged` if it is not what was written."""
    if _checksum(*row[:13]) != row[14] or not row[15]:
        raise Damaged(f"the entry of stream {row[1]!r} is not what was written")
    return Stream(*row[:14], life=row[16])


def _checksum(*told: Any) -> int:
    return crc32(repr(told).encode()) - 0x80000000


def living(stream: Stream | None, path: str, now: float) -> Stream:
    """The stream if it can be used; `StreamNotFound` or `StreamGone` if not."""
    if stream is None:
        raise StreamNotFound(f"there is no stream {path!r}")
    expired = stream.expired(now)
    if stream.deleted or (expired and stream.forks):
        raise StreamGone(f"stream {path!r} was deleted; its forks still read it")
    if expired:
        raise StreamNotFound(f"stream {path!r} has expired")
    return stream
