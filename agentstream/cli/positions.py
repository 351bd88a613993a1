"""How a place in a session is written: `SESSION@POS`.

| POS | the cut |
|---|---|
| `N` | after the first N events, as `at=N`: N events are kept |
| `~N` | N events before the end |
| `start`, `end` | before the first event, after the last |
| `step:N` | just before step N begins, counted from 0 as `show` prints them |
| `N:…` | the exact form that `str(position)` writes |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agentstream.cli.failures import Missing, UsageError

if TYPE_CHECKING:
    from agentstream.sessions.positions import Position
    from agentstream.sessions.state import State, Step

GRAMMAR = "N (events kept), ~N (before the end), start, end, or step:N"

_FORM = re.compile(r"(?P<kind>~|step:|)(?P<number>\d{1,15})", re.ASCII)
_EXACT = re.compile(r"\d+:[\w-]*:[^:]*\+\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A position as it was typed. `kind` `exact` holds one that the library wrote."""

    kind: Literal["at", "before_end", "start", "end", "step", "exact"]
    number: int = 0
    exact: Position | None = None

    def __str__(self) -> str:
        if self.kind == "exact":
            return str(self.exact)
        return {"at": "", "before_end": "~", "step": "step:"}.get(self.kind, self.kind) + (
            "" if self.kind in ("start", "end") else str(self.number)
        )


def read_place(text: str) -> Place | None:
    """The place that `text` writes, None if it writes none."""
    if text == "start":
        return Place("start")
    if text == "end":
        return Place("end")
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    number = int(found["number"])
    if found["kind"] == "~":
        return Place("before_end", number)
    return Place("step" if found["kind"] else "at", number)


def require_place(text: str, option: str) -> Place:
    """As `read_place`; an error that names the option where `text` is no place. Takes the exact form too."""
    exact = read_exact(text)
    place = Place("exact", exact.index, exact) if exact is not None else read_place(text)
    if place is None:
        raise UsageError(f"{option} {text!r} is no position", hint=f"a position is {GRAMMAR}")
    return place


def read_exact(text: str) -> Position | None:
    """The library's own position in `text` (`SESSION@N:…`), None if that is something else."""
    head, _, tail = text.rpartition("@")
    if not head or not _EXACT.fullmatch(tail):
        return None
    from agentstream.sessions.positions import Position

    return Position.parse(text)


def index_of(place: Place, state: State) -> int:
    """How many events are before the place. `Missing` where the session does not go that far."""
    size = state.index
    if place.kind == "start":
        return 0
    if place.kind == "end":
        return size
    if place.kind == "before_end":
        return max(size - place.number, 0)
    if place.kind == "step":
        return step_at(place.number, state).attempts[0].start.index
    if place.number > size:
        raise Missing(f"session {state.session!r} has {size} events; there is no position {place}", hint=f"{GRAMMAR}")
    return place.number


def step_at(number: int, state: State) -> Step:
    """Step N of the session."""
    steps = state.steps
    if number >= len(steps):
        known = f"its steps are step:0 to step:{len(steps) - 1}" if steps else "it has none"
        raise Missing(
            f"session {state.session!r} has no step:{number}; {known}", hint=f"agentstream show {state.session}"
        )
    return steps[number]
