"""Several events at once, by whoever has no claim: all of them are there or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.sessions.events import user_value, write_event
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.large import kept
from agentstream.sessions.writing import append_unclaimed, check_appendable, refresh_or_create

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentstream.backends.driving import Steps


def append_all(client: Any, session: str, events: Iterable[tuple[str, Any]]) -> Steps[list[str]]:
    """Appends events (type and value each) in one append, makes the session where there is none; gives their keys.

    For `adapters.drive(client, …)` or `adrive`. Raises what `session.append` raises.
    """
    core = client._core
    made: list[tuple[str, str, dict[str, Any]]] = []
    for kind, value in events:
        check_appendable(kind, None)
        made.append((kind, fresh_id(), core.rules.event(kind, user_value(kind, value))))
    log = yield from refresh_or_create(core, session)
    messages: list[bytes] = []
    for kind, key, value in made:
        messages.append(write_event(kind, key, (yield from kept(core.blobs, kind, value, log.births))))
    yield from append_unclaimed(core, session, log.path, tuple(messages))
    return [key for _, key, _ in made]
