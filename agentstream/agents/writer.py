"""How a worker writes: in order, one append in flight, everything that waits in the next.

Lanes put events into one buffer. Whoever needs durability waits for a ticket; what nobody
waits for (a step's start, deltas) goes out with the next append or after a short while.
A large value is kept in its blob (`sessions/large.py`) in its turn, before what refers to it.
All appends carry the claim as producer epoch and one rising sequence, so that a repeated
append is told from a new one and a superseded worker is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import msgspec

from agentstream.agents.timer import TICK, timer
from agentstream.backends.driving import Detached, Wait, drive, start
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


class Before(msgspec.Struct, frozen=True, eq=False):
    """What must be done before the messages after it are sent: a large value is made durable."""

    steps: Callable[[], Steps[None]]
    size: int


Message = bytes | Callable[[], bytes] | Before
"""A message, or what makes it when it is sent (deltas that still grow), or what comes before the next one."""


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
        self._keeping: Steps[None] | None = None
        """What is to be done before the next append; `_begun` once somebody does it."""
        self._begun = False
        self._befores = 0
        """How many such are in the buffer."""
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
    def written(self) -> int:
        """How many messages were sent so far."""
        return self._sent

    @property
    def idle(self) -> bool:
        """Whether everything that was put is durable."""
        return not self._buffer and not self._busy

    @property
    def _busy(self) -> bool:
        return self._flying is not None or self._keeping is not None

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
        if append is None and self._keeping is not None:
            self._begin_keeping()
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
            self._befores = sum(isinstance(message, Before) for message in self._buffer)

    def close(self) -> None:
        """Drops what was not written: the run is over, and the session is another's to take."""
        with self._lock:
            self._buffer.clear()
            self._size = self._befores = 0

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _add(self, messages: tuple[Message, ...]) -> None:
        if self._error is not None:
            raise self._error
        for message in messages:
            self._buffer.append(message)
            self._size += _size(message)
            self._befores += isinstance(message, Before)

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
        """The next append, if nothing is in flight; None also where something is to be done before it (`_go_on`)."""
        if self._busy or not self._buffer:
            return None
        size, count = self._size, len(self._buffer)
        if self._befores or size > LARGEST:
            size = count = 0
            for message in self._buffer:
                if count and (isinstance(message, Before) or size + _size(message) > LARGEST):
                    break
                size += _size(message)
                count += 1
                if isinstance(message, Before):
                    break
        messages = self._buffer[:count]
        del self._buffer[:count]
        self._size -= size
        self._sent += count
        self._tries = 0
        if not self._buffer:
            self._due = None
        if isinstance(messages[0], Before):
            self._befores -= 1
            self._keeping = messages[0].steps()
            return None
        # `messages` holds no Before: whoever takes stops ahead of one
        body = tuple([message if isinstance(message, bytes) else message() for message in messages])  # type: ignore[operator]
        self._flying = Append(self.claim.path, body, producer=self.claim.producer(self._seq))
        return self._flying

    def _take_overdue(self) -> tuple[Append | None, float | None]:
        """The append due, or the seconds until one is; neither while one is in flight: its answer asks again."""
        if self._due is None or self._timed or self._busy or not self._buffer:
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
        elif self._keeping is not None:
            self._begin_keeping()
        elif later is not None:
            timer.later(later, self._overdue)

    def _start(self, append: Append) -> None:
        start(append, self._answered, self.backend)

    def _begin_keeping(self) -> None:
        """Does what comes before the next append, if that has not begun; in a thread, since it reads and writes."""
        with self._lock:
            steps, begun, self._begun = self._keeping, self._begun, True
        if steps is not None and not begun:
            threading.Thread(target=self._keep, args=(steps,), name="agentstream-large-value", daemon=True).start()

    def _keep(self, steps: Steps[None]) -> None:
        failure: Exception | None = None
        try:
            drive(steps, self.backend)
        except StoreError as error:
            failure = error
        except Exception as error:
            what = f"a large value cannot be kept: {type(error).__name__}: {error}"
            failure = StoreError(f"session {self.session!r}: {what}")
            failure.__cause__ = error
        self._landed(failure)

    def _on_answer(self, result: Appended | None, error: BaseException | None) -> None:
        with self._lock:
            self._tries += 1
            append, tries = self._flying, self._tries
        if append is None:
            return
        if isinstance(error, Unavailable) and tries <= len(RETRIES):
            timer.later(RETRIES[tries - 1], lambda: self._start(append))
            return
        self._landed(self._failure(tries, result, error))

    def _landed(self, failure: Exception | None) -> None:
        """What was in flight is durable, or will never be."""
        following, later = None, None
        with self._lock:
            self._seq += self._flying is not None
            self._flying = self._keeping = None
            self._begun = False
            if failure is None:
                self._durable = self._sent
                done = [ticket for count, ticket in self._tickets if count <= self._durable]
                self._tickets = self._tickets[len(done) :]
                following, later = (self._take(), None) if self._tickets else self._take_overdue()
            else:
                self._error = failure
                done = [ticket for _, ticket in self._tickets]
                self._tickets.clear()
                self._buffer.clear()
                self._size = self._befores = 0
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
    if isinstance(message, bytes):
        return len(message)
    return message.size if isinstance(message, Before) else UNKNOWN_SIZE


def _goal(ticket: tuple[int, Future[None]]) -> int:
    return ticket[0]
