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
from typing import TYPE_CHECKING

from agentstream.agents.timer import TICK, timer
from agentstream.backends.driving import Detached, Wait, start
from agentstream.errors import Fenced, StoreError, Unavailable
from agentstream.protocol.operations import Append, Appended
from agentstream.sessions.claims import FENCING, Claim, fenced
from agentstream.sessions.patience import RETRIES

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

LARGEST = 1 << 20
"""Bytes of messages that one append takes, at least one message."""

CROWDED = 8 << 20
"""Bytes in the buffer from which on whoever feeds it should wait."""

UNKNOWN_SIZE = 256
"""Bytes that a message which is made when it is sent is taken for."""

Message = bytes | Callable[[], bytes]
"""A message, or what makes it when it is sent (deltas that still grow)."""


class Writer:
    """The appends of one claim. Safe to use from any thread and loop.

    Messages are counted as they are put: a ticket is for everything up to a count, and an
    answered append makes everything up to one durable.
    """

    def __init__(self, backend: Backend, session: str, claim: Claim) -> None:
        self.backend = backend
        self.session = session
        self.claim = claim
        self.stopped: Callable[[Exception], object] = lambda error: None
        """Told once, when an append was refused for good."""
        self._seq = 1
        self._buffer: list[Message] = []
        self._size = 0
        self._sent = self._durable = 0
        self._tickets: list[tuple[int, Future[None]]] = []
        self._flying: Append | None = None
        self._tries = 0
        self._due: float | None = None
        """When what is in the buffer should be on its way."""
        self._timed = False
        self._error: Exception | None = None
        self._lock = threading.Lock()
        # made once: with thousands of writers, what is made for each append keeps the garbage collector busy
        self._overdue, self._answered = self._on_overdue, self._on_answer

    @property
    def crowded(self) -> bool:
        return self._size > CROWDED

    @property
    def idle(self) -> bool:
        """Whether everything that was put is durable."""
        return not self._buffer and self._flying is None

    def put(self, *messages: Message, within: float | None = None) -> None:
        """Takes messages along with the next append; makes one after `within` seconds if none came before."""
        with self._lock:
            self._add(messages)
            if within is None:
                return
            due = time.monotonic() + within
            if self._due is None or due < self._due:
                self._due = due
            if self._timed:
                return
            self._timed = True
        timer.in_line(within, self._overdue)

    def durable(self, *messages: Message) -> Steps[None]:
        """Writes the messages, and all put before them; returns when they are durable."""
        with self._lock:
            self._add(messages)
            goal = self._sent + len(self._buffer)
            append = self._take()
            ticket = self._ticket(goal) if append is None or goal > self._sent else None
        if append is not None:
            yield Detached(append, self._answered)
            if ticket is None:  # mostly it was answered in place, and nobody has to wait
                with self._lock:
                    ticket = self._ticket(goal)
        if ticket is not None:
            yield Wait(ticket)

    def discard(self) -> None:
        """Drops what came after the last that somebody waits for: the run was stopped."""
        with self._lock:
            awaited = max(self._tickets[-1][0] - self._sent, 0) if self._tickets else 0
            del self._buffer[awaited:]
            self._size = sum(map(_size, self._buffer))

    def close(self) -> None:
        """Drops what was not written: the run is over, and the session is another's to take."""
        with self._lock:
            self._buffer.clear()
            self._size = 0

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _add(self, messages: tuple[Message, ...]) -> None:
        if self._error is not None:
            raise self._error
        for message in messages:
            self._buffer.append(message)
            self._size += _size(message)

    def _ticket(self, goal: int) -> Future[None] | None:
        """What to wait for until all messages up to that count are durable; None if they are."""
        if self._error is not None:
            raise self._error
        if self._durable >= goal:
            return None
        if not self._tickets or self._tickets[-1][0] != goal:
            self._tickets.append((goal, Future()))
            self._tickets.sort(key=_goal)
        return next(ticket for count, ticket in self._tickets if count == goal)

    def _take(self) -> Append | None:
        """The next append, if none is in flight."""
        if self._flying is not None or not self._buffer:
            return None
        size, count = self._size, len(self._buffer)
        if size > LARGEST:
            size = count = 0
            while count < len(self._buffer) and (count == 0 or size + _size(self._buffer[count]) <= LARGEST):
                size += _size(self._buffer[count])
                count += 1
        body = tuple([message if isinstance(message, bytes) else message() for message in self._buffer[:count]])
        del self._buffer[:count]
        self._size -= size
        self._sent += count
        self._tries = 0
        if not self._buffer:
            self._due = None
        self._flying = Append(self.claim.path, body, producer=self.claim.producer(self._seq))
        return self._flying

    def _take_overdue(self) -> tuple[Append | None, float | None]:
        """The append due, or the seconds until one is; neither while one is in flight: its answer asks again."""
        if self._due is None or self._timed or self._flying is not None or not self._buffer:
            return None, None
        left = self._due - time.monotonic()
        if left <= TICK:
            return self._take(), None
        self._timed = True
        return None, left

    # --- on the timer's and the backend's threads --------------------------------------------------------------------

    def _on_overdue(self) -> None:
        with self._lock:
            self._timed = False
            append, later = self._take_overdue()
        self._go_on(append, later)

    def _go_on(self, append: Append | None, later: float | None) -> None:
        if append is not None:
            self._start(append)
        elif later is not None:
            timer.later(later, self._overdue)

    def _start(self, append: Append) -> None:
        start(append, self._answered, self.backend)

    def _on_answer(self, result: Appended | None, error: BaseException | None) -> None:
        with self._lock:
            self._tries += 1
            append, tries = self._flying, self._tries
        if append is None:
            return
        if isinstance(error, Unavailable) and tries <= len(RETRIES):
            timer.later(RETRIES[tries - 1], lambda: self._start(append))
            return
        failure = self._failure(tries, result, error)
        following, later = None, None
        with self._lock:
            self._flying = None
            if failure is None:
                self._seq += 1
                self._durable = self._sent
                done = [ticket for count, ticket in self._tickets if count <= self._durable]
                self._tickets = self._tickets[len(done) :]
                following, later = (self._take(), None) if self._tickets else self._take_overdue()
            else:
                self._error = failure
                done = [ticket for _, ticket in self._tickets]
                self._tickets.clear()
                self._buffer.clear()
                self._size = 0
        if failure is not None:
            self.stopped(failure)
        self._go_on(following, later)
        for ticket in done:
            if failure is None:
                ticket.set_result(None)
            else:
                ticket.set_exception(failure)

    def _failure(self, tries: int, result: Appended | None, error: BaseException | None) -> Exception | None:
        """What the answer means for this worker: None, `Fenced`, or trouble with the store."""
        if error is None:
            if result is not None and result.duplicate and tries == 1:
                return fenced(self.session, self.claim)  # somebody else wrote under our number
            return None
        if isinstance(error, FENCING):
            return fenced(self.session, self.claim, error)
        if isinstance(error, (StoreError, Fenced)):
            return error
        return StoreError(f"session {self.session!r}: an append failed: {type(error).__name__}: {error}")


def _size(message: Message) -> int:
    return len(message) if isinstance(message, bytes) else UNKNOWN_SIZE


def _goal(ticket: tuple[int, Future[None]]) -> int:
    return ticket[0]
