"""`EmbeddedBackend`: a folder on this machine keeps the streams."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentstream.backends.base import (
    Delist,
    DropLease,
    Enlist,
    Erase,
    LeaseHeld,
    List,
    Listed,
    SweepLeases,
    TakeLease,
    Traits,
    Watch,
    Watched,
)
from agentstream.backends.driving import Done, Steps, adrive, drive
from agentstream.backends.embedded import reading
from agentstream.backends.embedded.checking import (
    check_append,
    check_create,
    check_list,
    check_path,
    check_read,
    offset_of,
    position_of,
)
from agentstream.backends.embedded.committer import Committer, Touch
from agentstream.backends.embedded.connections import Connections
from agentstream.backends.embedded.following import TIMEOUTS, Hub
from agentstream.backends.embedded.leases import Leases
from agentstream.protocol.operations import NOW, Append, Batch, Create, Delete, Head, Read

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop as Loop

PAGE_BYTES = 1024 * 1024
INLINE_PAGE_BYTES = 256 * 1024
"""A page of an async read: read on the event loop, which is cheaper than changing threads and over in a millisecond."""

_WRITES = (Create, Append, Delete)


class EmbeddedBackend:
    """Keeps streams in `streams.db` in a folder, or in memory (`path=None`). Executes every operation of `base.py`.

    Safe to share between threads, event loops and processes; a forked child uses the one it
    inherited. Writes are durable when they return. Raises `ProtocolError`s as the protocol
    says, `StoreError` where the folder fails, `Unavailable` where another process blocks it.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        folder = None if path is None else Path(path)
        self.folder = folder
        self._connections = Connections(folder)
        self.name = self._connections.name
        self.traits = Traits(exact_forks=True, skips=True, lists=True, erases=True)
        self._hub = Hub(self._connections)
        self._committer = Committer(self._connections, self._hub.committed)
        self._leases = Leases(folder and folder / "leases", self.name)
        self._connections.in_child += [self._hub.after_fork, self._committer.after_fork, self._leases.after_fork]

    def execute(self, operation: Any) -> Any:
        """Runs `operation` in this thread; a `Read` or `Watch` that waits blocks it."""
        if isinstance(operation, _WRITES):
            _check(operation)
            return self._committer.execute(operation)
        if isinstance(operation, (Read, Watch)):
            return drive(self._steps(operation, PAGE_BYTES, None), self)
        if isinstance(operation, Erase):
            return self._erase(operation)
        return self._now(operation)

    async def aexecute(self, operation: Any) -> Any:
        """Runs `operation` for the running event loop."""
        import asyncio

        if isinstance(operation, _WRITES):
            _check(operation)
            return await self._committer.asubmit(operation, asyncio.get_running_loop())
        if isinstance(operation, (Read, Watch)):
            steps = self._steps(operation, INLINE_PAGE_BYTES, asyncio.get_running_loop())
            return await adrive(steps, self)
        if isinstance(operation, Erase):
            return await asyncio.to_thread(self._erase, operation)
        return self._now(operation)

    def submit(self, operation: Any) -> Future[Any]:
        """Starts `operation`. A write cannot be cancelled any more; what waits has a thread of its own."""
        future: Future[Any] = Future()
        if isinstance(operation, _WRITES):
            try:
                _check(operation)
            except Exception as error:
                future.set_exception(error)
                return future
            return self._committer.submit(operation)
        if getattr(operation, "wait", None):
            threading.Thread(target=self._fulfil, args=(operation, future), daemon=True).start()
        else:
            self._fulfil(operation, future)
        return future

    def start(self, operation: Create | Append | Delete, done: Done) -> None:
        """Starts a write; `done(result, error)` is called on the thread that commits it. Cheaper than a future."""
        _check(operation)
        self._committer.start(operation, done)

    def close(self) -> None:
        """Commits what was submitted, lets go of leases, wakes who waits (they get a `StoreError`). Idempotent."""
        if self._connections.closed:
            return
        self._committer.close()
        self._connections.close()
        self._hub.close()
        self._leases.close()

    def _fulfil(self, operation: Any, future: Future[Any]) -> None:
        try:
            result = self.execute(operation)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _erase(self, operation: Erase) -> None:
        """Deletes (SQLite overwrites what it frees) and empties the log that the pages had been written to before."""
        try:
            self.execute(Delete(operation.path))
        finally:  # also when somebody else deleted it just now, or this was begun before
            self._connections.empty_log()

    def _now(self, operation: Any) -> Any:
        """What is answered at once."""
        if isinstance(operation, Head):
            check_path(operation.path)
            with self._connections.reading() as connection:
                return reading.head(connection, operation.path, time.time()).info()
        if isinstance(operation, List):
            check_list(operation)
            return self._list(operation)
        if isinstance(operation, (TakeLease, DropLease, LeaseHeld, SweepLeases)):
            return self._lease(operation)
        if isinstance(operation, (Enlist, Delist)):
            return None  # every stream is found
        raise TypeError(f"{operation!r} is no operation")

    def _list(self, operation: List) -> tuple[Listed, ...]:
        with self._connections.reading() as connection:
            return reading.listed(connection, operation, time.time())

    def _lease(self, operation: TakeLease | DropLease | LeaseHeld | SweepLeases) -> bool | int | None:
        self._connections.refuse_closed()
        if isinstance(operation, SweepLeases):
            return self._leases.sweep()
        if isinstance(operation, TakeLease):
            return self._leases.take(operation.path, operation.token)
        if isinstance(operation, DropLease):
            return self._leases.drop(operation.path, operation.token)
        return self._leases.held(operation.path, operation.token)

    def _steps(self, operation: Read | Watch, page_bytes: int, loop: Loop | None) -> Steps[Any]:
        if isinstance(operation, Watch):
            return self._watch(operation, loop)
        check_read(operation)
        return self._read(operation, page_bytes, loop)

    def _read(self, operation: Read, page_bytes: int, loop: Loop | None) -> Steps[Batch]:
        deadline = time.monotonic() + operation.wait if operation.wait is not None else None
        if deadline is None or operation.offset == NOW:
            batch = self._page(operation, page_bytes)
            if deadline is None or batch.closed:
                return batch
            operation = replace(operation, offset=batch.offset, skip=0)
        position = position_of(operation.offset, 0) + operation.skip
        while True:
            entry = self._hub.register(operation.path, position, loop)
            try:
                # what came before the entry was there wakes nobody
                where = (position, operation.limit, page_bytes)
                batch = self._hub.page(operation.path, where, lambda: self._page(operation, page_bytes))
                left = deadline - time.monotonic()
                if batch.messages or batch.closed or left <= 0:
                    return batch
                yield entry.arrival(left)
            except TIMEOUTS:
                pass
            finally:
                self._hub.leave(entry)

    def _page(self, operation: Read, page_bytes: int) -> Batch:
        now = time.time()
        with self._connections.reading() as connection:
            page = reading.read(connection, operation, page_bytes, now)
        if page.stream.worn(now):
            self._committer.submit(Touch(operation.path))
        return page.batch()

    def _watch(self, operation: Watch, loop: Loop | None) -> Steps[Watched]:
        deadline = time.monotonic() + operation.wait
        with self._connections.reading() as connection:
            newest = reading.last_id(connection)
        seen = newest if operation.cursor is None else position_of(operation.cursor, newest)
        while True:
            entry = self._hub.register(None, 0, loop)
            try:
                with self._connections.reading() as connection:
                    newest = reading.last_id(connection)
                    changes = reading.changed(connection, seen)
                paths = tuple(sorted(path for path in changes if path.startswith(operation.prefix)))
                left = deadline - time.monotonic()
                if paths or left <= 0:
                    return Watched(paths, offset_of(newest))
                seen = newest
                yield entry.arrival(left)
            except TIMEOUTS:
                pass
            finally:
                self._hub.leave(entry)


def _check(operation: Create | Append | Delete) -> None:
    if isinstance(operation, Append):
        check_append(operation)
    elif isinstance(operation, Create):
        check_create(operation)
    else:
        check_path(operation.path)
