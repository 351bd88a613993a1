"""One stream as its row tells it, and what its row alone refuses."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from agentstream.backends.embedded.checking import instant, is_json, offset_of
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import StreamInfo

ANYTHING = 2**62
"""In place of a new tail: more than the tail changed (created, closed, deleted)."""

# The last row of a stream: its frame's end is the stream's tail, its time the last change.
LAST_FRAME = "(SELECT id FROM frames WHERE stream = s.id ORDER BY start DESC, id DESC LIMIT 1)"

_LOAD = f"""
SELECT s.id, s.path, s.content_type, s.parent, s.fork_at, s.fork_source, s.forks, s.closed, s.deleted, s.ttl,
       s.expires_at, s.touched, s.seq, coalesce(f.start + f.count, s.fork_at)
FROM streams s LEFT JOIN frames f ON f.id = {LAST_FRAME} WHERE s.path = ?
"""


@dataclass(slots=True)
class Stream:
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
    producers: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    json: bool = False

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
    row = connection.execute(_LOAD, (path,)).fetchone()
    return None if row is None else Stream(*row)


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
