"""A tape: recorded sessions whose outcomes the steps of new runs are given.

The code really runs, in sessions of its own, as it did when they were recorded; only what its steps would do outside
is taken from the tape. A run is given the recorded run of the same number in the session of the same id, a graph's task
one whose steps begin alike. From there on a step is what it is on resume: lane, place, kind, name and input decide, a
lane is known by its first step, and outcomes come in the recorded order. Anything else is Diverged.

What has no part outside the session is done again: questions (the test answers them), a session's own events, children.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from agentstream.agents.calls import Served
from agentstream.agents.divergence import Divergence, compare
from agentstream.agents.journal import Entry, Journal, LaneEntry, describe, parent_lane, same
from agentstream.agents.locations import calling_code
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.turns import Turnstile
from agentstream.errors import Diverged, ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.attachments import attachments_from
from agentstream.sessions.events import OWN_TYPES
from agentstream.sessions.family import SPAWN
from agentstream.sessions.large import put_back
from agentstream.sessions.positions import Position

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.agents.stops import Stop
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps
    from agentstream.sessions.state import State

_CHILDREN = (SPAWN, "child")
_INSIDE = frozenset(("append", "attach", *_CHILDREN))
"""Kinds of steps that are made again."""
_HUMAN = frozenset(("ask", "approve", "inbox", "interrupted", "interruptible", "interrupt"))
_NOT_SAID = OWN_TYPES - {"message", "tool_call", "state", "custom"}
"""Types of events that a step does not emit beside its outcome."""


class Tape:
    """What was recorded, and how far it was played. Safe to use from any thread and loop."""

    def __init__(self, states: Iterable[State]) -> None:
        self.divergence: Divergence | None = None
        """The first disagreement of a step with the tape."""
        self.played: set[tuple[str, str]] = set()
        """The sessions and keys of the steps that were given an outcome."""
        self._keys: dict[str, str] = {}
        """Which recorded run a run is, by their keys: a fork goes on with those of its source."""
        self._reels = {state.session: _Reel(state) for state in states}
        self._found: dict[StepCall, tuple[_Reel, Entry]] = {}
        self._gates: weakref.WeakKeyDictionary[Worker, dict[Journal, Turnstile]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    # --- what steers -------------------------------------------------------------------------------------------------

    def ready(self, call: StepCall, *, changeable: bool | Collection[str], in_loop: bool) -> Steps[None]:
        with self._lock:
            reel, journal, entry = self._place(call)
            entry.asked = True
            gate = self._gate(call.worker, journal)
        gate.happened(entry.start)
        if _made_again(call):
            gate.happened(entry.turn)
            return
        if not entry.served:
            what = f"the tape does not say what came of {call.kind} {call.name!r}: it ends there"
            raise call.worker.stop(ReplayOffline(f"session {call.worker.session!r}: {what}. Record it again"))
        self._found[call] = reel, entry
        if in_loop:
            yield from gate.taken(entry.turn, call.lane.owner)
        else:
            gate.happened(entry.turn)

    def mock(self, call: StepCall, *, in_loop: bool) -> Steps[None]:
        reel, entry = self._found.pop(call, (None, None))
        if reel is None or entry is None or entry.step is None or entry.outcome is None:
            return
        value, step = entry.outcome.value, entry.step
        for kind, key, said in reel.said(step.key):
            call.worker.put(kind, f"{call.key}{key}", said)
        told = {name: part for name, part in value.items() if name not in ("claim", "resolved", "result")}
        if "result" in value:
            told["result"] = put_back(step.stored_result, entry.outcome)
        self.played.add((call.worker.session, call.key))
        error = RecordedError.read(value["error"]) if "error" in value else None
        cancelled, raised = bool(value.get("cancelled")), bool(value.get("raised"))
        call.failed = error is not None
        if cancelled and not raised:
            call._put_cancelled()
        else:
            yield from call._end(told, in_loop=in_loop)
        with attachments_from(call.worker.core.blobs):
            result = codec.decode(told["result"]) if "result" in told else None
        call.served = Served(result, error, cancelled, bool(value.get("typed")), raised)

    # --- what was not played -----------------------------------------------------------------------------------------

    def left(self, made: Iterable[State]) -> list[Divergence]:
        """The recorded steps that were not asked for. `made` are the sessions as they are now: what is told in them
        without a step (the nodes of a published graph) is told again and not played."""
        told: dict[tuple[str, str, str], int] = {}
        for state in made:
            for step in state.steps:
                if (state.session, step.key) not in self.played:
                    named = (state.session, step.kind, step.name)
                    told[named] = told.get(named, 0) + 1
        found: list[Divergence] = []
        for reel in dict.fromkeys(self._reels.values()):
            for entry in reel.unasked():
                named = (reel.state.session, *entry.call[:2])
                if told.get(named, 0):
                    told[named] -= 1
                    continue
                call = describe(entry.call, entry.encoded_input)
                found.append(
                    compare(reel.before(entry), entry.number, entry.lane, "missing_call", call, None, None, entry.code)
                )
        return found

    # --- which step it is --------------------------------------------------------------------------------------------

    def _gate(self, worker: Worker, journal: Journal) -> Turnstile:
        gates = self._gates.setdefault(worker, {})
        if journal not in gates:
            gates[journal] = Turnstile(journal.turns, worker.progress, worker.check)
        return gates[journal]

    def _place(self, call: StepCall) -> tuple[_Reel, Journal, Entry]:
        """The recorded step, and where it is. Raises the stop where there is none."""
        worker, id = call.worker, call.id
        reel = self._reels.get(worker.session) or self._spare(worker.session)
        if reel is None:
            raise self._diverge(call, None, None, f"session {worker.session!r} is not on the tape")
        journal = reel.journal_of(worker, call, self._keys)
        if journal is None:
            raise self._diverge(call, reel, None, "this run has no counterpart on the tape")
        lane, expected = reel.lane_of(worker, journal, call)
        entry = lane.steps.get(id.ordinal) if lane is not None else expected
        if lane is None or entry is None or not _agrees(entry, call):
            raise self._diverge(call, reel, entry)
        return reel, journal, entry

    def _spare(self, session: str) -> _Reel | None:
        """Children's sessions get ids by chance: the next one that nobody was given."""
        free = next((reel for reel in self._reels.values() if reel.is_child and not reel.taken), None)
        if free is not None:
            self._reels[session] = free
        return free

    def _diverge(self, call: StepCall, reel: _Reel | None, entry: Entry | None, why: str = "") -> Stop:
        worker = call.worker
        if entry is None:
            kind, what = "extra_call", f"the code calls {call.kind} {call.name!r}, and the tape has no more steps here"
        elif entry.call[:2] == call.call[:2]:
            kind, what = "different_args", f"{call.kind} {call.name!r} was recorded here with another input"
        else:
            was = f"{entry.call[0]} {entry.call[1]!r}"
            kind, what = "different_call", f"the code calls {call.kind} {call.name!r} where {was} was recorded"
        recorded = describe(entry.call, entry.encoded_input) if entry is not None else None
        before = reel.before(entry) if reel is not None else Position(worker.session, worker.state.incarnation, 0)
        divergence = compare(
            before,
            entry.number if entry is not None else len(reel.entries) if reel is not None else 0,
            call.lane.id,
            kind,
            recorded,
            describe(call.call, call.data),
            call.code or calling_code(),
            entry.code if entry is not None else None,
        )
        self.divergence = self.divergence or divergence
        worker.divergence = worker.divergence or divergence
        error = Diverged(f"session {worker.session!r}: {why or what}\n{divergence}", divergence=divergence)
        return worker.stop(error)


class _Reel:
    """One recorded session."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.taken = False
        self.is_child = state.lineage is None and any("parent" in event.value for event in state.of_type("session"))
        roots = [run.key for run in state.runs.values() if run.parent is None]
        self._runs = [Journal(state, key, replayed=True) for key in roots]
        tasks = dict.fromkeys(step.run for step in state.steps)
        below = tuple(f"{root}/" for root in roots)
        self._tasks = [
            Journal(state, key, replayed=True)
            for key in tasks
            if key not in state.runs and not key.startswith(below or ("\0",))
        ]
        self._given: dict[str, Journal] = {}
        """By the key of the run (or task) that plays it."""
        self._lanes: dict[tuple[str, str], LaneEntry] = {}
        self._held: set[LaneEntry] = set()

    @property
    def entries(self) -> list[Entry]:
        return [entry for journal in (*self._runs, *self._tasks) for entry in journal.entries]

    def unasked(self) -> list[Entry]:
        """What was recorded here and not asked for."""
        return [
            entry
            for entry in self.entries
            if entry.served and not entry.asked and not entry.inherited and not _is_inside(*entry.call[:2])
        ]

    def before(self, entry: Entry | None) -> Position:
        index = entry.begun if entry is not None else self.state.index
        if index == 0:
            return Position(self.state.session, self.state.incarnation, 0)
        return self.state.events[index - 1].position

    def said(self, step: str) -> list[tuple[str, str, dict[str, Any]]]:
        """What a step emitted beside its outcome: type, rest of the key, value as it is recorded."""
        begins, found = f"{step}/", list[tuple[str, str, dict[str, Any]]]()
        for event in self.state.events:
            if event.key.startswith(begins) and event.type not in _NOT_SAID and event.mark is None:
                value = codec.loads(event.raw)["value"]
                kept = {name: part for name, part in value.items() if name != "claim"}
                found.append((event.type, event.key[len(step) :], kept))
        return found

    def journal_of(self, worker: Worker, call: StepCall, keys: dict[str, str]) -> Journal | None:
        """What the run of a worker plays."""
        self.taken = True
        key = worker.run
        if key not in self._given:
            every = self._tasks if worker.found else self._runs
            free = [each for each in every if each not in self._given.values()]
            found = next((each for each in free if each.run == keys.get(key, key)), None)
            if found is None and worker.found:
                found = next((each for each in free if _begins(each, call)), None)
                if found is None:
                    return next(iter(free), None)  # to be told of; another task may still come for it
            if found is None:
                found = next((each for each in free if not self._is_inherited(each.run)), None)
            if found is None:
                return None
            self._given[key] = found
            keys.setdefault(key, found.run)
        return self._given[key]

    def _is_inherited(self, run: str) -> bool:
        return run in self.state.runs and self.state.runs[run].start.index < self.state.inherited

    def lane_of(self, worker: Worker, journal: Journal, call: StepCall) -> tuple[LaneEntry | None, Entry | None]:
        """The recorded lane that a live one plays; else None, and the step that would be expected."""
        id = call.id
        held = self._lanes.get((id.run, id.lane))
        if held is not None:
            return held, None
        run = journal.run + id.run.removeprefix(worker.run)
        above = parent_lane(id.lane)
        free = [
            lane
            for lane in journal.lanes.values()
            if lane.run == run and lane not in self._held and (above is None) == (parent_lane(lane.id) is None)
        ]
        free.sort(key=lambda lane: lane.id != id.lane)
        for lane in free:
            entry = lane.steps.get(id.ordinal)
            if entry is not None and _agrees(entry, call):
                self._lanes[id.run, id.lane] = lane
                self._held.add(lane)
                return lane, None
        return None, next((lane.steps[id.ordinal] for lane in free if id.ordinal in lane.steps), None)


def _begins(journal: Journal, call: StepCall) -> bool:
    entries = (lane.steps.get(call.id.ordinal) for lane in journal.lanes.values())
    return any(entry is not None and _agrees(entry, call) for entry in entries)


def _agrees(entry: Entry, call: StepCall) -> bool:
    if call.kind in _CHILDREN:
        return entry.call[:2] == call.call[:2]  # a child's session is named by chance
    return same(entry.call, call.call)


def _is_inside(kind: str, name: str) -> bool:
    return kind in _INSIDE or (kind == "human" and name in _HUMAN)


def _made_again(call: StepCall) -> bool:
    return _is_inside(call.kind, call.name)
