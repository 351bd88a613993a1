"""Messages on their way to a stream, in batches: which one is due when, how many are under way, how much waits.

A state under one lock, without I/O; `delivery` sends what it gives out and tells it what came of that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Literal

import msgspec

from agentstream.streams.locating import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream.streams.values import StreamPosition

OVERHEAD = 200
"""Bytes that a message costs besides its own, counted into what may wait."""


class Limits(msgspec.Struct, frozen=True):
    """When a batch goes out: `linger` seconds after its first message, or full by count or by bytes of its body."""

    linger: float
    count: int
    size: int
    in_flight: int
    waiting: int

    def __post_init__(self) -> None:
        for name, given, least in (
            ("linger", self.linger, 0), ("max_batch_items", self.count, 1), ("max_batch_bytes", self.size, 1),
            ("max_in_flight", self.in_flight, 1), ("max_waiting_bytes", self.waiting, 1),
        ):  # fmt: skip
            if not given >= least:
                raise ValueError(f"{name}= is {least} or more, not {given!r}")


State = Literal["waiting", "under way", "written", "failed"]


class Batch:
    """Messages that travel in one request. `finished` is done once it is durable, or failed."""

    def __init__(self, *, close: bool = False) -> None:
        self.messages: list[bytes] = []
        self.close = close
        self.size = 1  # the two brackets of an array, and a comma less than messages
        self.began = time.monotonic()
        self.seq = -1
        self.finished: Future[None] = Future()
        self.previous: Batch | None = None
        self.anchor: StreamPosition | None = None
        """A position before it, the nearest that is known; of the first batch the tail when it was begun."""
        self.end: StreamPosition | None = None
        self.run: Run | None = None
        """Where exactly it was found, if it was looked for."""
        self.state: State = "waiting"
        self.left: Future[None] = Future()
        """Done when it is under way no more, however that ended."""

    @property
    def cost(self) -> int:
        return sum(map(len, self.messages)) + OVERHEAD * len(self.messages)


class Queue:
    """What waits and what is under way, in order. `wake` is called when something may have become due."""

    def __init__(self, limits: Limits, wake: Callable[[], None]) -> None:
        self.limits = limits
        self.lock = threading.Lock()
        self._wake = wake
        self._open: Batch | None = None
        self._full: deque[Batch] = deque()
        self._under_way: deque[Batch] = deque()
        self._returned: list[Batch] = []
        self._next_seq = 0
        self._rewind_to: int | None = None
        self._cost = 0
        self._waiters: list[Future[None]] = []
        self._unsaid: list[BaseException] = []
        self._alone = True
        """Whether the first batch goes by itself, because what the others need is not known before."""
        self.end: StreamPosition | None = None
        """The end of the last batch that was written."""
        self.stopped: BaseException | None = None
        """Why nothing goes out any more."""

    # --- who appends -------------------------------------------------------------------------------------------------

    def put(self, message: bytes) -> tuple[Batch, int] | None:
        """The batch that the message goes with and its number in it; None where too much waits already."""
        cost = len(message) + OVERHEAD
        with self.lock:
            if self.stopped is not None:
                raise self.stopped.with_traceback(None)
            if self._cost and self._cost + cost > self.limits.waiting:
                return None
            self._cost += cost
            batch = self._open
            if batch is not None and batch.size + len(message) + 1 > self.limits.size:
                self._full.append(batch)
                batch = None
            due = first = False
            if batch is None:
                batch = self._open = Batch()
                due = bool(self._full)
                first = True
            batch.messages.append(message)
            batch.size += len(message) + 1
            number = len(batch.messages) - 1
            if number + 1 >= self.limits.count or batch.size >= self.limits.size:
                self._full.append(batch)
                self._open = None
                due = True
        if due or first:
            self._wake()
        return batch, number

    def put_last(self, messages: list[bytes]) -> Batch:
        """A batch of its own that ends the stream, after all others."""
        with self.lock:
            if self.stopped is not None:
                raise self.stopped.with_traceback(None)
            self._close_open()
            batch = Batch(close=True)
            batch.messages = messages
            self._cost += batch.cost
            self._full.append(batch)
        self._wake()
        return batch

    def room(self) -> Future[None]:
        """Done when less waits than now; so that it comes to that, all goes out without lingering."""
        self.hurry()
        waiter: Future[None] = Future()
        with self.lock:
            if self.stopped is not None or not self._cost:
                waiter.set_result(None)
            else:
                self._waiters.append(waiter)
        return waiter

    def hurry(self) -> list[Batch]:
        """Has all that waits go out without lingering; the batches that are not finished."""
        with self.lock:
            self._close_open()
            found = [*self._under_way, *self._returned, *self._full]
        self._wake()
        return found

    @property
    def first(self) -> bool:
        """Whether nothing was written yet."""
        return self._alone

    def errors(self) -> list[BaseException]:
        """What failed since this was asked last."""
        with self.lock:
            found, self._unsaid = self._unsaid, []
        return found

    def _close_open(self) -> None:
        if self._open is not None:
            self._full.append(self._open)
            self._open = None

    # --- who delivers ------------------------------------------------------------------------------------------------

    def take(self) -> tuple[Batch | None, float | None]:
        """The next batch that is due, or the seconds until one is (None: nothing waits for time alone)."""
        with self.lock:
            return self._take()

    def _take(self) -> tuple[Batch | None, float | None]:
        most = 1 if self._alone else self.limits.in_flight
        if self.stopped is not None or self._rewind_to is not None or len(self._under_way) >= most:
            return None, None
        if not self._full:
            if self._open is None:
                return None, None
            left = self._open.began + self.limits.linger - time.monotonic()
            if left > 0:
                return None, left
            self._close_open()
        batch = self._full.popleft()
        batch.seq = self._next_seq
        batch.state, batch.left = "under way", Future()
        self._next_seq += 1
        batch.previous = self._under_way[-1] if self._under_way else None
        self._under_way.append(batch)
        return batch, None

    def succeeded(self, batch: Batch) -> None:
        """It is durable. (Batches are told so in their order.)"""
        with self.lock:
            self.end = batch.end
            self._alone = False
            if self._rewind_to is not None:
                self._rewind_to = batch.seq + 1  # it was written behind one that was refused, against the rules
            waiters = self._ended(batch, "written")
        batch.finished.set_result(None)
        _resolve(batch.left, *waiters)
        self._wake()

    def failed(self, batch: Batch, error: BaseException, *, final: bool) -> None:
        """It was refused. `final`: nothing else goes out any more."""
        lost: list[Batch] = []
        with self.lock:
            self._unsaid.append(error)
            if self._rewind_to is None or batch.seq < self._rewind_to:
                self._rewind_to = batch.seq
            waiters = self._ended(batch, "failed")
            if final:
                self.stopped = self.stopped or error
                self._close_open()
                lost = [*self._returned, *self._full]
                self._returned.clear()
                self._full.clear()
                self._cost -= sum(each.cost for each in lost)
        for each in (batch, *lost):
            each.state = "failed"
            each.finished.set_exception(error)
        _resolve(batch.left, *waiters)
        self._wake()

    def given_back(self, batch: Batch) -> None:
        """It was not written, because one before it was refused: it goes out again, under another number."""
        with self.lock:
            self._returned.append(batch)
            self._under_way.remove(batch)
            batch.state, batch.previous = "waiting", None
            self._settle()
        _resolve(batch.left)
        self._wake()

    def restart(self) -> None:
        """From number 0 again, with nothing under way."""
        with self.lock:
            if self._under_way:
                raise RuntimeError("batches are under way")
            self.stopped = None
            self._rewind_to = None
            self._next_seq = 0
            self._alone = True

    def _ended(self, batch: Batch, state: State) -> list[Future[None]]:
        batch.state, batch.previous = state, None
        self._under_way.remove(batch)
        self._cost -= batch.cost
        self._settle()
        waiters, self._waiters = self._waiters, []
        return waiters

    def _settle(self) -> None:
        """Once nothing is under way behind a refusal, what was given back goes first, from the number refused on."""
        if self._rewind_to is not None and not self._under_way:
            self._next_seq, self._rewind_to = self._rewind_to, None
            self._full.extendleft(reversed(self._returned))
            self._returned.clear()


def _resolve(*futures: Future[None]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
