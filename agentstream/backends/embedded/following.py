"""Waiting at the tail: woken by this process at once, by others within milliseconds.

Who waits registers an entry with the position it has seen. A commit of this process wakes
the entries of the streams it changed. For commits of other processes one thread, alive only
while somebody waits, looks every few milliseconds whether `PRAGMA data_version` moved and
then asks for the frames since.
"""

from __future__ import annotations

import concurrent.futures
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from agentstream.backends.driving import Call, Wait
from agentstream.backends.embedded.connections import Connections
from agentstream.backends.embedded.reading import changed, last_id
from agentstream.backends.finalizing import in_collector
from agentstream.backends.threads import at_work
from agentstream.errors import StoreError
from agentstream.protocol.operations import Batch

if TYPE_CHECKING:
    import asyncio

POLL_SECONDS = 0.004
LIVELY_POLL_SECONDS = 0.0015
"""The same for a second after a change: where one came, more come."""
TIMEOUTS = (TimeoutError, concurrent.futures.TimeoutError)  # two classes before Python 3.11

_LONGEST_WAIT = 3600.0

_KEPT_SECONDS = 1.0
"""How long a page is shared at most: a stream may end by the clock alone, and a reader renews its time to live."""

Where = tuple[int, "int | None", int]
"""What a page depends on, besides the stream: position, most messages, most bytes."""


class Entry:
    """One waiter: woken when its stream grows beyond `position` (or, without a path, at any change)."""

    __slots__ = ("future", "loop", "path", "position")

    def __init__(self, path: str | None, position: int, loop: asyncio.AbstractEventLoop | None) -> None:
        self.path = path
        self.position = position
        self.loop = loop
        self.future: Future[None] | asyncio.Future[None] = loop.create_future() if loop else Future()

    def arrival(self, seconds: float) -> Wait | Call:
        """The effect that waits for it, at most so long; the time to pass raises one of `TIMEOUTS`, or nothing."""
        seconds = min(seconds, _LONGEST_WAIT)
        return Wait(self.future, seconds) if isinstance(self.future, Future) else Call(lambda: self._awake(seconds))

    async def _awake(self, seconds: float) -> None:
        assert self.loop is not None
        assert not isinstance(self.future, Future)
        timer = self.loop.call_later(seconds, _wake_here, [self])
        try:
            await self.future
        finally:
            timer.cancel()


class Hub:
    """Who waits for what in this process."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.after_fork()

    def after_fork(self) -> None:
        """Begins anew in a forked child: the waiters were the parent's."""
        self._lock = threading.Lock()
        self._entries: dict[str | None, set[Entry]] = {}
        self._left: deque[Entry] = deque()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._seen = 0
        self._changes = 0
        self._pages: dict[str, dict[Where, tuple[float, Batch]]] = {}

    def register(self, path: str | None, position: int, loop: asyncio.AbstractEventLoop | None = None) -> Entry:
        """An entry for what comes after `position`. Look once more after this: changes before it wake nobody."""
        entry = Entry(path, position, loop)
        with self._lock:
            self._forget_left()
            self._entries.setdefault(path, set()).add(entry)
            if not at_work(self._thread) and self._connections.folder is not None:
                with self._connections.reading() as connection:
                    self._seen = last_id(connection)
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._watch, args=(self._stop,), name="agentstream-watch", daemon=True
                )
                self._thread.start()
        return entry

    def page(self, path: str, where: Where, read: Callable[[], Batch]) -> Batch:
        """What `read` gives, or what it gave another waiter for the same place, if no change was seen since.

        Only for who has registered: what this misses is noticed like any later change.
        """
        found = self._pages.get(path, {}).get(where)
        if found is not None and time.monotonic() < found[0]:
            return found[1]
        changes = self._changes
        batch = read()
        with self._lock:
            if changes == self._changes and (self._thread is not None or self._connections.folder is None):
                self._pages.setdefault(path, {})[where] = (time.monotonic() + _KEPT_SECONDS, batch)
        return batch

    def leave(self, entry: Entry) -> None:
        """Forgets an entry that is not waited for any more; later, if the garbage collector comes over the lock."""
        self._left.append(entry)
        if self._lock.acquire(blocking=not in_collector()):
            try:
                self._forget_left()
            finally:
                self._lock.release()

    def _forget_left(self) -> None:
        """Forgets the entries that were left. The caller holds the lock."""
        while self._left:
            entry = self._left.popleft()
            entries = self._entries.get(entry.path)
            if entries is not None:
                entries.discard(entry)
                if not entries:
                    del self._entries[entry.path]

    def committed(self, changes: dict[str, int], first: int, following: int) -> None:
        """This process changed streams, with the frames `first` up to `following`."""
        if not self._entries and not self._pages:
            return
        with self._lock:
            if self._seen == first - 1:
                self._seen = following - 1
            woken = self._take(changes)
        _wake(woken)

    def close(self) -> None:
        """Wakes everybody; they find the store closed."""
        with self._lock:
            woken = [entry for entries in self._entries.values() for entry in entries]
            self._entries.clear()
            self._pages.clear()
            thread = self._thread
            self._stop.set()
        _wake(woken)
        if thread is not None and at_work(thread):
            thread.join()

    def _take(self, changes: dict[str, int]) -> list[Entry]:
        self._forget_left()
        woken: list[Entry] = list(self._entries.pop(None, ()))
        self._changes += 1
        for path in self._pages.keys() & changes.keys():
            del self._pages[path]
        for path, tail in changes.items():
            entries = self._entries.get(path)
            if entries is None:
                continue
            reached = [entry for entry in entries if tail > entry.position]
            woken += reached
            entries.difference_update(reached)
            if not entries:
                del self._entries[path]
        return woken

    def _watch(self, stop: threading.Event) -> None:
        seen_version: tuple[sqlite3.Connection, int] | None = None
        idle = 0
        lively_until = 0.0
        while not stop.wait(LIVELY_POLL_SECONDS if time.monotonic() < lively_until else POLL_SECONDS):
            with self._lock:
                self._forget_left()
                idle = 0 if self._entries else idle + 1
                if idle > 500:
                    self._thread = None
                    self._pages.clear()
                    return
                seen = self._seen
            try:
                with self._connections.watching() as connection:
                    version = (connection, connection.execute("PRAGMA data_version").fetchone()[0])
                    if version == seen_version:
                        continue
                    latest = last_id(connection)
                    found = changed(connection, seen)
                seen_version = version
                lively_until = time.monotonic() + 1
            except (StoreError, sqlite3.Error) as error:
                self._fail(error)
                return
            with self._lock:
                self._seen = max(self._seen, latest)
                woken = self._take(found) if found else []
            _wake(woken)

    def _fail(self, error: Exception) -> None:
        """Hands the watcher's failure to everybody who waits; the next one to wait starts a new watcher."""
        with self._lock:
            woken = [entry for entries in self._entries.values() for entry in entries]
            self._entries.clear()
            self._pages.clear()
            self._thread = None
        _wake(woken)


def _wake(entries: list[Entry]) -> None:
    """Wakes each in its own way, those of one event loop with one wake-up of it."""
    loops: dict[asyncio.AbstractEventLoop, list[Entry]] = {}
    for entry in entries:
        if entry.loop is not None:
            loops.setdefault(entry.loop, []).append(entry)
        else:
            _wake_here([entry])
    for loop, its in loops.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
            loop.call_soon_threadsafe(_wake_here, its)


def _wake_here(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_result(None)
