"""Events as they are read and written: State Protocol changes, one JSON message each.

The stored form is `{type, key, value, headers: {operation, timestamp}}` and nothing more,
so that any State Protocol client reads a session. What an event's value holds is told by
the models in `agentstream.sessions.models`; here only the envelope matters, and a message
that is no event at all (somebody may append anything) is still kept and shown.

Of a message that is read only the envelope is decoded; its value is, when it is first asked
for. A long session is opened to look at its end, and most of its values are never looked at.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import force_setattr, replace

from agentstream.errors import AgentStreamError
from agentstream.sessions import codec
from agentstream.sessions.attachments import attachments_from
from agentstream.sessions.encryption.refusals import check_open
from agentstream.sessions.keys import StepKey, run_key, run_name
from agentstream.sessions.positions import Position
from agentstream.sessions.references import MARK

if TYPE_CHECKING:
    from agentstream.sessions.blobs import Blobs

__all__ = ["OWN_TYPES", "SCHEMA", "UNCLAIMED_TYPES", "Event", "StepKey", "read_event", "run_key", "run_name"]

SCHEMA = 1

OWN_TYPES = frozenset(
    (
        *("session", "run", "status", "claim", "step", "outcome", "rewind", "message", "delta"),
        *("tool_call", "question", "answer", "item", "state", "error", "checkpoint", "write", "custom"),
    )
)
"""Types whose value has a shape of ours; any other type is a user's and its value is wrapped as `{"data": …}`."""

UNCLAIMED_TYPES = frozenset(("session", "message", "answer", "custom"))
"""Own types that anyone may append, without a claim."""

HIGHEST_CLAIM = 2**53 - 1
"""A claim number is a producer's epoch, and those end here (PROTOCOL.md §5.2.1)."""


class Origin(msgspec.Struct):
    """Which incarnation of which session a run of events was read from; learned when its birth is met."""

    session: str
    incarnation: str = ""
    blobs: Blobs | None = None
    """Where its large values are read from, if whoever read the log said so."""


class Page(msgspec.Struct, frozen=True):
    """Where a run of events was read: what their positions are told from. An empty `start`: no offset is known."""

    origin: Origin
    start: str = ""
    end: str = ""
    size: int = 0


class Event(msgspec.Struct, frozen=True, eq=False, repr_omit_defaults=True):
    """One event of a session. Compares equal to another reading of the same event.

    `index` counts from 0 at the session's start and never changes; `position` is the cut
    after it. `mark` says why the event does not count: "fenced" (written by a superseded
    worker), "duplicate" (its key was there before), "rewound", or "malformed" (it has a type
    of ours, but not its form); None means it counts.
    """

    index: int
    type: str
    key: str
    operation: str = ""
    timestamp: str | None = None
    claim: int | None = None
    mark: str | None = None
    _raw: bytes = b""
    _page: Page | None = None
    _place: int = 0
    _value: Any = msgspec.UNSET

    @property
    def value(self) -> Any:
        """What it says. Values of own types are in the recorded form (the codec's, long lists by reference);
        `session.state()` gives them decoded. Values of other types and of `custom` are what was appended."""
        if self._value is msgspec.UNSET:
            force_setattr(self, "_value", _read_value(self))
        return self._value

    @property
    def blobs(self) -> Blobs | None:
        """Where the large values that it refers to are read from."""
        return self._page.origin.blobs if self._page is not None else None

    @property
    def session(self) -> str:
        """The session that it was read from; empty where that is not known."""
        return self._page.origin.session if self._page is not None else ""

    @property
    def raw(self) -> bytes:
        """The message as it is stored."""
        return self._raw

    @property
    def position(self) -> Position:
        """The cut after this event."""
        page, index = self._page, self.index + 1
        if page is None:
            return Position("", "", index)
        session, incarnation = page.origin.session, page.origin.incarnation
        if not page.start:
            return Position(session, incarnation, index)
        if self._place + 1 == page.size:
            return Position(session, incarnation, index, page.end, 0)
        return Position(session, incarnation, index, page.start, self._place + 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self._identity() == other._identity() and (self._raw == other._raw or self.value == other.value)

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        mark = f", mark={self.mark!r}" if self.mark is not None else ""
        try:
            value = repr(self.value)
        except AgentStreamError as error:
            value = f"<{type(error).__name__}>"
        return f"Event({self.index}, {self.type!r}, {self.key!r}, {value}{mark})"

    def _identity(self) -> tuple[int, str, str, str | None, str | None]:
        return (self.index, self.type, self.key, self.timestamp, self.mark)


def with_mark(event: Event, mark: str | None) -> Event:
    return event if event.mark == mark else replace(event, mark=mark)


def placed(event: Event, page: Page) -> Event:
    """The same event as another session's, whose stream does not hold it."""
    return replace(event, _page=page, _place=0)


def handed_out(event: Event) -> Event:
    """A reading of its own, for users: what they do to its value stays with them."""
    if event._value is not msgspec.UNSET:
        return with_mark(read_event(event._raw, event.index, event._page, event._place), event.mark)
    envelope = (event.index, event.type, event.key, event.operation, event.timestamp, event.claim, event.mark)
    return Event(*envelope, event._raw, event._page, event._place)


# --- reading ---------------------------------------------------------------------------------------------------------


class _Headers(msgspec.Struct, gc=False):
    operation: str
    timestamp: str | None = None


class _Value(msgspec.Struct, gc=False):
    claim: int | None = None


class _Change(msgspec.Struct, gc=False):
    type: str
    key: str
    value: _Value
    headers: _Headers


_envelope = msgspec.json.Decoder(_Change).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


def read_event(message: bytes, index: int, page: Page | None = None, place: int = 0) -> Event:
    """The event that one stored message is; a message that is none has type "" and itself as value."""
    try:
        change = _envelope(message)
    except _UNREADABLE:
        return _read_odd(message, index, page, place)
    headers, claim = change.headers, change.value.claim
    if claim is not None and not 0 < claim <= HIGHEST_CLAIM:
        return _read_odd(message, index, page, place)
    return Event(
        index, change.type, change.key, headers.operation, headers.timestamp, claim, None, message, page, place
    )


def _read_odd(message: bytes, index: int, page: Page | None, place: int) -> Event:
    """A message that is not in our form: what it has of one is shown."""
    try:
        raw = codec.loads(message)
    except ValueError:
        raw = message.decode("utf-8", "replace")
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        return Event(index, "", "", _raw=message, _page=page, _place=place, _value=raw)
    headers = raw.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    key, operation, timestamp = raw.get("key"), headers.get("operation"), headers.get("timestamp")
    value, claim = _unclaimed(raw.get("value"))
    return Event(
        index,
        raw["type"],
        key if isinstance(key, str) else "",
        operation if isinstance(operation, str) else "",
        timestamp if isinstance(timestamp, str) else None,
        claim,
        _raw=message,
        _page=page,
        _place=place,
        _value=_unwrapped(raw["type"], value),
    )


def _read_value(event: Event) -> Any:
    message = event.raw
    try:
        raw = codec.loads(message)
    except ValueError:  # numbers or text that no reader takes, in a value that nobody has looked at until now
        return {"unreadable": message.decode("utf-8", "replace")}
    value, _ = _unclaimed(raw.get("value"))
    if MARK in message and is_wrapped(event.type):
        from agentstream.sessions.large import put_back

        with attachments_from(event.blobs):
            return _unwrapped(event.type, put_back(value, event))
    if type(value) is dict and ("$locked" in value or "$sealed" in value) and event.type != "session":
        check_open(value, f"session {event.session!r}: event {event.index} ({event.type} {event.key})")
    return _unwrapped(event.type, value)


def _unclaimed(value: Any) -> tuple[Any, int | None]:
    """A value without the claim number that its worker put in, and that number."""
    claim = value.get("claim") if isinstance(value, dict) else None
    if type(claim) is not int or not 0 < claim <= HIGHEST_CLAIM:
        return value, None
    return {name: part for name, part in value.items() if name != "claim"}, claim


def _unwrapped(kind: str, value: Any) -> Any:
    wrapped = is_wrapped(kind) and isinstance(value, dict) and value.keys() == {"data"}
    return codec.decode(value["data"]) if wrapped else value


def is_wrapped(kind: str) -> bool:
    """Whether the values of this type are a user's own, kept as `{"data": …}`."""
    return kind == "custom" or kind not in OWN_TYPES


def well_formed(event: Event) -> bool:
    """Whether an event of an own type has the form that every fold counts on: a mapping, inserted (`status` alone is
    also updated)."""
    inserted = event.operation == "insert" or (event.operation == "update" and event.type == "status")
    return inserted and (event._value is msgspec.UNSET or isinstance(event._value, dict))


# --- writing ---------------------------------------------------------------------------------------------------------


def write_event(
    kind: str,
    key: str,
    value: dict[str, Any],
    *,
    claim: int | None = None,
    operation: str = "insert",
    timed: bool = True,
) -> bytes:
    """One message to append. `value` is in the codec's encoded form already."""
    body = {"claim": claim, **value} if claim is not None else value
    headers = {"operation": operation, "timestamp": timestamp()} if timed else {"operation": operation}
    return codec.dumps({"type": kind, "key": key, "value": body, "headers": headers})


RESERVED: dict[str, frozenset[str]] = {
    "session": frozenset(
        (
            "schema",
            "session",
            "incarnation",
            "lineage",
            "parent",
            "moved",
            "compacted",
            "compacting",
            "encrypted",
            "erased",
            "keys",
            "claim",
        )
    ),
    "message": frozenset(("claim",)),
    "answer": frozenset(("claim",)),
}
"""Fields of an own type's value that the library alone writes."""


def user_value(kind: str, value: Any) -> dict[str, Any]:
    """The stored value of an event that a user appends: own types as they are, `custom` and all others wrapped.

    Raises NotSerializable for what has no JSON form, TypeError or ValueError for what an own type cannot hold.
    """
    data = codec.encode(value, where=f"value of the {kind} event").data
    if kind == "custom" or kind not in OWN_TYPES:
        return {"data": data}
    if not isinstance(data, dict):
        raise TypeError(f"the value of a {kind!r} event is a mapping, not {type(value).__name__}")
    taken = sorted(RESERVED.get(kind, frozenset(("claim",))) & data.keys())
    if taken:
        raise ValueError(f"the value of a {kind!r} event cannot have a field {taken[0]!r}: the library writes it")
    return data


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC, milliseconds."""
    second, rest = divmod(round((time.time() if seconds is None else seconds) * 1_000_000), 1_000_000)
    return f"{_second(second)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    """Many events are written in one second, and the text of it is most of the work."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()[:19]
