"""What `at=` means: a number of events, an Event (kept), or a Position, as an index into one session's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstream.sessions.events import Event
from agentstream.sessions.positions import Position

if TYPE_CHECKING:
    from agentstream.sessions.log import Log
    from agentstream.sessions.state import State

At = int | Event | Position


def index_in(history: Log | State, at: At | None) -> int:
    """The index that `at` means in a session; its end where None.

    Raises ValueError if the cut is not in the session: beyond its end, of another incarnation,
    or of the source of a fork beyond what they share.
    """
    size = len(history.events)
    if at is None:
        return size
    position = at.position if isinstance(at, Event) else at if isinstance(at, Position) else None
    index = position.index if position is not None else checked_number(history.session, at)
    if position is not None and position.incarnation != history.incarnation:
        _check_shared(history, position)
    if not 0 <= index <= size:
        raise ValueError(f"session {history.session!r} has {size} events; it cannot be cut at {index}")
    return index


def checked_number(session: str, at: object) -> int:
    if isinstance(at, bool) or not isinstance(at, int):
        raise TypeError(f"at= is a number of events, an Event or a Position, not {at!r}")
    if at < 0:
        raise ValueError(f"session {session!r} cannot be cut at {at}: at= counts the events that are kept, from 0")
    return at


def _check_shared(history: Log | State, position: Position) -> None:
    """Refuses another incarnation's position, unless this session shares its history that far."""
    shared = len(history.events)
    for index, birth in reversed(history.births):
        shared = min(shared, index)
        if birth.lineage is not None and birth.lineage.incarnation == position.incarnation and position.index <= shared:
            return
    raise ValueError(
        f"position {position} is not in the history of session {history.session!r}: it is of incarnation "
        f"{position.incarnation or '?'} of {position.session!r}, and what they share, if anything, ends before it"
    )
