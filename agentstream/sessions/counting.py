"""Which events count: the rules that need no server and no clock, only the log.

- A worker's event counts if its claim is the highest seen before it; a claim counts if its
  number is higher than every one before. What a superseded worker wrote later is *fenced*.
- A fork voids the claims it inherits: in it, only claims made after the lineage count.
- A second insert of one key is a *duplicate*; the first one stands.
- A rewind to n takes the events from n up to itself out of every fold; it may itself be
  rewound. Births and claims are never rewound.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agentstream.sessions.events import OWN_TYPES, UNCLAIMED_TYPES, Event
from agentstream.sessions.log import is_birth

if TYPE_CHECKING:
    from collections.abc import Sequence

FENCED, DUPLICATE, REWOUND = "fenced", "duplicate", "rewound"


@dataclass(slots=True)
class Marker:
    """Marks events one by one, as they come; what a later rewind takes back it cannot know."""

    highest: int = 0
    """The highest claim number seen: the next claim takes the one after it."""
    current: Event | None = None
    """The claim in force, if one was made since the last fork."""
    _keys: set[tuple[str, str]] = field(default_factory=set)
    _replaced: frozenset[str] = frozenset()

    def mark(self, event: Event) -> str | None:
        """Why the event does not count ("fenced" or "duplicate"), or None."""
        kind = event.type
        if kind == "claim":
            return self._claim(event)
        if kind == "session" and is_birth(event):
            self._born(event)
            return None
        if event.claim is not None:
            if self.current is None or event.claim != self.highest:
                return FENCED
        elif kind in OWN_TYPES and kind not in UNCLAIMED_TYPES and event.key not in self._replaced:
            return FENCED
        if event.operation == "insert" and event.key:
            name = (kind, event.key)
            if name in self._keys:
                return DUPLICATE
            self._keys.add(name)
        return None

    def _claim(self, event: Event) -> str | None:
        number = event.claim
        if number is None or number <= self.highest:
            return FENCED
        self.highest, self.current = number, event
        return None

    def _born(self, event: Event) -> None:
        lineage = event.value.get("lineage")
        if isinstance(lineage, dict):
            self.current = None
            self.highest = max(self.highest, int(lineage.get("claim") or 0))
            self._replaced = frozenset(key for key in lineage.get("replaced", ()) if isinstance(key, str))


def marked(events: Sequence[Event]) -> tuple[list[Event], Marker]:
    """The events with their marks, and the claims as they stand after the last of them."""
    marker = Marker()
    result = [event if mark is None else replace(event, mark=mark) for event in events for mark in (marker.mark(event),)]
    _rewind(result)
    return result, marker


def _rewind(events: list[Event]) -> None:
    """Marks what the rewinds among `events` took back, the last one first: it may have taken back others."""
    upto = len(events)
    while upto > 0:
        found = next((n for n in range(upto - 1, -1, -1) if events[n].type == "rewind" and events[n].mark is None), None)
        if found is None:
            return
        upto = min(rewound_to(events[found]), found)
        for n in range(upto, found):
            event = events[n]
            if event.mark is None and event.type != "claim" and not (event.type == "session" and is_birth(event)):
                events[n] = replace(event, mark=REWOUND)


def rewound_to(event: Event) -> int:
    """The index that a rewind goes back to."""
    to = event.value.get("to") if isinstance(event.value, dict) else None
    return to if isinstance(to, int) and to >= 0 else event.index
