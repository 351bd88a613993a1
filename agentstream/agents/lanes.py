"""Placing calls: which recorded lane a live one is, and which recorded step a call is.

Within a lane the ordinal decides. A new lane is known by its first call; lanes that begin
alike are interchangeable until they differ, and are exchanged then.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from agentstream.agents.context import Lane
from agentstream.agents.journal import Call, Entry, Journal, LaneEntry, same
from agentstream.agents.stops import Stop
from agentstream.sessions.fingerprints import unsure

if TYPE_CHECKING:
    from agentstream.agents.context import Caller
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps

CERTAIN = 0.3
"""Seconds to wait for the recorded lanes of a finished run: another one surely diverges, only its name is open."""


class Lanes:
    """The lanes of one run, live beside recorded. Safe to use from any thread and loop."""

    def __init__(self, worker: Worker, journal: Journal) -> None:
        self._worker = worker
        self._journal = journal
        self._lock = threading.RLock()
        self._of_tasks: weakref.WeakKeyDictionary[Any, list[Lane]] = weakref.WeakKeyDictionary()
        self._parked: list[Future[None]] = []
        self.unsure: dict[Entry, None] = {}
        """Recorded steps that the code's agree with as far as was recorded, for want of the key to know more."""

    def opened_from(self, parent: Lane, caller: Caller) -> Lane:
        """The lane of another task or thread that was opened from `parent`; a new one at its first call."""
        self._worker.progress.member(caller)
        is_task = isinstance(caller, asyncio.Task)
        with self._lock:
            for lane in self._of_tasks.get(caller, ()) if is_task else ():
                if lane.parent is parent:
                    return lane
            lane = Lane(self._worker, parent.run, parent, weakref.ref(caller))
            if is_task:
                self._of_tasks.setdefault(caller, []).append(lane)
                caller.add_done_callback(self._finished)
            return lane

    def _finished(self, task: asyncio.Task[Any]) -> None:
        """A stop in a task that nobody waits for is no lost error: `session.run` raises it."""
        if self._worker.poison is not None and not task.cancelled():
            task.exception()

    def wake(self) -> None:
        """Lets lanes that wait look again."""
        with self._lock:
            woken, self._parked = self._parked, []
        for future in woken:
            if not future.done():
                future.set_result(None)

    def park(self) -> Future[None]:
        """A future that is resolved when there is something new to look at."""
        parked: Future[None] = Future()
        with self._lock:
            self._parked.append(parked)
        return parked

    def place(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[Entry | None]:
        """The recorded step for this call, None if it is new; moves the lane on. Raises the stop if they disagree."""
        if lane.entry is None:
            yield from self._settle(lane, call, data, in_loop=in_loop)
        recorded = yield from self._agreed(lane, call, data, in_loop=in_loop)
        self._worker.progress.moved()
        if lane.place is not None:
            lane.place.end()
        if lane.held:
            from agentstream.agents.saying import placed  # which stands on steps, as these do on lanes

            placed(lane, recorded=recorded is not None)
        if recorded is not None:
            recorded.asked = True
            self._worker.turnstile.happened(recorded.start)
        return recorded

    def _agreed(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[Entry | None]:
        """Moves the lane on to its next recorded step, None if that is new; raises the stop if it is another one.

        A lane may have been given the record of one that began alike and is still to come: it waits for that.
        """
        waits = lane.parent is not None and (in_loop or not _loop_runs_here())
        waits = waits and not (self._worker.replaying and self._worker.record_is_whole)
        while True:
            with self._lock:
                recorded = self._recorded(lane, call)
                if recorded is not None and recorded.asks_on and not same(recorded.call, call):
                    recorded = None
                if recorded is None or same(recorded.call, call):
                    if recorded is not None and recorded.call[2] != call[2] and unsure(recorded.call[2], call[2]):
                        self.unsure[recorded] = None
                    lane.calls.append(call)
                    lane.cursor += 1
                    return recorded
                if not waits:
                    raise self._disagree(recorded, call, data, lane)
                parked = self.park()
            if not (yield from self._worker.progress.patience(parked)):
                raise self._disagree(recorded, call, data, lane)
            self._worker.check()

    def _disagree(self, recorded: Entry, call: Call, data: Any, lane: Lane) -> Stop:
        same = recorded.call[:2] == call[:2]
        what = (
            f"{call[0]} {call[1]!r} was recorded here with another input"
            if same
            else f"the code calls {call[0]} {call[1]!r} where {recorded.call[0]} {recorded.call[1]!r} was recorded"
        )
        kind = "different_args" if same else "different_call"
        return self._worker.diverge(kind, recorded, call, data, lane.id, what)

    # --- new lanes ---------------------------------------------------------------------------------------------------

    def _settle(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[None]:
        """Finds out which recorded lane a new lane is.

        If none matches but recorded ones are still missing, this may be a new lane, or a
        recorded one whose first call changed: nobody can tell until those have come. Only a
        sync step in an event loop cannot wait for them, for they need the loop: it is new.
        """
        worker = self._worker
        waits = in_loop or not _loop_runs_here()
        at_most = CERTAIN if worker.replaying and worker.record_is_whole else None
        while True:
            worker.check()
            with self._lock:
                opener = _opener(lane)
                parent = _entry(opener)
                match = _free(parent, call)
                if match is None and self._exchange_opener(opener, call):
                    parent = _entry(opener)
                    match = _free(parent, call)
                missing = parent.missing() if match is None else []
                if match is None and not (missing and waits):
                    match = self._journal.lane(lane.run, self._new_id(parent))
                    parent.adopt(match)
                if match is not None:
                    parent.hold(match, lane)
                    lane.entry = match
                    if lane.awaited or not parent.missing():
                        self.wake()
                    return
                _await_openers(lane)
                parked = self.park()
            if not (yield from worker.progress.patience(parked, at_most=at_most)):
                raise self._unmatched(missing, call, data)

    def _unmatched(self, missing: list[LaneEntry], call: Call, data: Any) -> Stop:
        alike = [lane for lane in missing if lane.first is not None and lane.first.call[:2] == call[:2]]
        gone = (alike or missing)[0]
        return self._worker.diverge(
            "different_args" if alike else "different_call",
            gone.first,
            call,
            data,
            gone.id,
            f"a lane begins with {call[0]} {call[1]!r} as none was recorded, and the recorded one did not come",
        )

    def _new_id(self, parent: LaneEntry) -> str:
        number = len(parent.children)
        while (parent.run, f"{parent.id}.{number}") in self._journal.lanes:
            number += 1
        return f"{parent.id}.{number}"

    # --- lanes that began alike --------------------------------------------------------------------------------------

    def _recorded(self, lane: Lane, call: Call) -> Entry | None:
        """What the record has for the lane's next call; a lane whose record does not go on so may be another one."""
        entry = lane.entry
        assert entry is not None
        recorded = entry.steps.get(lane.cursor)
        if recorded is None:
            if lane.alone or lane.cursor == 0:
                return None
            better = self._other(lane, call, whole=True)
            lane.alone = better is None and not self._likenesses(lane)
        elif not same(recorded.call, call):
            better = self._other(lane, call, whole=True) or self._other(lane, call, whole=False)
        else:
            return recorded
        if better is None:
            return recorded
        self._exchange(lane, better)
        return better.steps.get(lane.cursor)

    def _other(self, lane: Lane, call: Call, *, whole: bool) -> LaneEntry | None:
        """A sibling record that fits all the lane has asked: this call too, or (not `whole`) ending just before it."""
        entry = lane.entry
        if entry is None or entry.parent is None or not lane.calls:
            return None
        wanted = [*lane.calls, call] if whole else lane.calls
        for other in entry.parent.alike(lane.calls[0]):
            if other is entry or not other.fits(wanted) or (not whole and len(other.steps) != lane.cursor):
                continue
            holder = other.holder
            if lane.cursor > len(entry.steps):  # it has made steps: it changes only with one that asked the same
                if holder is not None and holder.calls == lane.calls:
                    return other
            elif holder is None or (holder.cursor <= lane.cursor and entry.fits(holder.calls)):
                return other
        return None

    def _exchange_opener(self, opener: Lane, call: Call) -> bool:
        """Gives a lane that opens another one the record of a sibling that began alike and opened such a lane."""
        entry = _entry(opener)
        if entry.parent is None or not opener.calls or opener.cursor > len(entry.steps) or _has_opened(entry):
            return False
        for other in entry.parent.alike(opener.calls[0]):
            holder = other.holder
            if other is entry or not other.fits(opener.calls) or _has_opened(other) or _free(other, call) is None:
                continue
            if holder is None or (holder.cursor <= len(other.steps) and entry.fits(holder.calls)):
                self._exchange(opener, other)
                return True
        return False

    def _likenesses(self, lane: Lane) -> bool:
        """Whether any sibling record has all the lane has asked: it may turn out to be that one."""
        entry = lane.entry
        if entry is None or entry.parent is None:
            return False
        return any(other is not entry and other.fits(lane.calls) for other in entry.parent.alike(lane.calls[0]))

    def _exchange(self, lane: Lane, other: LaneEntry) -> None:
        entry, holder = lane.entry, other.holder
        assert entry is not None
        assert entry.parent is not None
        entry.parent.hold(entry, holder)
        entry.parent.hold(other, lane)
        lane.entry = other
        if holder is not None:
            holder.entry = entry
        self.wake()
        for ordinal, step in entry.steps.items():
            step.ask(holder is not None and ordinal < holder.cursor)
        for ordinal, step in other.steps.items():
            step.ask(ordinal < lane.cursor)


def _opener(lane: Lane) -> Lane:
    """The nearest lane above that has a record."""
    above = lane.parent
    while above is not None and above.entry is None:
        above = above.parent
    assert above is not None
    return above


def _await_openers(lane: Lane) -> None:
    """Has the lanes above that have no record yet wake who waits when they get one: this lane's may lie there."""
    above = lane.parent
    while above is not None and above.entry is None:
        above.awaited = True
        above = above.parent


def _entry(lane: Lane) -> LaneEntry:
    assert lane.entry is not None
    return lane.entry


def _free(parent: LaneEntry, call: Call) -> LaneEntry | None:
    """The first recorded lane opened from `parent` that begins with this call, and that no live lane was given."""
    return next((child for child in parent.alike(call) if child.holder is None), None)


def _has_opened(entry: LaneEntry) -> bool:
    """Whether lanes opened from here were given to live ones."""
    return any(child.holder is not None for child in entry.children)


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
