"""Waiting without a process: lanes that cannot go on are parked, and a run of which all are ends as waiting.

A lane is parked until its question is answered, its moment has come, or a message has come.
As long as another lane goes on, or the moment is near, the process stays and reads the log
for what comes. When nothing moves any more, the run's status becomes `waiting`, with what
it waits for, and the run stops; called again when that has come, it goes on.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from agentstream.agents.context import current_lane, is_muted
from agentstream.agents.turns import SETTLING
from agentstream.backends.driving import Sleep, Wait
from agentstream.errors import AgentStreamError
from agentstream.sessions import moments
from agentstream.sessions.events import run_name
from agentstream.sessions.log import missing
from agentstream.sessions.questions import questions_of
from agentstream.sessions.waits import Waits, user_messages, waiting

if TYPE_CHECKING:
    from agentstream.agents.context import Caller, Lane
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps
    from agentstream.sessions.events import Event
    from agentstream.sessions.questions import Question

NEAR = 5.0
"""Seconds that a process stays for what comes of itself; for what is further away it ends."""

QUIET = 0.3
"""Seconds without a step made or begun after which other lanes are taken to wait for the parked ones."""

GRACE = 0.5
"""Seconds that the first task of a run has to come to its end by itself once the run has stopped."""

FIRST_LOOK, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at the log while lanes are parked and others go on."""


class Parked(msgspec.Struct, eq=False):
    """A lane that waits, and for what: any of these is enough."""

    lane: Lane
    question: str | None = None
    until: datetime | None = None
    inbox: int | None = None
    child: str | None = None
    ready: Callable[[], Steps[bool]] | None = None
    """Looks whether the child can go on or has ended."""
    asked: tuple[Question, ...] = ()
    """What the child asks."""
    come: bool = False
    turn: Future[None] = msgspec.field(default_factory=Future)

    def wake(self) -> None:
        turn = self.turn
        if not turn.done():
            turn.set_result(None)


class Room:
    """The parked lanes of one run, and what of the log came since it began. Safe to use from any thread and loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = weakref.ref(worker)  # which is the key that this room is kept under
        first = worker.state.first_of(worker.run)
        self.questions = questions_of(worker.state, first)
        self.messages: list[Event] = [*user_messages(worker.state.of_type("message", start=first), first)]
        self.unread: int | None = None
        """The index from which on the inbox was not read; None until somebody asks."""
        self._seen = worker.state.index
        self._parked: list[Parked] = []
        self._watched = False
        self._lock = threading.Lock()

    @property
    def worker(self) -> Worker:
        worker = self._worker()
        assert worker is not None
        return worker

    def look(self) -> Steps[None]:
        """Reads what the log holds by now."""
        worker = self.worker
        try:
            log = yield from worker.core.refresh(worker.session)
            if log is None or log.incarnation != worker.state.incarnation:
                raise missing(worker.session)
        except AgentStreamError as error:
            raise worker.stop(error) from error
        with self._lock:
            fresh = log.events[self._seen :]
            self._seen += len(fresh)
            for event in fresh:
                self.questions.see(event)
            self.messages += user_messages(fresh, 0)

    def park(self, mine: Parked) -> Steps[None]:
        """Returns when what is waited for has come. If the run as a whole cannot go on, it ends as waiting (a stop)."""
        progress = self.worker.progress
        with self._lock:
            self._parked.append(mine)
        progress.landed()  # a parked step is not being made: nobody needs to wait for it
        try:
            while not mine.come:
                with self._lock:
                    watching = not self._watched
                    self._watched = True
                if watching:
                    try:
                        yield from self._watch(mine)
                    finally:
                        self._watched = False
                else:
                    yield Wait(mine.turn)
                    mine.turn = Future()
        finally:
            progress.took_off()
            with self._lock:
                self._parked.remove(mine)
                others = list(self._parked)
            for other in others:  # one of them watches from now on
                other.wake()

    def _watch(self, mine: Parked) -> Steps[None]:
        """One parked lane looks for all of them, until its own time has come."""
        worker, progress = self.worker, self.worker.progress
        moves, quiet_since, pause = progress.moves, time.monotonic(), FIRST_LOOK
        for _ in range(SETTLING if _loop_runs_here() else 0):
            yield Sleep(0)  # lanes that were opened together get to their steps
        while True:
            worker.raise_stop()
            yield from self.look()
            yield from self._look_at_children()
            if self._let_go() and mine.come:
                return
            if progress.flying or (progress.moves != moves and not self._alone()):
                moves, quiet_since = progress.moves, time.monotonic()
            elif self._alone() or time.monotonic() - quiet_since >= QUIET:
                left = self._seconds_left()
                if left is None or left > NEAR:
                    yield from self._end()
                    moves, quiet_since = progress.moves, time.monotonic()
                else:
                    pause = min(pause, max(left, 0.001))
            try:
                yield Wait(mine.turn, pause)
                mine.turn = Future()
            except TimeoutError:
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _look_at_children(self) -> Steps[None]:
        with self._lock:
            parents = [parked for parked in self._parked if parked.ready is not None]
        for parked in parents:
            if parked.ready is not None and (yield from parked.ready()):
                parked.ready = None

    def _let_go(self) -> bool:
        """Wakes the lanes whose time has come; whether there were any."""
        now = moments.now()
        with self._lock:
            ready = [parked for parked in self._parked if self._has_come(parked, now)]
        for parked in ready:
            parked.come = True
            self.worker.progress.moved()
            parked.wake()
        return bool(ready)

    def _has_come(self, parked: Parked, now: datetime) -> bool:
        question = self.questions.named(parked.question) if parked.question is not None else None
        return (
            (question is not None and question.is_over(now))
            or (parked.until is not None and parked.until <= now)
            or (parked.inbox is not None and any(user_messages(self.messages, parked.inbox)))
            or (parked.child is not None and parked.ready is None)
        )

    def _seconds_left(self) -> float | None:
        soonest = self._waits().until
        return (soonest - moments.now()).total_seconds() if soonest is not None else None

    def _waits(self) -> Waits:
        with self._lock:
            parked = list(self._parked)
        asked = [self.questions.named(each.question) for each in parked]
        times = [each.until for each in parked] + [question.expires for question in asked if question is not None]
        return Waits(
            tuple(question.key for question in asked if question is not None),
            min((each for each in times if each is not None), default=None),
            min((each.inbox for each in parked if each.inbox is not None), default=None),
            tuple(sorted({each.child for each in parked if each.child is not None})),
        )

    def _alone(self) -> bool:
        """Whether no other task or thread of the run is known, or could still turn out to be one of it."""
        worker = self.worker
        if worker.progress._strangers():
            return False
        with self._lock:
            here = {parked.lane.owner() for parked in self._parked if parked.lane.owner is not None}
        lanes = [
            worker.root,
            *(entry.holder for entry in list(worker.journal.lanes.values()) if entry.holder is not None),
        ]
        return all(lane.owner is None or (owner := lane.owner()) in here or not _lives(owner) for lane in lanes)

    def _end(self) -> Steps[None]:
        """Ends the run as waiting; returns if it began to move meanwhile."""
        worker, waits = self.worker, self._waits()
        worker.put("status", worker.run, {"status": "waiting", **waits.stored()}, operation="update")
        yield from worker.flush()
        if not worker.progress.flying:
            error = waiting(worker.session, run_name(worker.run), waits, self.questions)
            with self._lock:
                error.questions += tuple(question for parked in self._parked for question in parked.asked)
            raise worker.stop(error)
        worker.put_status(worker.run, "running")


def _lives(caller: Caller | None) -> bool:
    if isinstance(caller, threading.Thread):
        return caller.is_alive()
    return caller is not None and not caller.done()


_rooms: weakref.WeakKeyDictionary[Worker, Room] = weakref.WeakKeyDictionary()
_rooms_lock = threading.Lock()


def room_of(worker: Worker) -> Room:
    """The one room of a run, made when its first lane has to wait or to read the log."""
    with _rooms_lock:
        room = _rooms.get(worker)
        if room is None:
            room = _rooms[worker] = Room(worker)
        return room


def lane_for(name: str, *, awaited: bool) -> Lane | None:
    """The lane in which `name` is called, None outside a run or inside a step.

    Raises TypeError where the other of the two forms (`ask`, `aask`) belongs.
    """
    lane = None if is_muted() else current_lane()
    if lane is not None and awaited and lane.worker.sync:
        raise TypeError(
            f"a{name}() is for async agents, and the agent that calls it is a plain function: call {name}()"
        )
    if lane is not None and not awaited and _loop_runs_here():
        raise TypeError(f"{name}() would hold up the event loop in which it is called: await a{name}() instead")
    return lane


def required_lane(name: str, *, awaited: bool) -> Lane:
    """As `lane_for`; raises AgentStreamError where there is no run, or where a step's own code calls."""
    lane = lane_for(name, awaited=awaited)
    if lane is None:
        where = "inside a step, which cannot wait" if is_muted() else "outside a run, where nothing would be recorded"
        raise AgentStreamError(f"{'a' if awaited else ''}{name}() was called {where}; call it from the agent itself")
    return lane


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
