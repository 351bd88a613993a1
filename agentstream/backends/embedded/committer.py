"""Group commit: everything that waits goes into one transaction with one fsync.

A thread that executes a write takes the lock and commits the whole queue, its own operation
and everybody's; whoever waited for the lock mostly finds its own done. So a lone writer
never changes threads, and many writers share an fsync. What is submitted instead of
executed is committed in the same way by a thread that lives while there is work.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentstream.backends.driving import Done
from agentstream.backends.embedded.connections import Connections
from agentstream.backends.embedded.faults import FAILURES, store_error
from agentstream.backends.embedded.writing import Writer
from agentstream.backends.threads import at_work
from agentstream.errors import StoreError
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import Append, Create, Delete

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from asyncio import Future as LoopFuture

_log = logging.getLogger("agentstream")

_IDLE_SECONDS = 2.0
_MOST_AT_ONCE = 5000

Notify = Callable[["dict[str, int]", int, int], None]
"""Told after each commit: path → new tail, and the range of frame ids."""


class Touch:
    """Renews the time to live of the stream at `path` (a read of it did)."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class Item:
    """An operation in the queue, and then its outcome."""

    __slots__ = ("done", "error", "future", "loop", "operation", "tell", "value")

    def __init__(
        self,
        operation: Any,
        future: Future[Any] | LoopFuture[Any] | None = None,
        loop: AbstractEventLoop | None = None,
        tell: Done | None = None,
    ) -> None:
        self.operation = operation
        self.future = future
        self.loop = loop
        self.tell = tell
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = False


class Committer:
    """The only way to write to a store."""

    def __init__(self, connections: Connections, notify: Notify) -> None:
        self._connections = connections
        self._notify = notify
        self._writer: Writer | None = None
        self._closing = False
        self.after_fork()

    def after_fork(self) -> None:
        """Begins anew in a forked child: what was queued is the parent's."""
        self._queue: deque[Item] = deque()
        self._bell = threading.Event()
        self._sleeping = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def execute(self, operation: Any) -> Any:
        """Commits `operation`, with whatever else waits, in this thread."""
        item = Item(operation)
        self._queue.append(item)
        try:
            while not item.done:  # once, unless the queue is longer than one commit takes
                self._lead(item)
        except BaseException:
            self._forget(item)
            raise
        if item.error is not None:
            raise item.error
        return item.value

    def submit(self, operation: Any) -> Future[Any]:
        """Queues `operation`; its future is resolved by whoever commits it."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # from here on it will be applied: too late to cancel
        self._enqueue(Item(operation, future))
        return future

    def start(self, operation: Any, tell: Done) -> None:
        """Queues `operation`; whoever commits it calls `tell(value, error)`, which must be quick and raise nothing."""
        self._enqueue(Item(operation, tell=tell))

    def asubmit(self, operation: Any, loop: AbstractEventLoop) -> LoopFuture[Any]:
        """As `submit`, with a future of the running event loop."""
        future: LoopFuture[Any] = loop.create_future()
        self._enqueue(Item(operation, future, loop))
        return future

    def close(self) -> None:
        """Commits what was submitted before and stops the thread; call it before the connections are closed."""
        self._closing = True
        while self._queue:
            self._lead()
        thread = self._thread
        self._bell.set()
        if thread is not None and at_work(thread) and thread is not threading.current_thread():
            thread.join()

    # --- the queue --------------------------------------------------------------------

    def _enqueue(self, item: Item) -> None:
        self._queue.append(item)
        if self._sleeping:
            self._bell.set()
        if not at_work(self._thread):
            self._start()

    def _start(self) -> None:
        with self._starting:
            if not at_work(self._thread):
                self._thread = threading.Thread(target=self._work, name="agentstream-commit", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Commits while there is something to commit; ends after a while without."""
        me = threading.current_thread()
        while True:
            if self._lead():
                continue
            self._sleeping = True
            rung = bool(self._queue) or self._bell.wait(_IDLE_SECONDS)
            self._sleeping = False
            self._bell.clear()
            if rung and not self._closing:
                continue
            # Whoever queues from here on sees no thread and starts one; what was queued before is seen below.
            self._thread = None
            if not self._queue:
                return
            with self._starting:
                if at_work(self._thread):
                    return
                self._thread = me

    def _forget(self, item: Item) -> None:
        """Takes back an operation whose caller was interrupted before it was committed."""
        with suppress(ValueError):
            self._queue.remove(item)

    # --- one commit -------------------------------------------------------------------

    def _lead(self, item: Item | None = None) -> bool:
        """Commits what is queued, unless `item` was committed meanwhile, and wakes who waited. False: nothing to do."""
        batch: list[Item] = []
        changes: dict[str, int] = {}
        first = following = 0
        try:
            with self._connections.lock:
                if item is None or not item.done:
                    self._gather(batch)
                    writer = self._commit(batch, item)
                    if writer is not None:
                        changes, first, following = writer.changes, writer.first_id, writer.next_id
        finally:
            # Without the lock: callbacks may submit and execute.
            try:
                if changes:
                    self._notify(changes, first, following)
            finally:  # an interrupt of this thread, too: others wait for what was committed
                _deliver(batch)
        return bool(batch)

    def _gather(self, batch: list[Item]) -> None:
        queue = self._queue
        while queue and len(batch) < _MOST_AT_ONCE:
            batch.append(queue.popleft())

    def _commit(self, batch: list[Item], own: Item | None) -> Writer | None:
        """One transaction for the whole batch; every item is done afterwards. None: nothing was written."""
        if not batch:
            return None
        writer: Writer | None = None
        committing = False
        try:
            writer = self._open()
            writer.begin()
            for item in batch:
                try:
                    item.value = _apply(writer, item.operation)
                except ProtocolError as refused:
                    item.error = refused
            committing = True
            writer.commit()
        except Exception as error:
            self._undo(writer, error)
            for item in batch:
                item.error = _failure(error, self._connections.name)
            writer = None
        except BaseException:
            # An interrupt of the thread that happened to lead must not become the failure of others.
            if writer is None or not committing or writer.connection.in_transaction:
                if writer is not None:
                    writer.rollback()
                self._put_back(batch, own)
            raise
        finally:
            for item in batch:
                item.done = True
        return writer

    def _put_back(self, batch: list[Item], own: Item | None) -> None:
        """Leaves what others queued to the thread; `own` is the interrupted caller's and is dropped."""
        for item in batch:
            item.value = item.error = None
        self._queue.extendleft(item for item in reversed(batch) if item is not own)
        batch.clear()
        self._bell.set()
        if not at_work(self._thread):
            self._start()

    def _open(self) -> Writer:
        connection = self._connections.writer()
        if self._writer is None or self._writer.connection is not connection:
            self._writer = Writer(connection)
        return self._writer

    def _undo(self, writer: Writer | None, error: Exception) -> None:
        if writer is None:
            return
        with suppress(sqlite3.Error):
            writer.rollback()
        if isinstance(error, sqlite3.Error):
            # A connection that met a full disk or a damaged page is not trusted again.
            self._connections.drop_writer()


def _apply(writer: Writer, operation: Any) -> Any:
    if isinstance(operation, Append):
        return writer.append(operation)
    if isinstance(operation, Create):
        return writer.create(operation)
    if isinstance(operation, Delete):
        return writer.delete(operation)
    assert isinstance(operation, Touch)
    return writer.touch(operation.path)


def _failure(error: Exception, name: str) -> Exception:
    """The error of one operation of a failed batch: its own object, for each is raised in its own thread."""
    if isinstance(error, FAILURES):
        failure = store_error(error, name)
        failure.__cause__ = error
        return failure
    return type(error)(*error.args) if isinstance(error, StoreError) else error


def _deliver(batch: list[Item]) -> None:
    """Resolves futures, those of one event loop with one wake-up of it. Holds no lock: callbacks may submit."""
    loops: dict[AbstractEventLoop, list[Item]] = {}
    for item in batch:
        if item.tell is not None:
            try:
                item.tell(item.value, item.error)
            except Exception:  # the others of this commit are told all the same
                _log.exception("what was to be told of a write failed")
        elif item.loop is not None:
            loops.setdefault(item.loop, []).append(item)
        elif isinstance(item.future, Future):
            _resolve(item)
    for loop, items in loops.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_resolve_all, items)


def _resolve_all(items: list[Item]) -> None:
    for item in items:
        if item.future is not None and not item.future.done():
            _resolve(item)


def _resolve(item: Item) -> None:
    assert item.future is not None
    if item.error is not None:
        item.future.set_exception(item.error)
    else:
        item.future.set_result(item.value)
