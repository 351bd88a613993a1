"""Reading a session: events, state, and following it live.

Logic only: each function is a generator over operations. Inside a run of the same session
the caller passes `upto`, the run's start, so that what an agent reads of its history is the
same on resume and replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from agentstream.errors import NotFound
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.sessions.counting import Marker, marked
from agentstream.sessions.events import Event
from agentstream.sessions.forking import At, index_in
from agentstream.sessions.log import Log, extend
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

Start = int | Event | object | None
PATIENCE = 20.0
"""Seconds that one wait for new events takes before it is asked again."""


def events(core: Core, session: str, start: At, stop: At, upto: int | None = None) -> Steps[list[Event]]:
    """The events between two cuts, with their marks as the whole log gives them."""
    log = yield from core.require(session)
    every, _ = marked(log.events if upto is None else log.events[:upto])
    first = index_in(log, start) if start is not None else 0
    last = index_in(log, stop) if stop is not None else len(every)
    return every[first:last]


def state(core: Core, session: str, at: At, upto: int | None = None) -> Steps[State]:
    """The fold at a cut, of all events where it is None."""
    log = yield from core.require(session)
    index = index_in(log, at) if at is not None else None
    if upto is not None:
        index = upto if index is None else min(index, upto)
    return fold(log, index)


@dataclass(slots=True)
class Follower:
    """Where a reader that follows a session stands."""

    log: Log
    marker: Marker = field(default_factory=Marker)
    seen: int = 0


def begin_following(core: Core, session: str, start: At | Literal["now"]) -> Steps[Follower]:
    """A follower at a cut: the start where None, the present end where "now"."""
    log = yield from core.require(session)
    follower = Follower(log)
    first = log.size if start == "now" else index_in(log, start) if start is not None else 0  # type: ignore[arg-type]
    for event in log.events[:first]:
        follower.marker.mark(event)
    follower.seen = first
    return follower


def follow(follower: Follower, wait: float = PATIENCE) -> Steps[list[Event] | None]:
    """The next events, waiting for them; [] if none came in time, None after the last one of a sealed session."""
    log = follower.log
    if follower.seen == log.size and not log.closed:
        try:
            yield from extend(log, wait=wait)
        except (StreamNotFound, StreamGone):
            raise NotFound(f"session {log.session!r} was deleted while it was followed") from None
    fresh = log.events[follower.seen :]
    if not fresh and log.closed:
        return None
    follower.seen = log.size
    result = [replace(event, mark=follower.marker.mark(event)) for event in fresh]
    return result
