"""How a worker writes: in order, one append in flight, everything that waits in the next.

Lanes put events into one buffer. Whoever needs durability waits for a ticket; what nobody
waits for (a step's start, deltas) goes out with the next append or after a short while.
All appends carry the claim as producer epoch and one rising sequence, so that a repeated
append is told from a new one and a superseded worker is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentstream.agents.timer import timer
from agentstream.backends.driving import Detached, Wait
from agentstream.errors import Fenced, StoreError, Unavailable
from agentstream.protocol.operations import Append, Appended
from agentstream.sessions.claims import FENCING, Claim, fenced
from agentstream.sessions.writing import RETRIES

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

LARGEST = 1 << 20
"""Bytes of messages that one append takes, at least one message."""

CROWDED = 8 << 20
"""Bytes in the buffer from which on whoever feeds it should wait."""

Message = bytes | Callable[[], bytes]
"""A message, or what makes it when it is sent (deltas that still grow)."""


@dataclass(slots=True)
class _Batch:
    operation: Append
    tickets: list[Future[None]]
    tries: int = 0


@dataclass(slots=True)
class _Waiting:
    message: Message
    size: int
    since: float
    ticket: Future[None] | None = None


@dataclass(slots=True)
class Writer:
    """The appends of one claim. Safe to use from any thread and loop."""

    backend: Backend
    session: str
    claim: Claim
    stopped: Callable[[Exception], object] = lambda error: None
    """Told once, when an append was refused for good."""
    _seq: int = 1
    _buffer: list[_Waiting] = field(default_factory=list)
    _size: int = 0
    _flying: _Batch | None = None
    _timed: bool = False
    _error: Exception | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def crowded(self) -> bool:
        return self._size > CROWDED

    @property
    def idle(self) -> bool:
        """Whether everything that was put is durable."""
        return not self._buffer and self._flying is None

    def put(self, *messages: Message, within: float | None = None) -> None:
        """Takes messages along with the next append; makes one after `within` seconds if none came before."""
        now = time.monotonic()
        with self._lock:
            self._refuse_if_stopped()
            self._add(messages, now)
            if within is None or self._timed:
                return
            self._timed = True
        timer.later(within, lambda: self._overdue(within))

    def durable(self, *messages: Message) -> Steps[None]:
        """Writes the messages, and all put before them; returns when they are durable."""
        ticket: Future[None] = Future()
        with self._lock:
            self._refuse_if_stopped()
            self._add(messages, time.monotonic())
            if self._buffer:
                ticket = self._buffer[-1].ticket = self._buffer[-1].ticket or ticket
            elif self._flying is not None:
                self._flying.tickets.append(ticket)
            else:
                return
            batch = self._take()
        if batch is not None:
            yield Detached(batch.operation, self._answered(batch))
        yield Wait(ticket)

    def discard(self) -> None:
        """Drops what came after the last that somebody waits for: the run was stopped."""
        with self._lock:
            while self._buffer and self._buffer[-1].ticket is None:
                self._size -= self._buffer.pop().size

    def close(self) -> None:
        """Drops what was not written: the run is over, and the session is another's to take."""
        with self._lock:
            self._buffer.clear()
            self._size = 0

    def _refuse_if_stopped(self) -> None:
        if self._error is not None:
            raise self._error

    def _add(self, messages: tuple[Message, ...], now: float) -> None:
        for message in messages:
            size = len(message) if isinstance(message, bytes) else 256
            self._buffer.append(_Waiting(message, size, now))
            self._size += size

    def _overdue(self, within: float) -> None:
        with self._lock:
            self._timed = False
            if self._error is not None or not self._buffer:
                return
            left = self._buffer[0].since + within - time.monotonic()
            if left > 0.001 or self._flying is not None:
                self._timed = True
                again = max(left, 0.005)
                timer.later(again, lambda: self._overdue(within))
                return
            batch = self._take()
        if batch is not None:
            self._submit(batch)

    def _take(self) -> _Batch | None:
        """The next append, if none is in flight. Under the lock."""
        if self._flying is not None or not self._buffer:
            return None
        size = count = 0
        while count < len(self._buffer) and (count == 0 or size + self._buffer[count].size <= LARGEST):
            size += self._buffer[count].size
            count += 1
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        messages = tuple(w.message if isinstance(w.message, bytes) else w.message() for w in taken)
        tickets = [waiting.ticket for waiting in taken if waiting.ticket is not None]
        self._size -= size
        self._flying = _Batch(Append(self.claim.path, messages, producer=self.claim.producer(self._seq)), tickets)
        return self._flying

    def _submit(self, batch: _Batch) -> None:
        answered = self._answered(batch)
        try:
            future = self.backend.submit(batch.operation)
        except Exception as error:
            answered(None, error)
            return
        future.add_done_callback(
            lambda done: answered(None, done.exception()) if done.exception() else answered(done.result(), None)
        )

    def _answered(self, batch: _Batch) -> Callable[[Appended | None, BaseException | None], None]:
        def answered(result: Appended | None, error: BaseException | None) -> None:
            batch.tries += 1
            if isinstance(error, Unavailable) and batch.tries <= len(RETRIES):
                timer.later(RETRIES[batch.tries - 1], lambda: self._submit(batch))
                return
            failure = self._failure(batch, result, error)
            with self._lock:
                self._flying = None
                if failure is None:
                    self._seq += 1
                    waits = any(waiting.ticket is not None for waiting in self._buffer)
                    following = self._take() if waits else None
                    tickets = batch.tickets
                else:
                    self._error = failure
                    following = None
                    tickets = batch.tickets + [w.ticket for w in self._buffer if w.ticket is not None]
                    self._buffer.clear()
                    self._size = 0
            if failure is not None:
                self.stopped(failure)
            if following is not None:
                self._submit(following)
            for ticket in tickets:
                if failure is None:
                    ticket.set_result(None)
                else:
                    ticket.set_exception(failure)

        return answered

    def _failure(self, batch: _Batch, result: Appended | None, error: BaseException | None) -> Exception | None:
        """What the answer means for this worker: None, `Fenced`, or trouble with the store."""
        if error is None:
            if result is not None and result.duplicate and batch.tries == 1:
                return fenced(self.session, self.claim)  # somebody else wrote under our number
            return None
        if isinstance(error, FENCING):
            return fenced(self.session, self.claim, error)
        if isinstance(error, (StoreError, Fenced)):
            return error
        return StoreError(f"session {self.session!r}: an append failed: {type(error).__name__}: {error}")
