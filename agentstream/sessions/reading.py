"""Reading a session: events, state, and following it live. Each function is a generator over operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from agentstream.errors import NotFound
from agentstream.protocol.errors import InvalidRequest, StreamGone, StreamNotFound
from agentstream.sessions.claims import holder_alive
from agentstream.sessions.cuts import At, index_in
from agentstream.sessions.events import Event, handed_out
from agentstream.sessions.history import reading
from agentstream.sessions.log import Log, extend, missing
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

PATIENCE = 20.0
"""Seconds that one wait for new events takes before it is asked again."""


def shared(core: Core, session: str) -> Steps[Log]:
    """The session's log, only to be looked at; NotFound if there is no such session."""
    log = yield from core.refresh(session)
    if log is None:
        raise missing(session)
    return log


def events(core: Core, session: str, start: At | None, stop: At | None) -> Steps[list[Event]]:
    """The events between two cuts, with their marks as the whole log gives them."""
    log = yield from shared(core, session)
    first = index_in(log, start) if start is not None else 0
    yield from reading(log.events, first)
    return [handed_out(event) for event in log.events[first : index_in(log, stop)]]


def state(core: Core, session: str, at: At | None) -> Steps[State]:
    """The fold at a cut; where None, of the session as it is, and then it says whether its worker lives."""
    log = yield from shared(core, session)
    if at is not None:
        return fold(log, index_in(log, at))
    plain = fold(log)
    if plain.status is None or (yield from holder_alive(log, plain)):
        return plain
    return State(plain.session, plain.incarnation, plain.events, alive=False)


class Follower(msgspec.Struct):
    """Where a reader that follows a session stands."""

    core: Core
    log: Log
    seen: int = 0


def begin_following(core: Core, session: str, start: At | Literal["now"] | None) -> Steps[Follower]:
    """A follower at a cut: the start where None, the present end where "now"."""
    if isinstance(start, str) and start != "now":
        raise ValueError(f'start= is a number of events, an Event, a Position, "now" or None, not {start!r}')
    log = yield from core.require(session)
    seen = 0 if start is None else log.size if isinstance(start, str) else index_in(log, start)
    yield from reading(log.events, seen)
    return Follower(core, log, seen)


def follow(follower: Follower, wait: float = PATIENCE) -> Steps[list[Event] | None]:
    """The next events, waiting for them; [] if none came in time, None after the last one of a sealed session.

    Raises NotFound when the session is deleted, also if another of its id came in its place.
    """
    log = follower.log
    if follower.seen == log.size and not log.closed:
        try:
            fresh = yield from extend(log, wait=wait)
            same = log.life is not None or not (fresh or log.closed)
            deleted = not same and not (yield from follower.core.still(log))
        except (StreamNotFound, StreamGone, InvalidRequest):
            deleted = True
        if deleted:
            raise NotFound(f"session {log.session!r} was deleted while it was followed")
    fresh = log.events[follower.seen :]
    if not fresh and log.closed:
        return None
    follower.seen = log.size
    return [handed_out(event) for event in fresh]
