"""The journal: a run's recorded steps, so laid out that code can be served from them.

Pure. A step is matched by its place: within a lane ordinal, kind and name must agree, and
the fingerprint of its input. A lane is matched by its first step: a new lane takes the
first unclaimed recorded sibling whose first step has the same kind, name and fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstream.sessions.events import StepKey

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import State, Step

Call = tuple[str, str, str]
"""What a call is matched by: kind, name, fingerprint of its input."""

ROOT = "0"


@dataclass(slots=True, eq=False)
class Entry:
    """One recorded step (or child run) at its place."""

    run: str
    lane: str
    ordinal: int
    call: Call
    started: Event
    step: Step | None = None
    """None for a child run, which is gone through again."""
    observed: bool = True
    """Whether the code went on after the outcome: an error that nobody saw is tried again."""
    order: int = 0
    handed: bool = False

    @property
    def outcome(self) -> Event | None:
        return self.step.outcome if self.step is not None else None

    @property
    def served(self) -> bool:
        """Whether code that comes here gets the recorded outcome."""
        outcome = self.outcome
        return outcome is not None and ("error" not in outcome.value or self.observed)

    @property
    def unknown(self) -> bool:
        """A `once` step that was begun, and nobody knows what came of it."""
        return self.step is not None and self.step.outcome is None and self.step.effect == "once"

    @property
    def binding(self) -> bool:
        """Whether code that leaves this step out is other code."""
        return self.served or self.unknown


@dataclass(slots=True, eq=False)
class LaneEntry:
    """One recorded lane: its steps by ordinal, and the lanes opened from it in the order of their first steps."""

    run: str
    id: str
    steps: dict[int, Entry] = field(default_factory=dict)
    children: list[LaneEntry] = field(default_factory=list)
    holder: Any = None
    """The live lane that was given this record."""

    @property
    def first(self) -> Entry | None:
        return self.steps.get(0)

    @property
    def binding(self) -> bool:
        return any(entry.binding for entry in self.steps.values()) or any(lane.binding for lane in self.children)

    def matches(self, calls: list[Call]) -> bool:
        """Whether the recorded lane begins with these calls."""
        return all(n in self.steps and self.steps[n].call == call for n, call in enumerate(calls))


def parent_lane(lane: str) -> str | None:
    """The lane that `lane` was opened from; None for a run's first."""
    head, dot, _ = lane.rpartition(".")
    return head if dot else None


class Journal:
    """The recorded steps of one run and of its child runs."""

    def __init__(self, state: State, run: str) -> None:
        """`run` is a run's key; its children's keys begin with it and a slash."""
        self.state = state
        self.run = run
        self.lanes: dict[tuple[str, str], LaneEntry] = {}
        self.entries: list[Entry] = []
        for entry in sorted([*self._steps(), *self._children()], key=lambda entry: entry.started.index):
            self.lane(entry.run, entry.lane).steps[entry.ordinal] = entry
            self.entries.append(entry)
        for lane in sorted(self.lanes.values(), key=lambda lane: lane.first.started.index if lane.first else 0):
            parent = parent_lane(lane.id)
            if parent is not None:
                self.lane(lane.run, parent).children.append(lane)
        self._observe()
        self.handing = self._handing()

    def lane(self, run: str, lane: str) -> LaneEntry:
        if (run, lane) not in self.lanes:
            self.lanes[run, lane] = LaneEntry(run, lane)
        return self.lanes[run, lane]

    def attempt(self, run: str, lane: str, ordinal: int) -> int:
        """The number of the next attempt at this place."""
        return self.state.attempts.get((run, lane, ordinal), 0) + 1

    def index(self, entry: Entry | None) -> int:
        """The number of a step in the run, from 0; of one that is not recorded, the number of those that are."""
        return self.entries.index(entry) if entry is not None else len(self.entries)

    def left(self) -> list[Entry]:
        """What was recorded and has not been asked for."""
        return [entry for entry in self.entries if entry.binding and not entry.handed]

    def _mine(self, run: str) -> bool:
        return run == self.run or run.startswith(self.run + "/")

    def _steps(self) -> list[Entry]:
        return [
            Entry(step.run, step.lane, step.ordinal, (step.kind, step.name, step.fingerprint), step.last.start, step)
            for step in self.state.steps
            if self._mine(step.run)
        ]

    def _children(self) -> list[Entry]:
        found: list[Entry] = []
        for run in self.state.runs.values():
            place = StepKey.parse(run.key) if run.parent is not None and self._mine(run.key) else None
            if place is not None:
                found.append(Entry(place.run, place.lane, place.ordinal, ("agent", run.agent, run.fingerprint), run.start))
        return found

    def _observe(self) -> None:
        """An error was observed if a step began after it: in its lane, an enclosing one, or a lane opened later."""
        for entry in self.entries:
            outcome = entry.outcome
            if outcome is None or "error" not in outcome.value:
                continue
            entry.observed = any(
                other.started.index > outcome.index
                and other is not entry
                and (
                    (other.run, other.lane) == (entry.run, entry.lane)
                    or _encloses(other, entry)
                    or self._opened(other) > outcome.index
                )
                for other in self.entries
            )

    def _opened(self, entry: Entry) -> int:
        first = self.lanes[entry.run, entry.lane].first
        return first.started.index if first is not None else entry.started.index

    def _handing(self) -> list[Entry]:
        """Served steps in the order in which their outcomes are handed on: the log's, and each lane in its own order.

        A stream may be finished after a later step of its lane; it is then handed on with that one.
        """
        served = [entry for entry in self.entries if entry.served]
        soonest: dict[int, int] = {}
        for lane in self.lanes.values():
            least: int | None = None
            for ordinal in sorted(lane.steps, reverse=True):
                entry = lane.steps[ordinal]
                if entry.served and entry.outcome is not None:
                    least = entry.outcome.index if least is None else min(least, entry.outcome.index)
                    soonest[id(entry)] = least
        served.sort(key=lambda entry: (soonest[id(entry)], entry.ordinal))
        for n, entry in enumerate(served):
            entry.order = n
        return served


def _encloses(outer: Entry, inner: Entry) -> bool:
    """Whether `outer`'s lane is one that `inner`'s lane was opened from, child runs included."""
    run, lane = inner.run, inner.lane
    while True:
        up = parent_lane(lane)
        if up is not None:
            lane = up
        else:
            place = StepKey.parse(run)
            if place is None:
                return False
            run, lane = place.run, place.lane
        if (outer.run, outer.lane) == (run, lane):
            return True


def describe(call: Call, data: Any) -> dict[str, Any]:
    """A call as reports show it."""
    return {"kind": call[0], "name": call[1], "input": data}
