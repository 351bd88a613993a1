"""Putting a new incarnation where it can live: at its id's own path, or at a spare one that is then pointed at.

An id's path cannot be used again while forks of what was there live. Whoever makes a session
reads back whose it became: of two that make the same one at once, exactly one did.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agentstream.backends.base import Enlist
from agentstream.errors import StoreError
from agentstream.protocol.errors import StreamConflict, StreamGone, StreamNotFound
from agentstream.protocol.operations import Append, Create, Delete, ForkPoint, Producer, Read
from agentstream.sessions.births import declared_birth
from agentstream.sessions.events import read_event, write_event
from agentstream.sessions.ids import fresh_id, path_of, pointer_path, spare_path
from agentstream.sessions.log import locate, pointed_at
from agentstream.sessions.patience import asked, patiently

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

POINTINGS = 20
"""How often in a row a pointer may be set to what is gone again before that is taken for trouble."""


def place(
    session: str, incarnation: str, body: tuple[bytes, ...], *, fork: ForkPoint | None = None, elsewhere: bool = False
) -> Steps[bool]:
    """Makes an incarnation of a session that is not there; False if somebody else was faster.

    `elsewhere`: not at the id's own path. Raises ProtocolError for a fork that the server refuses.
    """
    yield Enlist(path_of(session))
    if not elsewhere:
        try:
            return (yield from make(path_of(session), incarnation, body, fork))
        except (StreamConflict, StreamGone):
            if (yield from locate(session)) is not None:
                return False
    path = spare_path(incarnation)
    yield from make(path, incarnation, body, fork)
    return (yield from point_at(session, path))


def make(path: str, incarnation: str, body: tuple[bytes, ...], fork: ForkPoint | None = None) -> Steps[bool]:
    """Creates the stream of an incarnation; False if there is another one in it."""
    created, repeated = yield from patiently(Create(path, body, fork=fork))
    return (created.new and not repeated) or (yield from birth_place(path, incarnation)) is not None


def birth_place(path: str, incarnation: str) -> Steps[int | None]:
    """How many messages stand before an incarnation's birth in a stream; None if it is not there."""
    seen, page = 0, (yield from asked(Read(path)))
    while True:
        for message in page.messages:
            birth = declared_birth(read_event(message, 0))
            if birth is not None and birth.incarnation == incarnation:
                return seen
            seen += 1
        if page.up_to_date or page.closed:
            return None
        page = yield from asked(Read(path, page.offset))


def point_at(session: str, path: str) -> Steps[bool]:
    """Makes `path` the one that holds the session's present incarnation; False if somebody else was faster."""
    pointer = pointer_path(session)
    yield Enlist(pointer)
    for _ in range(POINTINGS):
        found = yield from locate(session)
        if found is not None:
            if found[0] != path:
                yield from discard(path)
            return found[0] == path
        present = yield from pointed_at(session)
        event = write_event("session", fresh_id(), {"path": path, **({"replaces": present} if present else {})})
        created, _ = yield from patiently(Create(pointer, (event,)))
        if not created.new:
            yield from patiently(Append(pointer, (event,), producer=Producer(fresh_id(), 0, 0)))
    raise StoreError(f"session {session!r} cannot be made: its pointer is set again and again by others. Try again")


def discard(path: str) -> Steps[None]:
    """Deletes a stream that should not be there; one that is gone already is all right."""
    with suppress(StreamNotFound, StreamGone):
        yield from patiently(Delete(path))
