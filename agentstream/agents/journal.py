"""The journal: a run's recorded steps, so laid out that code can be served from them.

Pure. A step is matched by its place: within a lane ordinal, kind and name must agree, and
the fingerprint of its input. A lane is matched by its first step: a new lane takes the
first unclaimed recorded sibling whose first step has the same kind, name and fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.turns import Turn
from agentstream.sessions.events import StepKey
from agentstream.sessions.fingerprints import NO_KEY, Fingerprint, agree, left_of, names_of, shape_of

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import Run, State, Step

Call = tuple[str, str, str]
"""What a call is matched by: kind, name, fingerprint of its input."""

ROOT = "0"


def same(recorded: Call, now: Call) -> bool:
    """Whether a call is the recorded one."""
    return recorded == now or (recorded[:2] == now[:2] and agree(recorded[2], now[2]))


class Entry(msgspec.Struct, eq=False):
    """One recorded step (or child run) at its place."""

    run: str
    lane: str
    ordinal: int
    call: Call
    started: Event
    begun: int
    """The index of its first attempt's start; `started` is the last one's."""
    step: Step | None = None
    """None for a child run, which is gone through again."""
    child: Run | None = None
    observed: bool = True
    """Whether the code went on after the outcome: an error that nobody saw is tried again."""
    number: int = 0
    inherited: bool = False
    """Begun in the history that a fork shares with its source."""
    asked: bool = False
    start: Turn = msgspec.field(default_factory=Turn)
    turn: Turn = msgspec.field(default_factory=Turn)

    @property
    def outcome(self) -> Event | None:
        return self.step.outcome if self.step is not None else None

    @property
    def code(self) -> str | None:
        """The place in the code that made the recorded call."""
        return self.step.code if self.step is not None else None

    @property
    def served(self) -> bool:
        """Whether code that comes here gets the recorded outcome."""
        outcome = self.outcome
        if outcome is None or "error" not in outcome.value:
            return outcome is not None
        return self.observed and not outcome.value.get("retried")  # a crash between the attempts: they go on

    @property
    def unknown(self) -> bool:
        """A `once` step that was begun, and nobody knows what came of it."""
        return self.step is not None and self.step.outcome is None and self.step.effect == "once"

    @property
    def asks_on(self) -> bool:
        """A question that a branch inherited open: it knows its lane by it, and may ask something else."""
        return self.inherited and self.outcome is None

    @property
    def binding(self) -> bool:
        """Whether code that leaves this step out is other code."""
        return self.served or self.unknown

    @property
    def encoded_input(self) -> Any:
        if self.step is not None:
            return self.step.encoded_input
        return self.child.encoded_arguments if self.child is not None else None

    def ask(self, asked: bool = True) -> None:
        """The code has come here."""
        self.asked = self.start.done = asked
        self.turn.done = asked and self.served


class LaneEntry(msgspec.Struct, eq=False):
    """One recorded lane: its steps by ordinal, and the lanes opened from it in the order of their first steps."""

    run: str
    id: str
    parent: LaneEntry | None = None
    steps: dict[int, Entry] = msgspec.field(default_factory=dict)
    children: list[LaneEntry] = msgspec.field(default_factory=list)
    holder: Lane | None = None
    """The live lane that was given this record."""
    binding: bool = False
    _alike: dict[Call, list[LaneEntry]] = msgspec.field(default_factory=dict)
    _missing: dict[LaneEntry, None] = msgspec.field(default_factory=dict)

    @property
    def first(self) -> Entry | None:
        return self.steps.get(0)

    def fits(self, calls: Iterable[Call]) -> bool:
        """Whether the recorded lane begins with these calls."""
        return all(n in self.steps and same(self.steps[n].call, call) for n, call in enumerate(calls))

    def alike(self, call: Call) -> list[LaneEntry]:
        """The recorded lanes opened from here that begin with this call."""
        fingerprint = call[2]
        shapes = {str(fingerprint): None, left_of(fingerprint): None, NO_KEY: None}
        if isinstance(fingerprint, Fingerprint):
            shapes |= {shape_of(fingerprint): None, fingerprint.plain: None}
        found = [lane for shape in shapes for lane in self._alike.get((*call[:2], shape), [])]
        return [lane for lane in dict.fromkeys(found) if lane.first is not None and same(lane.first.call, call)]

    def missing(self) -> list[LaneEntry]:
        """The recorded lanes opened from here that the code cannot leave out and has not come with."""
        return list(self._missing)

    def hold(self, child: LaneEntry, holder: Lane | None) -> None:
        """Gives a lane that was opened from here to a live one, or takes it back."""
        child.holder = holder
        if holder is not None:
            self._missing.pop(child, None)
        elif child.binding:
            self._missing[child] = None

    def adopt(self, child: LaneEntry) -> None:
        """A lane that was opened from here, recorded or new."""
        child.parent = self
        self.children.append(child)
        if child.first is not None:
            call = child.first.call
            for name in names_of(call[2]):
                self._alike.setdefault((*call[:2], name), []).append(child)
        if child.binding:
            self._missing[child] = None


def parent_lane(lane: str) -> str | None:
    """The lane that `lane` was opened from; None for a run's first."""
    head, dot, _ = lane.rpartition(".")
    return head if dot else None


class Journal:
    """The recorded steps of one run and of its child runs."""

    forgiving = False
    """Whether code may leave recorded steps out: a replay that goes on compares afterwards."""

    def __init__(self, state: State, run: str, *, replayed: bool = False) -> None:
        """`run` is a run's key; its children's keys begin with it and a slash. A replay tries nothing again."""
        self.state = state
        self.run = run
        self.lanes: dict[tuple[str, str], LaneEntry] = {}
        self.entries = sorted([*self._steps(), *self._children()], key=lambda entry: entry.begun)
        for number, entry in enumerate(self.entries):
            entry.number = number
            self.lane(entry.run, entry.lane).steps[entry.ordinal] = entry
        if not replayed:
            self._observe()
        self._nest()
        self.turns = _turns(self.lanes.values())

    def lane(self, run: str, lane: str) -> LaneEntry:
        if (run, lane) not in self.lanes:
            self.lanes[run, lane] = LaneEntry(run, lane)
        return self.lanes[run, lane]

    def index(self, entry: Entry | None) -> int:
        """The number of a step in the run, from 0; of one that is not recorded, the number of those that are."""
        return entry.number if entry is not None else len(self.entries)

    def left(self) -> list[Entry]:
        """What was recorded and has not been asked for."""
        if self.forgiving:
            return []
        return [entry for entry in self.entries if entry.binding and not entry.asked]

    def _steps(self) -> list[Entry]:
        return [
            Entry(
                step.run,
                step.lane,
                step.ordinal,
                (step.kind, step.name, step.fingerprint),
                step.last.start,
                step.attempts[0].start.index,
                step=step,
                inherited=step.last.start.index < self.state.inherited,
            )
            for step in self.state.steps_of(self.run)
        ]

    def _children(self) -> list[Entry]:
        found: list[Entry] = []
        for run in self.state.runs_below(self.run):
            place = StepKey.parse(run.key) if run.parent is not None else None
            if place is not None:
                call = ("agent", run.agent, run.fingerprint)
                found.append(Entry(*place.identity, call, run.start, run.start.index, child=run))
        return found

    def _nest(self) -> None:
        """Puts each lane under the one it was opened from, in the order in which they began."""
        inmost_first = sorted(self.lanes.values(), key=lambda lane: (len(lane.run), len(lane.id)), reverse=True)
        for lane in inmost_first:
            lane.binding = lane.binding or any(entry.binding for entry in lane.steps.values())
            above = self.lanes.get(_above(lane.run, lane.id) or ("", ""))
            if lane.binding and above is not None:
                above.binding = True
        for lane in sorted(self.lanes.values(), key=lambda lane: lane.first.begun if lane.first else 0):
            parent = parent_lane(lane.id)
            if parent is not None:
                self.lane(lane.run, parent).adopt(lane)

    def _observe(self) -> None:
        """An error was observed if a step began after it: in its lane, an enclosing one, or a lane opened later.
        Or if the child run that it came in has ended well: what it returned tells what it made of the error.

        What a person resolved has not been seen by anybody: it is handed to the code until the run failed with it.
        An error about a result that cannot be recorded stands: the effect has happened, and is not repeated.
        """
        ended = {run.key for run in self.state.runs_below(self.run) if run.status in ("finished", "cancelled")}
        for entry in self.entries:
            outcome = entry.outcome
            if outcome is None or "error" not in outcome.value:
                continue
            entry.observed = (
                bool(outcome.value.get("happened"))
                or (bool(outcome.value.get("resolved")) and not self._failed_after(outcome.index))
                or any(run in ended for run in _runs_around(entry))
                or any(_observes(other, entry, self._opened(other)) for other in self.entries)
            )

    def _failed_after(self, index: int) -> bool:
        errors = self.state.of_type("error", start=index)
        return any(event.index > index and event.value.get("run") == self.run for event in errors)

    def _opened(self, entry: Entry) -> int:
        first = self.lanes[entry.run, entry.lane].first
        return first.begun if first is not None else entry.begun


def _observes(other: Entry, entry: Entry, opened: int) -> bool:
    outcome = entry.outcome
    if outcome is None or other is entry or other.begun < outcome.index:
        return False
    return (other.run, other.lane) == (entry.run, entry.lane) or opened > outcome.index or _encloses(other, entry)


def _encloses(outer: Entry, inner: Entry) -> bool:
    """Whether `outer`'s lane is one that `inner`'s lane was opened from, child runs included."""
    above = _above(inner.run, inner.lane)
    while above is not None and above != (outer.run, outer.lane):
        above = _above(*above)
    return above is not None


def _runs_around(entry: Entry) -> Iterator[str]:
    above: tuple[str, str] | None = (entry.run, entry.lane)
    while above is not None:
        yield above[0]
        above = _above(*above)


def _above(run: str, lane: str) -> tuple[str, str] | None:
    """The lane that a lane was opened from; for a child run's first, the one that called it."""
    parent = parent_lane(lane)
    if parent is not None:
        return run, parent
    place = StepKey.parse(run)
    return (place.run, place.lane) if place is not None else None


def _turns(lanes: Iterable[LaneEntry]) -> list[Turn]:
    """The order of the log: where steps began, and where served outcomes are handed on.

    A stream may be finished after a later step of its lane began; it is then handed on before that.
    """
    placed: list[tuple[float, int, Turn]] = []
    for lane in lanes:
        following: float | None = None
        for ordinal in sorted(lane.steps, reverse=True):
            entry = lane.steps[ordinal]
            if entry.served and entry.outcome is not None:
                at = float(entry.outcome.index)
                if following is not None and following < at:
                    at = following - 0.5
                placed.append((at, ordinal, entry.turn))
            placed.append((entry.begun, ordinal, entry.start))
            following = entry.begun
    placed.sort(key=lambda turn: turn[:2])
    return [turn for _, _, turn in placed]


def describe(call: Call, data: Any) -> dict[str, Any]:
    """A call as reports show it."""
    return {"kind": call[0], "name": call[1], "input": data}
