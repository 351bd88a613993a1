"""What is said again is stored once: a reference in a record to where the same stands already, in an earlier event.

What a model answers stands in its `message`, and again in the list of the next request; a system prompt and a schema
stand in every request. So a long text that an event of the session holds, or a part of a step's input that an earlier
input or outcome holds, is written as `{"$same": [claim, type, key, pointer]}`: the event of that type and key that was
written under that claim (0: under none), and in its value the place, as a JSON pointer (RFC 6901). What stands there is
the thing itself, never another reference, and earlier in the log: any cut of it, and any fork, holds both. In a part of
an outcome (what a model answered, which the next request holds) long texts may be references to the texts themselves:
one step further, and there it ends.

The codec escapes dicts of the user's whose keys begin with `$`, so a `$same` object in a record is always ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions.history import Events

if TYPE_CHECKING:
    from agentstream.sessions.events import Event

SHORTEST = 96
"""Characters of JSON below which a reference would hardly be shorter."""

SOURCES = frozenset(("run", "step", "outcome", "item", "message", "tool_call"))
"""Types of events that are referred to: their values are read as they were written."""

WITH_TEXTS = "outcome"
"""The type of events in whose parts that are referred to texts may be references."""

SAME = "$same"
ITEMS = "$items"

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)

EventId = tuple[int, str, str]
"""An event by claim (0 where it has none), type and key; of equal ones the first is meant."""

Place = tuple[EventId, str]
"""An event, and a JSON pointer into its value."""

Find = Callable[[EventId], Any]
"""The value of an event, as it is stored; None where the session has none such."""


class Sources:
    """The events of a session that may be referred to. They are read whatever became of the events around them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._first: dict[EventId, Event] | None = None

    def __call__(self, source: EventId) -> Any:
        event = self.first(source)
        return event.value if event is not None else None

    def first(self, source: EventId) -> Event | None:
        """The event that is meant. They are looked through when the first is asked for."""
        events = self._events
        if isinstance(events, Events):
            claim, kind, key = source
            for event in events.head.all_named(kind, key):
                if (event.claim or 0) == claim and kind in SOURCES and event.mark != "malformed":
                    return event
            events = events.tail
        if self._first is None:
            self._first = {}
            for event in events:
                if event.type in SOURCES and event.mark != "malformed":
                    self._first.setdefault((event.claim or 0, event.type, event.key), event)
        return self._first.get(source)


def reference(place: Place) -> dict[str, Any]:
    """What is written for what stands at `place`."""
    (claim, kind, key), pointer = place
    return {SAME: [str(claim), kind, key, pointer]}  # texts all: a server may write a number in another way


def referred(data: dict[str, Any]) -> Place | None:
    """Where that stands which `data` is written for; None where it is no reference."""
    parts = data.get(SAME) if len(data) == 1 else None
    if type(parts) is not list or len(parts) != 4 or not all(type(part) is str for part in parts):
        return None
    claim, kind, key, pointer = parts
    return ((int(claim), kind, key), pointer) if _NUMBER.fullmatch(claim) else None


def standing_at(place: Place, find: Find) -> Any:
    """What stands at a place. Raises NotFound where the session has nothing there."""
    source, pointer = place
    found = find(source)
    for name in pointer.split("/")[1:]:
        if type(found) is dict:
            found = found.get(_unescaped(name))
        elif type(found) is list and _NUMBER.fullmatch(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            found = None
    if type(found) not in (str, dict, list):
        claim, kind, key = source
        raise NotFound(
            f"what stood at {pointer[:80]!r} in {kind} {key[:80]!r} (claim {claim}) is not in this session: "
            "its record is incomplete"
        )
    return found


def long_texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The texts in a stored value that are worth a reference, each with its pointer."""
    for name, part in _parts(value):
        if type(part) is str:
            if len(part) >= SHORTEST:
                yield f"{path}/{_escaped(name)}", part
        elif type(part) in (dict, list):
            yield from long_texts(part, f"{path}/{_escaped(name)}")


def plain_parts(value: Any, path: str) -> list[tuple[str, Any]]:
    """The dicts and lists in a stored value that hold no reference, each with its pointer; `value` too."""
    return parts_with_texts(value, value, path)


def parts_with_texts(stored: Any, whole: Any, path: str) -> list[tuple[str, Any]]:
    """The same of a value that is stored with references: its parts that hold none but to texts, as they are whole."""
    found: list[tuple[str, Any]] = []
    _add_parts(stored, whole, path, found)
    return found


def _add_parts(stored: Any, whole: Any, path: str, found: list[tuple[str, Any]]) -> bool:
    if type(stored) is dict and len(stored) == 1 and not stored.keys().isdisjoint((SAME, ITEMS)):
        return type(whole) is str
    plain = True
    for name, part in _parts(stored):
        if type(part) in (dict, list):
            plain = _add_parts(part, whole[name], f"{path}/{_escaped(name)}", found) and plain
    if plain:
        found.append((path, whole))
    return plain


def _parts(value: Any) -> Iterable[tuple[str | int, Any]]:
    if type(value) is dict:
        return value.items()
    return enumerate(value) if type(value) is list else ()


def _escaped(name: str | int) -> str:
    return name.replace("~", "~0").replace("/", "~1") if isinstance(name, str) else str(name)


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~") if "~" in name else name
