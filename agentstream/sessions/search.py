"""Finding sessions: by id, title, tag, status, agent, time, lineage, and by what was said in them.

Everything but text is answered from the entries that are kept of each session. Text is a
linear scan over the messages of the sessions that the other conditions leave.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, get_args

from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Read
from agentstream.sessions import codec, moments
from agentstream.sessions.events import read_event
from agentstream.sessions.patience import asked
from agentstream.sessions.summaries import Entry, Place, at_seconds, entry_of, places

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.catalog import Summary
    from agentstream.sessions.core import Core

Sort = Literal["updated", "created", "events", "id", "title", "status", "agent"]
Moment = datetime | timedelta

_LARGEST_FIRST = frozenset(("updated", "created", "events"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which sessions are asked for, and in what order. None: whatever it is."""

    prefix: str = ""
    status: str | Collection[str] | None = None
    agent: str | None = None
    tag: str | Mapping[str, Any] | None = None
    title: str | None = None
    text: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    parent: str | None = None
    limit: int | None = None
    sort: Sort = "updated"
    reverse: bool = False
    now: datetime = field(default_factory=lambda: moments.now())

    def __post_init__(self) -> None:
        if self.sort not in get_args(Sort):
            raise ValueError(f"sessions cannot be sorted by {self.sort!r}; sort is one of {', '.join(get_args(Sort))}")
        if self.limit is not None:
            if isinstance(self.limit, bool) or not isinstance(self.limit, int):
                raise TypeError(f"a limit is a number of sessions, not {self.limit!r}")
            if self.limit < 0:
                raise ValueError(f"a limit is a number of sessions, not {self.limit}")
        self._check("text", str, "prefix", "agent", "title", "text", "parent")
        self._check("a datetime, or a timedelta back from now", (datetime, timedelta), "since", "until")
        self._check("a name, name=value, or a mapping of names to values", (str, Mapping), "tag")
        self._check("a status or several", (str, Collection), "status")

    def _check(self, what: str, kinds: type | tuple[type, ...], *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not isinstance(value, kinds):
                raise TypeError(f"{name}= is {what}, not {value!r}")


def sessions(core: Core, query: Query) -> Steps[list[Summary]]:
    """Summaries of the sessions that `query` asks for.

    Raises AgentStreamError for a backend that cannot list what it keeps.
    """
    found: list[Summary] = []
    enough = _Enough(query)
    for place in (yield from places(core, query.prefix)):
        if enough.before(place):
            break
        entry = yield from entry_of(core, place)
        if entry is None or not matches(entry.summary, query):
            continue
        if query.text is not None and not (yield from mentions(place, query.text)):
            continue
        found.append(entry.summary)
        enough.add(entry)
    found.sort(key=lambda summary: summary.id)
    downwards = (query.sort in _LARGEST_FIRST) != query.reverse
    found.sort(key=lambda summary: _sort_key(summary, query.sort), reverse=downwards)
    return found[: query.limit]


class _Enough:
    """Tells when no further place can be among the last changed: a store took an event when it was written or later."""

    def __init__(self, query: Query) -> None:
        self._limit = query.limit if query.sort == "updated" and not query.reverse else None
        self._since = _moment(query.since, query.now)
        self._newest: list[datetime] = []

    def add(self, entry: Entry) -> None:
        if self._limit:
            heapq.heappush(self._newest, entry.summary.updated)
            if len(self._newest) > self._limit:
                heapq.heappop(self._newest)

    def before(self, place: Place) -> bool:
        stored = at_seconds(place.listed.updated) + timedelta(seconds=1)
        if self._since is not None and stored < self._since:
            return True
        if self._limit is None:
            return False
        return len(self._newest) >= self._limit and (not self._limit or stored < self._newest[0])


def matches(summary: Summary, query: Query) -> bool:
    """Whether a session is asked for, as far as its summary tells."""
    since, until = _moment(query.since, query.now), _moment(query.until, query.now)
    return (
        summary.id.startswith(query.prefix)
        and (query.status is None or summary.status in _words(query.status))
        and (query.agent is None or summary.agent == query.agent)
        and (query.parent is None or summary.parent == query.parent)
        and (query.title is None or query.title.casefold() in (summary.title or "").casefold())
        and (since is None or summary.updated >= since)
        and (until is None or summary.updated < until)
        and (query.tag is None or _tagged(dict(summary.tags), query.tag))
    )


def mentions(place: Place, text: str) -> Steps[bool]:
    """Whether a message of the session holds `text`, in any case of letters."""
    wanted = text.casefold()
    try:
        batch = yield from asked(Read(place.listed.path))
        while True:
            for message in batch.messages:
                if b'"message"' in message and _says(message, wanted):
                    return True
            if batch.up_to_date or batch.closed:
                return False
            batch = yield from asked(Read(place.listed.path, batch.offset))
    except (StreamNotFound, StreamGone):
        return False


def _says(message: bytes, wanted: str) -> bool:
    event = read_event(message, 0)
    return event.type == "message" and any(wanted in text.casefold() for text in _texts(codec.decode(event.value)))


def _texts(value: Any) -> list[str]:
    """Every text in a value, its keys left out."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
    return found


def _words(status: str | Collection[str]) -> Collection[str]:
    return (status,) if isinstance(status, str) else status


def _tagged(tags: dict[str, Any], wanted: str | Mapping[str, Any]) -> bool:
    """`"name"`: has the tag; `"name=text"`: has it with that value as text; a mapping: has all of these."""
    if not isinstance(wanted, str):
        return all(name in tags and tags[name] == value for name, value in wanted.items())
    if wanted in tags:
        return True
    name, equals, value = wanted.partition("=")
    return bool(equals) and name in tags and str(tags[name]) == value


def _moment(moment: Moment | None, now: datetime) -> datetime | None:
    """A point in time: a timedelta counts back from now, a time without a zone is local."""
    if isinstance(moment, timedelta):
        return now - moment
    return moment.astimezone(timezone.utc) if moment is not None else None


def _sort_key(summary: Summary, sort: Sort) -> Any:
    value = getattr(summary, sort)
    return ("" if value is None else str(value).casefold()) if sort not in _LARGEST_FIRST else value
