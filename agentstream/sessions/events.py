"""Events as they are read and written: State Protocol changes, one JSON message each.

The stored form is `{type, key, value, headers: {operation, timestamp}}` and nothing more,
so that any State Protocol client reads a session. What an event's value holds is told by
the models in `agentstream.sessions.models`; here only the envelope matters, and a message
that is no event at all (somebody may append anything) is still kept and shown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, unquote

from agentstream.sessions import codec
from agentstream.sessions.positions import Position

SCHEMA = 1

OWN_TYPES = frozenset(
    "session run status claim step outcome rewind message delta tool_call question answer "
    "item state error checkpoint write custom".split()
)
"""Types whose value has a shape of ours; any other type is a user's and its value is wrapped as `{"data": …}`."""

UNCLAIMED_TYPES = frozenset("session message answer custom".split())
"""Own types that anyone may append, without a claim."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a run of events was read: what their positions are told from."""

    session: str
    incarnation: str
    start: str
    end: str
    skip: int
    size: int


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a session.

    `index` counts from 0 at the session's start and never changes; `position` is the cut
    after it. `mark` says why the event does not count: "fenced" (written by a superseded
    worker), "duplicate" (its key was there before) or "rewound"; None means it counts.
    """

    index: int
    type: str
    key: str
    value: Any
    operation: str = "insert"
    timestamp: str | None = None
    claim: int | None = None
    mark: str | None = None
    _page: Page | None = field(default=None, repr=False, compare=False)
    _place: int = field(default=0, repr=False, compare=False)
    _raw: bytes = field(default=b"", repr=False, compare=False)

    @property
    def raw(self) -> bytes:
        """The message as it is stored."""
        return self._raw

    @property
    def position(self) -> Position:
        """The cut after this event."""
        page = self._page
        if page is None:
            return Position("", "", self.index + 1)
        if not page.start:
            return Position(page.session, page.incarnation, self.index + 1)
        if self._place + 1 == page.size:
            return Position(page.session, page.incarnation, self.index + 1, page.end, 0)
        return Position(page.session, page.incarnation, self.index + 1, page.start, page.skip + self._place + 1)


def read_event(message: bytes, index: int, page: Page | None = None, place: int = 0) -> Event:
    """The event that one stored message is; a message that is none has type "" and itself as value."""
    try:
        raw = codec.loads(message)
    except ValueError:
        raw = message.decode("utf-8", "replace")
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        return Event(index, "", "", raw, "", _page=page, _place=place, _raw=message)
    headers = raw.get("headers")
    if not isinstance(headers, dict):
        headers = {}
    value, claim = raw.get("value"), None
    if isinstance(value, dict) and isinstance(value.get("claim"), int):
        value = dict(value)
        claim = value.pop("claim")
    kind = raw["type"]
    if kind not in OWN_TYPES and isinstance(value, dict) and value.keys() == {"data"}:
        value = codec.decode(value["data"])
    key = raw.get("key")
    return Event(
        index,
        kind,
        key if isinstance(key, str) else "",
        value,
        str(headers.get("operation", "")),
        headers.get("timestamp"),
        claim,
        None,
        page,
        place,
        message,
    )


def write_event(kind: str, key: str, value: dict[str, Any], *, claim: int | None = None, operation: str = "insert") -> bytes:
    """One message to append. `value` is in the codec's encoded form already."""
    body = {"claim": claim, **value} if claim is not None else value
    return codec.dumps(
        {"type": kind, "key": key, "value": body, "headers": {"operation": operation, "timestamp": timestamp()}}
    )


def user_value(kind: str, value: Any) -> dict[str, Any]:
    """The stored value of an event that a user appends: own types as they are, others wrapped."""
    data = codec.encode(value, where=f"value of the {kind} event").data
    if kind not in OWN_TYPES:
        return {"data": data}
    if not isinstance(data, dict):
        raise TypeError(f"the value of a {kind!r} event is a mapping, not {type(value).__name__}")
    return data


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC, milliseconds."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- step keys -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepKey:
    """A step's identity and one of its attempts: `<run>/<lane>/<ordinal>#<attempt>`.

    A child run has a key of the same form, which is then the `<run>` of its own steps.
    """

    run: str
    lane: str
    ordinal: int
    attempt: int

    @property
    def identity(self) -> tuple[str, str, int]:
        return (self.run, self.lane, self.ordinal)

    def __str__(self) -> str:
        return f"{self.run}/{self.lane}/{self.ordinal}#{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> StepKey | None:
        """The key that `str()` wrote, None where `text` is none. Without `#attempt` the attempt is 0."""
        parts = text.rsplit("/", 2)
        if len(parts) != 3:
            return None
        ordinal, _, attempt = parts[2].partition("#")
        if not (ordinal.isdecimal() and (attempt.isdecimal() or not attempt)):
            return None
        return cls(parts[0], parts[1], int(ordinal), int(attempt or 0))


def run_key(run_id: str) -> str:
    """A run id given by a user, as it stands in keys (`/` and `#` separate there)."""
    return quote(run_id, safe=" :.@+,=()[]{}!$&'*;")


def run_name(key: str) -> str:
    """The user's run id again."""
    return unquote(key)
