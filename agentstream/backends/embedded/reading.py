"""The reading half of the engine: pure questions to a connection, each inside one snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing

import msgspec

from agentstream.backends.base import List, Listed
from agentstream.backends.embedded.checking import offset_of, position_of
from agentstream.backends.embedded.faults import Damaged
from agentstream.backends.embedded.packing import checksum
from agentstream.backends.embedded.records import ANYTHING, STREAMS, Stream, living, load, stream_of
from agentstream.backends.embedded.schema import TOMBSTONES
from agentstream.protocol.operations import Batch, Read

_messages = msgspec.json.Decoder(list[msgspec.Raw])

# The frame that holds a position is the last to start at or before it.
_FRAMES = """
SELECT start, count, crc, body FROM frames
WHERE stream = :stream AND start < :stop
  AND start >= coalesce((SELECT max(start) FROM frames WHERE stream = :stream AND start <= :position), :position)
ORDER BY start, id
"""

# A stream and the ancestors that hold positions from :position on; each ends where its child begins.
_ANCESTORS = """
WITH RECURSIVE kin(id, parent, fork_at, stop) AS (
    SELECT id, parent, fork_at, :tail FROM streams WHERE id = :stream
    UNION ALL
    SELECT s.id, s.parent, s.fork_at, min(kin.stop, kin.fork_at)
    FROM kin JOIN streams s ON s.id = kin.parent WHERE min(kin.stop, kin.fork_at) > :position
)
SELECT id, fork_at, stop FROM kin WHERE fork_at < stop
"""

_LIST = f"{STREAMS} WHERE s.path >= ? AND s.path > ? AND NOT s.deleted ORDER BY s.path"


class Page(msgspec.Struct):
    """What one read found; `stream` as it was then, `position` where the page ends."""

    stream: Stream
    position: int
    messages: list[bytes] = msgspec.field(default_factory=list)

    def batch(self) -> Batch:
        current = self.position >= self.stream.tail
        closed, life = current and bool(self.stream.closed), str(self.stream.life)
        return Batch(
            tuple(self.messages), offset_of(self.position), current, closed, life, content_type=self.stream.content_type
        )


def head(connection: sqlite3.Connection, path: str, now: float) -> Stream:
    """The stream at `path`; refuses one that is not there."""
    return living(load(connection, path), path, now)


def read(connection: sqlite3.Connection, operation: Read, page_bytes: int, now: float) -> Page:
    """One page: at most `limit` messages and about `page_bytes`, at least one message if there is one."""
    stream = head(connection, operation.path, now)
    position = position_of(operation.offset, stream.tail) + operation.skip
    page = Page(stream, position)
    limit = operation.limit if operation.limit is not None else 2**62
    if position >= stream.tail:
        return page
    size = 0
    # closed here and not when it is forgotten: an interrupt that comes over that would be lost
    with closing(_frames(connection, stream, position)) as frames:
        for start, count, body in frames:
            begin, end = page.position - start, count
            if stream.json:
                found = _split(body, count, stream)[begin:]
                if len(page.messages) + len(found) > limit:
                    found = found[: limit - len(page.messages)]
                page.messages += found
                end = begin + len(found)
            else:
                page.messages.append(body[begin:end])
            page.position = start + end
            size += len(body)
            if size >= page_bytes or len(page.messages) >= limit:
                return page
    if page.position != stream.tail:
        raise _damaged(stream, f"it ends at {page.position} and should end at {stream.tail}")
    return page


def listed(connection: sqlite3.Connection, operation: List, now: float) -> tuple[Listed, ...]:
    """Living streams below a prefix, by path."""
    found: list[Listed] = []
    cursor = connection.execute(_LIST, (operation.prefix, operation.after))
    for row in cursor:
        stream = stream_of(row)
        if len(found) >= operation.limit or not stream.path.startswith(operation.prefix):
            break
        if not stream.expired(now):
            created, updated = row[17:]
            found.append(Listed(stream.path, created, updated / 1000, stream.offset, stream.tail, bool(stream.closed)))
    cursor.close()
    return tuple(found)


def check_tail(connection: sqlite3.Connection, stream: Stream) -> None:
    """Refuses to go on after a last frame that is not what was written."""
    if stream.tail > stream.fork_at:
        before = "SELECT max(start) FROM frames WHERE stream = ? AND start < ?"
        last = connection.execute(before, (stream.id, stream.tail)).fetchone()[0]
        for _ in _frames(connection, stream, last or 0):
            pass


def last_id(connection: sqlite3.Connection) -> int:
    """The id of the newest frame of the store."""
    return connection.execute("SELECT max(id) FROM frames").fetchone()[0] or 0


def changed(connection: sqlite3.Connection, after: int) -> dict[str, int]:
    """Path → tail (or `ANYTHING`) of every stream with a frame after id `after`."""
    rows = connection.execute(
        "SELECT s.path, max(f.start + f.count), min(f.count) = 0 OR s.closed FROM frames f"
        " JOIN streams s ON s.id = f.stream WHERE f.id > ? GROUP BY f.stream",
        (after,),
    )
    found: dict[str, int] = {path: ANYTHING if more else tail for path, tail, more in rows}
    # +stream: looked up by id, not by the index of all tombstones
    gone = connection.execute("SELECT body FROM frames WHERE id > ? AND +stream = ?", (after, TOMBSTONES))
    found.update((path.decode(), ANYTHING) for (path,) in gone)
    return found


def _frames(
    connection: sqlite3.Connection, stream: Stream, position: int
) -> Generator[tuple[int, int, bytes], None, None]:
    """The frames from `position` to the tail, checked: (start, count, body), cut where a child begins."""
    for owner, here, stop in _segments(connection, stream, position):
        rows = connection.execute(_FRAMES, {"stream": owner, "position": here, "stop": stop})
        parts = b""
        try:
            for start, count, crc, body in rows:
                if count is None:
                    parts = body
                    continue
                if parts:
                    body, parts = parts + body, b""
                if checksum(owner, start, count, body) != crc:
                    raise _damaged(stream, f"the checksum of the frame at {start} does not match")
                if count == 0:
                    continue
                if not start <= here < start + count:
                    raise _damaged(stream, f"position {here} is missing")
                if start + count > stop:
                    yield start, stop - start, _first(body, count, stop - start, stream)
                else:
                    yield start, count, body
                here = start + count
        except TypeError as error:
            raise _damaged(stream, f"a frame near {here} has values of a wrong type") from error
        finally:
            rows.close()


def _segments(connection: sqlite3.Connection, stream: Stream, position: int) -> list[tuple[int, int, int]]:
    """Who holds which positions: (stream id, from, to), oldest ancestor first."""
    if stream.parent is None or position >= stream.fork_at:
        return [(stream.id, position, stream.tail)]
    places = {"stream": stream.id, "tail": stream.tail, "position": position}
    kin = connection.execute(_ANCESTORS, places).fetchall()
    return [(owner, max(fork_at, position), stop) for owner, fork_at, stop in reversed(kin)]


def _first(body: bytes, count: int, keep: int, stream: Stream) -> bytes:
    """The part of a frame that a fork kept."""
    return b",".join(_split(body, count, stream)[:keep]) if stream.json else body[:keep]


def _split(body: bytes, count: int, stream: Stream) -> list[bytes]:
    """The messages of a JSON frame, byte for byte."""
    if count == 1:
        return [body]
    messages = [bytes(raw) for raw in _messages.decode(b"[%b]" % body)]
    if len(messages) != count:
        raise _damaged(stream, f"a frame of {count} messages has {len(messages)}")
    return messages


def _damaged(stream: Stream, what: str) -> Damaged:
    return Damaged(f"the record of stream {stream.path!r} is damaged: {what}")
