"""Long texts stored once: a text in a record is where it stands already, in an earlier event.

What a model answers stands in its `message`, and again in the list of the next request; a system prompt stands in
every request. So a text that is long enough, and that an event of the session holds, is written as
`{"$text": [claim, type, key, pointer]}`: the event of that type and key that was written under that claim (0: under
none), and in its value the place, as a JSON pointer (RFC 6901). What is referred to is always the text itself, never
another reference, and always earlier in the log: any cut of it, and any fork, holds both.

The codec escapes dicts of the user's whose keys begin with `$`, so a `$text` object in a record is always ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound

if TYPE_CHECKING:
    from agentstream.sessions.events import Event

SHORTEST = 96
"""Characters of a text below which a reference would hardly be shorter."""

SOURCES = frozenset(("run", "step", "outcome", "item", "message", "tool_call"))
"""Types of events whose texts are referred to: their values are kept as they are written."""

TEXT = "$text"
ITEMS = "$items"

EventId = tuple[int, str, str]
"""An event by claim (0 where it has none), type and key; of equal ones the first is meant."""

Find = Callable[[EventId], Any]
"""The value of an event, as it is stored; None where the session has none such."""


class Sources:
    """The events of a session that may be referred to. They are read whatever became of the events around them."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events
        self._first: dict[EventId, Event] | None = None

    def __call__(self, source: EventId) -> Any:
        event = self.first(source)
        return event.value if event is not None else None

    def first(self, source: EventId) -> Event | None:
        """The event that is meant. They are looked through when the first is asked for."""
        if self._first is None:
            self._first = {}
            for event in self._events:
                if event.type in SOURCES and event.mark != "malformed":
                    self._first.setdefault((event.claim or 0, event.type, event.key), event)
        return self._first.get(source)


def long_texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a stored value that are worth a reference, each with its JSON pointer; none from inside references."""
    if type(value) is dict:
        for key, part in value.items():
            if key in (TEXT, ITEMS):
                continue
            if type(part) is str:
                if len(part) >= SHORTEST:
                    yield f"{path}/{_escaped(key)}", part
            elif type(part) in (dict, list):
                yield from long_texts(part, f"{path}/{_escaped(key)}")
    elif type(value) is list:
        for number, part in enumerate(value):
            if type(part) is str:
                if len(part) >= SHORTEST:
                    yield f"{path}/{number}", part
            elif type(part) in (dict, list):
                yield from long_texts(part, f"{path}/{number}")


def reference(source: EventId, pointer: str) -> dict[str, Any]:
    """What is written in the place of a text."""
    return {TEXT: [*source, pointer]}


def referred(data: dict[str, Any]) -> tuple[EventId, str] | None:
    """Where the text is that `data` stands for; None where it is no reference."""
    parts = data.get(TEXT) if len(data) == 1 else None
    if type(parts) is not list or [type(part) for part in parts] != [int, str, str, str]:
        return None
    claim, kind, key, pointer = parts
    return (claim, kind, key), pointer


def text_at(find: Find, source: EventId, pointer: str) -> str:
    """The text at a place. Raises NotFound where the session has none there."""
    found = find(source)
    for name in pointer.split("/")[1:]:
        if type(found) is dict:
            found = found.get(_unescaped(name))
        elif type(found) is list and name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(found):
            found = found[int(name)]
        else:
            found = None
    if type(found) is not str:
        claim, kind, key = source
        raise NotFound(
            f"the text at {pointer[:80]!r} of {kind} {key[:80]!r} (claim {claim}) is not in this session: "
            "its record is incomplete"
        )
    return found


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def _unescaped(name: str) -> str:
    return name.replace("~1", "/").replace("~0", "~") if "~" in name else name
