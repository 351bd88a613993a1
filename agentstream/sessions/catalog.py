"""The list of sessions: one summary each, folded from its log.

A cache and no more: what is listed is worked out from the sessions themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from agentstream.backends.base import List, Listed
from agentstream.errors import AgentStreamError
from agentstream.sessions.claims import holder_alive
from agentstream.sessions.ids import id_of, pointer_path
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.log import Log

POINTERS = pointer_path("")
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Summary:
    """One session in a list. `status` is its last run's, "abandoned" where that should run and nobody does; times are UTC."""

    id: str
    title: str | None
    status: str | None
    parent: str | None
    created: datetime
    updated: datetime
    events: int
    agent: str | None = None
    tags: tuple[tuple[str, Any], ...] = ()
    sealed: bool = False


def run_status(log: Log, state: State) -> Steps[str | None]:
    """The status of the last run: `running` only while its worker lives, else `abandoned`."""
    if state.status == "running" and not (yield from holder_alive(log, state)):
        return "abandoned"
    return state.status


def sessions(
    core: Core, *, prefix: str = "", status: str | None = None, parent: str | None = None, limit: int | None = None
) -> Steps[list[Summary]]:
    """Summaries of the sessions whose id begins with `prefix`, the last changed first."""
    if not core.backend.traits.lists:
        raise AgentStreamError(f"{core.backend.name} cannot list its sessions; ask for one by its id")
    listed = yield from _everything()
    found: list[Summary] = []
    for session, entry in sorted(_ids(listed).items(), key=lambda pair: pair[1].updated, reverse=True):
        if not session.startswith(prefix):
            continue
        log = yield from core.open(session)
        if log is None or not log.events:
            continue
        summary = yield from _summary(log, entry)
        if (status is None or summary.status == status) and (parent is None or summary.parent == parent):
            found.append(summary)
        if limit is not None and len(found) >= limit:
            break
    return found


def _everything() -> Steps[list[Listed]]:
    entries: list[Listed] = []
    while True:
        page = yield List(after=entries[-1].path if entries else "", limit=PAGE)
        entries.extend(page)
        if len(page) < PAGE:
            return entries


def _ids(listed: list[Listed]) -> dict[str, Listed]:
    """Session ids and their streams; an incarnation at a spare path is found by what points at it."""
    ids: dict[str, Listed] = {}
    for entry in listed:
        if entry.path.startswith(POINTERS):
            ids.setdefault(id_of(entry.path[len(POINTERS) :]), entry)
        elif not entry.path.startswith("~"):
            ids[id_of(entry.path)] = entry
    return ids


def _summary(log: Log, entry: Listed) -> Steps[Summary]:
    state = fold(log)
    status = yield from run_status(log, state)
    first, last = _time(log.events[0].timestamp, entry.created), _time(log.events[-1].timestamp, entry.updated)
    own = [event for event in log.events[log.inherited :] if event.timestamp]
    return Summary(
        log.session,
        state.title,
        status,
        state.lineage.source if state.lineage is not None else None,
        _time(own[0].timestamp, entry.created) if own else first,
        last,
        log.size,
        state.run.agent if state.run is not None else None,
        tuple(sorted(state.tags.items())),
        log.closed,
    )


def _time(text: str | None, seconds: float) -> datetime:
    try:
        return datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(seconds, timezone.utc)


