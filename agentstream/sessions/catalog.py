"""What a list of sessions says of each."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.sessions.claims import holder_alive

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.log import Log
    from agentstream.sessions.state import State


class Summary(msgspec.Struct, frozen=True):
    """One session in a list; times are UTC.

    `status` is its last run's: "abandoned" where that should run and nobody does, "unreadable"
    for a session whose stream is there but cannot be read (then `title` says why).
    """

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
