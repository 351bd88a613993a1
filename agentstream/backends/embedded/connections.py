"""The connections of one store: one that writes, some that read, none across a fork.

SQLite forbids carrying a connection over `os.fork`, and the child could not even open new
ones soundly while it inherits old ones: SQLite keeps one record of file locks per file and
process, and the child's copy would claim locks that only the parent holds. So all are
closed before a fork, and both sides open afresh at their next operation.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agentstream.backends.embedded import faults
from agentstream.backends.embedded.faults import BUSY_SECONDS, Damaged, translated
from agentstream.backends.embedded.schema import APPLICATION, MARKS, PAGE, STATEMENTS, VERSION
from agentstream.errors import StoreError, Unavailable
from agentstream.protocol.errors import ProtocolError

MEMORY = "memory:"
FILE = "streams.db"

# Pages of the write-ahead log before it is copied into the file, which costs two fsyncs more.
CHECKPOINT_PAGES = 1000

_FORK_PATIENCE = 10.0
_IDLE_READERS = 8


class _Forgettable(sqlite3.Connection):
    """Who forgets a client is owed no warning: what was acknowledged is durable. Python 3.13 would give one.

    Only there is it closed by code of ours: an interrupt that came over that would be lost.
    """

    __slots__ = ("file",)

    file: tuple[int, int] | None
    """Which file it is of."""

    if sys.version_info >= (3, 13):

        def __del__(self) -> None:
            with suppress(sqlite3.Error):  # it may never have been opened
                self.close()


class Connections:
    """Opens, hands out and closes. `lock` guards the writing connection and everything kept about it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.name = MEMORY if folder is None else str(folder)
        self.lock = threading.Lock()
        self.closed = False
        self._writer: _Forgettable | None = None
        self._inode: tuple[int, int] | None = None
        self._readers: list[_Forgettable] = []
        self._watcher: _Forgettable | None = None
        self._reading = 0
        self._gate = threading.Condition()
        self._forking = False
        self._held_for_fork = False
        self.in_child: list[Callable[[], None]] = []
        """What else begins anew in a forked child."""
        _all.add(self)

    def writer(self) -> sqlite3.Connection:
        """The writing connection; the caller holds `lock`. The same object until it had to be opened again."""
        self.refuse_closed()
        if self._writer is not None and self._file_id() != self._inode:
            # Writes to a file that has lost its name would be acknowledged and lost.
            self._writer.close()
            self._writer = None
            self._inode = None
            while self._readers:
                self._readers.pop().close()
            raise StoreError(f"{self.name}: the store was removed or replaced while in use; what was in it is gone")
        if self._writer is None:
            with translated(self.name):
                self._writer = self._open()
                self._writer.execute("PRAGMA busy_timeout = 0")  # the writer waits in its own way
                self._inode = self._file_id()
        return self._writer

    def drop_writer(self) -> None:
        """Closes the writing connection after a failure; the next write opens it again. The caller holds `lock`."""
        if self._writer is not None and self.folder is not None:
            self._writer.close()
            self._writer = None

    def empty_log(self) -> None:
        """Copies the write-ahead log into the file and cuts it to nothing. Unavailable if others keep reading it."""
        if self.folder is None:
            return
        give_up = time.monotonic() + faults.BUSY_SECONDS
        while True:
            with self.lock, translated(self.name):
                busy = self.writer().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if not busy:
                return
            if time.monotonic() >= give_up:
                raise Unavailable(
                    f"{self.name}: another process has been reading the store for more than {faults.BUSY_SECONDS:g} s, "
                    "so what was deleted may still be in its log; erase again"
                )
            time.sleep(0.005)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one snapshot, for this thread alone; failures become `StoreError`s."""
        if self.folder is None:
            with self.lock, translated(self.name):
                yield self.writer()
            return
        connection = self._borrow()
        sound = False
        try:
            with translated(self.name):
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.execute("COMMIT")
            sound = True
        except ProtocolError:
            sound = True
            raise
        finally:
            self._give_back(connection, sound)

    @contextmanager
    def watching(self) -> Iterator[sqlite3.Connection]:
        """The watcher's own connection: `PRAGMA data_version` only tells one connection about the others."""
        self._enter()
        try:
            with translated(self.name):
                if self._watcher is not None and self._is_of_another_file(self._watcher):
                    self._watcher.close()
                    self._watcher = None
                if self._watcher is None:
                    self._watcher = self._open()
                yield self._watcher
        finally:
            self._leave()

    def close(self) -> None:
        """Closes everything; later calls raise `StoreError`."""
        with self.lock:
            self.closed = True
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        with self._gate:
            if not self._reading:
                self._close_readers()

    def _enter(self) -> None:
        with self._gate:
            while self._forking:
                self._gate.wait()
            self.refuse_closed()
            self._reading += 1

    def _leave(self) -> None:
        with self._gate:
            self._reading -= 1
            if self.closed and not self._reading:
                self._close_readers()
            if self._forking:
                self._gate.notify_all()

    def _borrow(self) -> _Forgettable:
        self._enter()
        while self._readers:
            with suppress(IndexError):  # another thread was faster
                connection = self._readers.pop()
                if not self._is_of_another_file(connection):
                    return connection
                connection.close()
        try:
            with translated(self.name):
                return self._open()
        except BaseException:
            self._leave()
            raise

    def _give_back(self, connection: _Forgettable, sound: bool) -> None:
        if sound and len(self._readers) < _IDLE_READERS:
            self._readers.append(connection)
        else:
            connection.close()  # a damaged or vanished file: the next reader looks again
        self._leave()

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def refuse_closed(self) -> None:
        """`StoreError` once `close` was called."""
        if self.closed:
            raise StoreError(f"{self.name}: the backend was closed; open a new one")

    def _is_of_another_file(self, connection: _Forgettable) -> bool:
        """Whether it reads a file that had lost its name before what is written now was begun."""
        return self._inode is not None and connection.file not in (None, self._inode)

    def _file_id(self) -> tuple[int, int] | None:
        if self.folder is None:
            return None
        try:
            found = os.stat(self.folder / FILE)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> _Forgettable:
        if self.folder is None:
            connection = _connect(":memory:")
            for statement in (*STATEMENTS, *MARKS):
                connection.execute(statement)
            return connection
        _make_folder(self.folder)
        path = self.folder / FILE
        _make_file(path)
        connection = _connect(path)
        connection.file = self._file_id()
        try:
            _prepare(connection, self.name)
        except BaseException:
            connection.close()
            raise
        return connection

    # --- os.fork ----------------------------------------------------------------------

    def before_fork(self) -> None:
        """Waits until nobody writes or reads, then closes all connections of a file."""
        held = self.lock.acquire(timeout=_FORK_PATIENCE)
        with self._gate:
            self._forking = True
            idle = self._gate.wait_for(lambda: not self._reading, _FORK_PATIENCE)
            if held and idle and self.folder is not None:
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
                self._close_readers()
        self._held_for_fork = held

    def after_fork_in_parent(self) -> None:
        with self._gate:
            self._forking = False
            self._gate.notify_all()
        if self._held_for_fork:
            self.lock.release()

    def after_fork_in_child(self) -> None:
        self.lock = threading.Lock()
        self._gate = threading.Condition()
        self._forking = False
        self._reading = 0
        # What could not be closed is the parent's: kept for ever and never touched.
        if self.folder is not None:
            _inherited.append((self._writer, self._readers, self._watcher))
            self._writer = self._watcher = None
            self._readers = []
        for begin_anew in self.in_child:
            begin_anew()


_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_inherited: list[object] = []
_making = threading.Lock()


def _each(method: str) -> None:
    global _making
    _making = threading.Lock()  # its holder, if any, has not opened anything yet
    for connections in list(_all):
        getattr(connections, method)()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _each("before_fork"),
        after_in_parent=lambda: _each("after_fork_in_parent"),
        after_in_child=lambda: _each("after_fork_in_child"),
    )


def _connect(where: Path | str) -> _Forgettable:
    return sqlite3.connect(
        where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_Forgettable
    )


def _make_folder(folder: Path) -> None:
    """The store's folder, for its owner only, which no version control picks up."""
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = os.open(folder / ".gitignore", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(ignore, b"*\n")
    os.close(ignore)


def _make_file(path: Path) -> None:
    """An empty file for its owner only; SQLite gives its log and index the same permissions.

    A file that is there is not opened, ever: closing it would drop the locks that SQLite
    holds on it for this whole process (that is how POSIX locks are), and another process
    would then remove the log under our feet.
    """
    with _making, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare(connection: sqlite3.Connection, name: str) -> None:
    """Makes a new store of an empty file, or checks that this is one we can read."""
    execute = connection.execute
    version, application = _marks(connection)
    if (version, application) == (0, 0):
        execute(f"PRAGMA page_size = {PAGE}")
        if execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StoreError(f"{name}: SQLite's write-ahead log does not work on this file system; use a local disk")
        execute("BEGIN IMMEDIATE")
        version, application = _marks(connection)
        if (version, application) == (0, 0):
            if execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                execute("ROLLBACK")
                raise StoreError(f"{name}: {FILE} is an SQLite file but no store; use another folder")
            for statement in (*STATEMENTS, *MARKS):
                execute(statement)
            version, application = VERSION, APPLICATION
        execute("COMMIT")
    if application != APPLICATION:
        raise StoreError(f"{name}: {FILE} is an SQLite file but no store; use another folder")
    if version > VERSION:
        raise StoreError(
            f"{name}: the store has format {version}, written by a newer agentstream; this one reads up to {VERSION}:"
            " upgrade agentstream"
        )
    described = execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if {sql for (sql,) in described} != set(STATEMENTS):
        raise Damaged("the description of its tables is not what was written")
    execute("PRAGMA synchronous = FULL")
    execute("PRAGMA secure_delete = ON")  # what was deleted is not in the file any more
    execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    return version, connection.execute("PRAGMA application_id").fetchone()[0]
