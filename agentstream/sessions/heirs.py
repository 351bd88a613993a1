"""Heirs: the stitched forks of a session, which read their first events from its stream.

A server keeps a deleted stream while forks of it live, but only of those that it made itself.
So whoever makes a stitched fork writes it into `~heirs/<path of the source>` first, and a
session that has one is not deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from agentstream.errors import AgentStreamError
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Append, Create, Producer, Read
from agentstream.sessions.births import declared_birth
from agentstream.sessions.events import read_event, write_event
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.log import locate
from agentstream.sessions.patience import asked, patiently

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps


def heirs_path(source: str) -> str:
    """The stream that names the stitched forks of the session kept at the path `source`."""
    return f"~heirs/{quote(source, safe='')}"


def note_heir(source: str, session: str, incarnation: str) -> Steps[None]:
    """Writes that `session` is about to read its first events from `source`."""
    path, message = heirs_path(source), write_event("session", incarnation, {"session": session})
    try:
        created, _ = yield from patiently(Create(path, (message,)))
        if not created.new:  # a repeated one may have been ours: then it is named twice
            yield from patiently(Append(path, (message,), producer=Producer(fresh_id(), 0, 0)))
    except (StreamNotFound, StreamGone):
        yield from note_heir(source, session, incarnation)  # deleted in between, with the source: that is found next


def hand_on(source: str, to: str) -> Steps[None]:
    """What `source` held is at `to` now, and the forks that read from it read it there."""
    for heir, incarnation in (yield from _noted(source)):
        yield from note_heir(to, heir, incarnation)


def refuse_with_heirs(source: str, session: str) -> Steps[None]:
    """Raises AgentStreamError where a stitched fork of the session lives."""
    alive: list[str] = []
    for heir, incarnation in (yield from _noted(source)):
        found = yield from locate(heir)
        birth = declared_birth(read_event(found[1].messages[0], 0)) if found and found[1].messages else None
        if birth is not None and birth.incarnation == incarnation and heir not in alive:
            alive.append(heir)
    if alive:
        raise AgentStreamError(
            f"session {session!r} has forks that read their first events from it: {', '.join(sorted(alive))}. "
            "Delete those first; forks made with copy=True need nothing of it"
        )


def _noted(source: str) -> Steps[list[tuple[str, str]]]:
    path, found = heirs_path(source), list[tuple[str, str]]()
    try:
        page = yield from asked(Read(path))
        while True:
            for message in page.messages:
                event = read_event(message, 0)
                heir = event.value.get("session") if isinstance(event.value, dict) else None
                if isinstance(heir, str):
                    found.append((heir, event.key))
            if page.up_to_date or page.closed:
                return found
            page = yield from asked(Read(path, page.offset))
    except (StreamNotFound, StreamGone):
        return found
