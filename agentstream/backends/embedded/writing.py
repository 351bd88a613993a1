"""The writing half of the engine: operations applied one by one inside one transaction.

Everything is validated before anything is changed, so an operation that is refused leaves
the transaction as it was and its neighbours are committed. What the writer knows of tails
and producers is kept between transactions for as long as no other connection wrote.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Sequence
from itertools import chain
from zlib import crc32

from agentstream.backends.embedded import faults, packing
from agentstream.backends.embedded.checking import check_messages, media_type, position_of
from agentstream.backends.embedded.faults import Damaged
from agentstream.backends.embedded.packing import Packer, Row
from agentstream.backends.embedded.reading import check_tail
from agentstream.backends.embedded.records import ANYTHING, Stream, living, load
from agentstream.backends.embedded.rules import frames_of, refuse_out_of_turn, same_configuration
from agentstream.backends.embedded.schema import TOMBSTONES
from agentstream.protocol.errors import (
    InvalidRequest,
    SequenceConflict,
    StreamClosed,
    StreamConflict,
    StreamNotFound,
)
from agentstream.protocol.operations import Append, Appended, Create, Created, Delete, ForkPoint

_REMEMBERED = 20_000
# Seven columns each: SQLite takes 999 variables before version 3.32, 32,766 since.
_ROWS_AT_ONCE = 2048 if sqlite3.sqlite_version_info >= (3, 32, 0) else 128
_FEW_ROWS = 32
_TOMBSTONE_SECONDS = 3600
_SWEEP_SECONDS = 60.0

_FRAMES = "INSERT INTO frames(id, stream, start, count, at, crc, body) VALUES "
_PRODUCERS = "INSERT INTO producers(stream, id, epoch, seq, crc) VALUES "
_PRODUCERS_END = " ON CONFLICT(stream, id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, crc = excluded.crc"


class Writer:
    """Applies operations over one connection, which nobody else uses meanwhile."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.changes: dict[str, int] = {}
        """Path and new tail of what this transaction changed."""
        self.first_id = 1
        """The first frame id of this transaction."""
        self.now = 0.0
        self._version = -1
        self._streams: dict[str, Stream] = {}
        self._packer: Packer = Packer()
        self._rows: list[Row] = []
        self._producers: dict[tuple[int, str], tuple[int, int]] = {}
        self._swept = 0.0

    @property
    def next_id(self) -> int:
        return self._packer.next_id

    def begin(self) -> None:
        """Opens a transaction and forgets what another connection made stale."""
        execute = self.connection.execute
        self._lock_store()
        version = execute("PRAGMA data_version").fetchone()[0]
        if version != self._version or len(self._streams) > _REMEMBERED:
            self._streams.clear()
            self._packer = packing.resume(self.connection)
            self._version = version
        self.first_id = self._packer.next_id
        self.changes = {}
        self.now = int(time.time() * 1000) / 1000

    def _lock_store(self) -> None:
        """`BEGIN IMMEDIATE`, asked for every half millisecond while another process commits.

        SQLite's own waiting sleeps up to 100 ms between tries, and a process that commits all
        the time then starves the others for more than a second.
        """
        give_up = time.monotonic() + faults.BUSY_SECONDS
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                left = give_up - time.monotonic()
                if "locked" not in str(error) or left <= 0:
                    raise
            time.sleep(random.uniform(0.0002, 0.0008) if faults.BUSY_SECONDS - left < 1 else 0.01)

    def commit(self) -> None:
        """Makes everything since `begin` durable: one transaction, one fsync."""
        self._flush()
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undoes everything since `begin`; safe to call when there is nothing to undo."""
        self._rows.clear()
        self._producers.clear()
        self._streams.clear()
        self._version = -1
        self.changes = {}
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    # --- operations -----------------------------------------------------------------

    def create(self, operation: Create) -> Created:
        path = operation.path
        self._sweep()
        stream = self._find(path)
        if stream is not None and not stream.deleted and stream.expired(self.now):
            self._remove(stream)
            stream = self._find(path)
        if stream is not None:
            if stream.deleted or not same_configuration(stream, operation):
                why = "was deleted while forks of it live" if stream.deleted else "is there with another configuration"
                raise StreamConflict(f"stream {path!r} {why}; use another path")
            return Created(False, stream.offset, bool(stream.closed))
        source, cut = self._fork(operation.fork)
        content_type = operation.content_type or (source.content_type if source else "application/octet-stream")
        if source is not None and media_type(content_type) != media_type(source.content_type):
            raise StreamConflict(f"fork {path!r} is {content_type!r}, its source {source.content_type!r}")
        if media_type(content_type) == "application/json":
            check_messages(path, operation.body)
        stream = self._insert(operation, content_type, source, cut)
        self._write(stream, operation.body)
        if stream.tail == cut:
            self._mark(stream)
        self.changes[path] = ANYTHING
        return Created(True, stream.offset, operation.closed)

    def append(self, operation: Append) -> Appended:
        stream = self._living(operation.path)
        producer = operation.producer
        known = self._producer(stream, producer.id) if producer else None
        if producer and known and producer.epoch == known[0] and producer.seq <= known[1]:
            return Appended(None, True, bool(stream.closed), last_seq=known[1])
        body = any(operation.body)
        if producer and known and producer.epoch < known[0]:
            refuse_out_of_turn(stream.path, producer, known, closed=bool(stream.closed))  # fenced, before it was closed
        if stream.closed:
            if operation.close and not body and producer is None:
                return Appended(stream.offset, False, True)
            raise StreamClosed(f"stream {stream.path!r} is closed; nothing can be appended", offset=stream.offset)
        if body and media_type(operation.content_type) != media_type(stream.content_type):
            raise StreamConflict(f"stream {stream.path!r} is {stream.content_type!r}, not {operation.content_type!r}")
        if producer:
            refuse_out_of_turn(stream.path, producer, known)
        if operation.seq is not None:
            self._advance(stream, operation.seq)
        if producer:
            self._producers[stream.id, producer.id] = stream.producers[producer.id] = (producer.epoch, producer.seq)
        if body:
            self._write(stream, operation.body)
            self.changes.setdefault(stream.path, stream.tail)
            if self.changes[stream.path] < stream.tail:
                self.changes[stream.path] = stream.tail
        if operation.close:
            self._close(stream, mark=not body)
        if stream.worn(self.now):
            self.touch(stream.path)
        return Appended(stream.offset, False, operation.close)

    def delete(self, operation: Delete) -> None:
        self._remove(self._living(operation.path))

    def touch(self, path: str) -> None:
        """Renews a stream's time to live."""
        stream = self._find(path)
        if stream is not None and stream.ttl is not None:
            stream.touched = self.now
            self._save(stream)

    # --- parts ----------------------------------------------------------------------

    def _find(self, path: str) -> Stream | None:
        stream = self._streams.get(path)
        if stream is None:
            stream = load(self.connection, path)
            if stream is not None:
                check_tail(self.connection, stream)
                self._streams[path] = stream
        return stream

    def _living(self, path: str) -> Stream:
        return living(self._find(path), path, self.now)

    def _producer(self, stream: Stream, producer: str) -> tuple[int, int] | None:
        if producer not in stream.producers:
            row = self.connection.execute(
                "SELECT epoch, seq, crc FROM producers WHERE stream = ? AND id = ?", (stream.id, producer)
            ).fetchone()
            if row and row[2] != _producer_checksum(stream.id, producer, row[0], row[1]):
                raise Damaged(f"the entry of producer {producer!r} of stream {stream.path!r} is not what was written")
            stream.producers[producer] = row[:2] if row else None
        return stream.producers[producer]

    def _fork(self, point: ForkPoint | None) -> tuple[Stream | None, int]:
        """The source of a fork and the position of the cut."""
        if point is None:
            return None, 0
        source = self._find(point.source)
        if source is not None and source.deleted:
            raise StreamConflict(f"{point.source!r} was deleted; it cannot be forked any more")
        if source is None or source.expired(self.now):
            raise StreamNotFound(f"there is no stream {point.source!r} to fork")
        cut = position_of(point.offset, source.tail) + point.skip
        if cut > source.tail:
            raise InvalidRequest(f"the fork point is beyond the end of {point.source!r}: {cut} of {source.tail}")
        return source, cut

    def _insert(self, operation: Create, content_type: str, source: Stream | None, cut: int) -> Stream:
        ttl, expires_at = operation.ttl, operation.expires_at
        if source is not None and ttl is None and expires_at is None:
            ttl, expires_at = source.ttl, source.expires_at
        row = (operation.path, content_type, source.id if source else None, cut, source.path if source else None,
               ttl, expires_at, self.now, 0)  # fmt: skip
        cursor = self.connection.execute(
            "INSERT INTO streams(path, content_type, parent, fork_at, fork_source, ttl, expires_at, created, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        assert cursor.lastrowid is not None
        stream = Stream(
            cursor.lastrowid, *row[:5], 0, int(operation.closed), 0, ttl, expires_at,
            None if ttl is None else self.now, None, cut,
        )  # fmt: skip
        self._save(stream)
        if source is not None:
            source.forks += 1
            self._save(source)
        self._streams[operation.path] = stream
        return stream

    def _save(self, stream: Stream) -> None:
        self.connection.execute(
            "UPDATE streams SET forks = ?, closed = ?, deleted = ?, touched = ?, seq = ?, crc = ? WHERE id = ?",
            (stream.forks, stream.closed, stream.deleted, stream.touched, stream.seq, stream.checksum(), stream.id),
        )

    def _write(self, stream: Stream, body: tuple[bytes, ...]) -> None:
        at = int(self.now * 1000)
        for count, joined in frames_of(stream.json, body):
            self._rows += self._packer.rows(stream.id, stream.tail, count, at, joined)
            stream.tail += count

    def _mark(self, stream: Stream) -> None:
        self._rows += self._packer.rows(stream.id, stream.tail, 0, int(self.now * 1000), b"")

    def _advance(self, stream: Stream, seq: str) -> None:
        if stream.seq is not None and seq.encode() <= stream.seq.encode():
            raise SequenceConflict(f"stream {stream.path!r} has Stream-Seq {stream.seq!r}; {seq!r} does not come after")
        stream.seq = seq
        self._save(stream)

    def _close(self, stream: Stream, *, mark: bool) -> None:
        stream.closed = 1
        self._save(stream)
        if mark:
            self._mark(stream)
        self.changes[stream.path] = ANYTHING

    def _remove(self, stream: Stream) -> None:
        """Deletes a stream; softly while forks read it, and then with the last of them."""
        self._flush()
        execute = self.connection.execute
        self.changes[stream.path] = ANYTHING
        execute("DELETE FROM frames WHERE stream = ? AND start < ?", (TOMBSTONES, int(self.now) - _TOMBSTONE_SECONDS))
        self._rows += self._packer.rows(TOMBSTONES, int(self.now), 0, int(self.now * 1000), stream.path.encode())
        execute("DELETE FROM producers WHERE stream = ?", (stream.id,))
        stream.producers.clear()
        if stream.forks:
            stream.deleted = 1
            self._save(stream)
            return
        execute("DELETE FROM frames WHERE stream = ?", (stream.id,))
        execute("DELETE FROM streams WHERE id = ?", (stream.id,))
        del self._streams[stream.path]
        if stream.parent is not None:
            self._release(stream.parent)

    def _release(self, parent_id: int) -> None:
        """One fork less; the last one takes a deleted parent with it."""
        row = self.connection.execute("SELECT path FROM streams WHERE id = ?", (parent_id,)).fetchone()
        parent = self._find(row[0]) if row else None
        if parent is None:
            raise Damaged("the parent of a fork is missing")
        parent.forks -= 1
        self._save(parent)
        if parent.deleted and not parent.forks:
            self._remove(parent)

    def _sweep(self) -> None:
        """Now and then removes what has expired; nobody may ever ask for it again."""
        if self.now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = self.now
        mortal = "SELECT path FROM streams WHERE NOT deleted AND (ttl IS NOT NULL OR expires_at IS NOT NULL)"
        for (path,) in self.connection.execute(mortal).fetchall():
            stream = self._find(path)
            if stream is not None and not stream.deleted and stream.expired(self.now):
                self._remove(stream)

    def _flush(self) -> None:
        if self._rows:
            _insert_rows(self.connection, _FRAMES, self._rows)
            self._rows = []
        if self._producers:
            rows = [
                (stream, name, epoch, seq, _producer_checksum(stream, name, epoch, seq))
                for (stream, name), (epoch, seq) in self._producers.items()
            ]
            _insert_rows(self.connection, _PRODUCERS, rows, _PRODUCERS_END)
            self._producers = {}


def _insert_rows(connection: sqlite3.Connection, head: str, rows: Sequence[tuple[object, ...]], tail: str = "") -> None:
    """Many rows a statement: each one lets go of the interpreter's lock, which busy threads are slow to give back."""
    done = 0
    width = "(" + ",".join("?" * len(rows[0])) + ")"
    while done < len(rows):
        left = min(len(rows) - done, _ROWS_AT_ONCE)
        # few lengths, so that their statements stay prepared
        size = left if left <= _FEW_ROWS else 1 << left.bit_length() - 1
        values = list(chain.from_iterable(rows[done : done + size]))
        connection.execute(head + ",".join([width] * size) + tail, values)
        done += size


def _producer_checksum(stream: int, producer: str, epoch: int, seq: int) -> int:
    return crc32(f"{stream} {epoch} {seq} {producer}".encode()) - 0x80000000
