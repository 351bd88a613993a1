"""Which events count: the rules that need no server and no clock, only the log.

- A worker's event counts if its claim is the highest seen before it; a claim counts if its
  number is higher than every one before. What a superseded worker wrote later is *fenced*.
- A fork voids the claims it inherits: in it, only claims made after the lineage count.
- An event of an own type without that type's form is *malformed*.
- A second insert of one key is a *duplicate* of the first that counts.
- A rewind to n takes the session back to what it was after its first n events: what came
  since is *rewound*, other rewinds among it, so that what those took back counts again.
  Births and claims are never rewound.

Rewinds make the history a tree: the event after a rewind goes on from the event before the
place that the rewind went back to. What counts is what lies on the way from the last event
to the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from agentstream.sessions.births import Birth, birth_of
from agentstream.sessions.events import OWN_TYPES, UNCLAIMED_TYPES, Event, well_formed, with_mark
from agentstream.sessions.history import Events

FENCED, DUPLICATE, REWOUND, MALFORMED = "fenced", "duplicate", "rewound", "malformed"

_CLAIMED_TYPES = OWN_TYPES - UNCLAIMED_TYPES


class Count(msgspec.Struct):
    """Events with their marks, as they come. Where a snapshot tells the first `base` of a log, those after them."""

    events: list[Event] = msgspec.field(default_factory=list)
    base: int = 0
    births: list[tuple[int, Birth]] = msgspec.field(default_factory=list)
    """Where each incarnation in this history began, the present one's last."""
    claims: list[Event] = msgspec.field(default_factory=list)
    """The claims that were won, in order."""
    highest: int = 0
    """The highest claim number seen: the next claim takes the one after it."""
    held: bool = False
    """Whether a claim is in force: a fork voids those it inherits."""
    replaced: frozenset[str] = frozenset()
    _keys: set[tuple[str, str]] = msgspec.field(default_factory=set)
    """The keys on the way to the root."""
    _jumps: dict[int, int] = msgspec.field(default_factory=dict)
    """Rewinds that count, or counted: for each the index of the event that it goes on from."""

    def copy(self) -> Count:
        return replace(
            self,
            events=list(self.events),
            births=list(self.births),
            claims=list(self.claims),
            _keys=set(self._keys),
            _jumps=dict(self._jumps),
        )

    def take(self, names: Iterable[tuple[str, str]]) -> None:
        """Types and keys that events before `base` have taken."""
        self._keys.update(names)

    def add(self, event: Event) -> None:
        """Takes the next event, unmarked."""
        mark = self._mark(event)
        self.events.append(event if mark is None else with_mark(event, mark))
        if mark is None and event.type == "rewind":
            self._rewind(event.index, rewound_to(event))

    def _mark(self, event: Event) -> str | None:
        kind = event.type
        if kind == "claim":
            return self._claim(event)
        if kind == "session":
            birth = birth_of(event)
            if birth is not None:
                self._born(event, birth)
                return None
        if event.claim is not None:
            if event.claim != self.highest or not self.held:
                return FENCED
        elif kind in _CLAIMED_TYPES and event.key not in self.replaced:
            return FENCED
        if kind in OWN_TYPES and not well_formed(event):
            return MALFORMED
        if event.operation == "insert" and event.key:
            name = (kind, event.key)
            if name in self._keys:
                return DUPLICATE
            self._keys.add(name)
        return None

    def _claim(self, event: Event) -> str | None:
        number = event.claim
        if number is None or not well_formed(event):
            return MALFORMED
        if number <= self.highest:
            return FENCED
        self.highest, self.held = number, True
        self.claims.append(event)
        return None

    def _born(self, event: Event, birth: Birth) -> None:
        self.births.append((event.index, birth))
        if birth.lineage is not None:
            self.held = False
            self.highest = max(self.highest, birth.lineage.claim)
            self.replaced = frozenset(birth.lineage.replaced)
        elif birth.compacted is not None:
            self.replaced = frozenset(birth.compacted.replaced)

    def _rewind(self, index: int, to: int) -> None:
        """Goes from the event before the rewind at `index` to the one before `to`: up one branch, down the other."""
        leaving, entering = index - 1, min(to, index) - 1
        self._jumps[index] = entering
        entered: list[int] = []
        while leaving != entering:
            if leaving > entering:
                self._leave(leaving)
                leaving = self._jumps.get(leaving, leaving - 1)
            else:
                entered.append(entering)
                entering = self._jumps.get(entering, entering - 1)
        for place in entered:
            self._enter(place)

    def _leave(self, place: int) -> None:
        event = self.events[place - self.base]
        if event.mark is None and not self._stays(event):
            self.events[place - self.base] = with_mark(event, REWOUND)
            if event.operation == "insert":
                self._keys.discard((event.type, event.key))

    def _enter(self, place: int) -> None:
        event = self.events[place - self.base]
        if event.mark == REWOUND:
            self.events[place - self.base] = with_mark(event, None)
            if event.operation == "insert" and event.key:
                self._keys.add((event.type, event.key))

    def _stays(self, event: Event) -> bool:
        return event.type == "claim" or (event.type == "session" and birth_of(event) is not None)


def rewound_to(event: Event) -> int:
    """The index that a rewind goes back to."""
    to = event.value.get("to") if isinstance(event.value, dict) else None
    return to if type(to) is int and to >= 0 else event.index


def prefix_of(events: Sequence[Event], at: int) -> Sequence[Event]:
    """As `prefix`, of a log's events: what stands for the first of them stays where the cut leaves it as it is."""
    if at >= len(events):
        return events
    if not isinstance(events, Events):
        return prefix(list(events), at)
    cut = at - events.head.size
    if cut < 0 or any(event.type == "rewind" and event.mark in (None, REWOUND) for event in events.tail[cut:]):
        return prefix(list(events), at)
    return Events(events.head, events.tail[:cut])


def counted(events: Iterable[Event]) -> Count:
    """Events from a session's start, with the marks that they themselves give each other."""
    count = Count()
    for event in events:
        count.add(with_mark(event, None))
    return count


def prefix(events: list[Event], at: int) -> list[Event]:
    """The first `at` of marked events, marked as they were when there were no more: later rewinds are left out."""
    rewinds = any(event.type == "rewind" and event.mark in (None, REWOUND) for event in events[at:])
    return counted(events[:at]).events if rewinds else events[:at]
