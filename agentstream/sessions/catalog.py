"""What a list of sessions says of each."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.errors import Locked, StoreError
from agentstream.sessions.claims import holder_alive
from agentstream.sessions.prices import Used
from agentstream.sessions.steps import text

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.log import Log
    from agentstream.sessions.state import State


class Summary(msgspec.Struct, frozen=True):
    """One session in a list; times are UTC.

    `status` is its last run's: "abandoned" where that should run and nobody does, "unreadable"
    for a session whose stream is there but cannot be read (then `title` says why), "erased" for
    one whose key was forgotten. Of an encrypted session whose key is not here, title, agent,
    tags, `used` (what its model calls used, by model) and `failures` (steps and runs that
    failed, each attempt counted) are not known.
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
    used: tuple[Used, ...] = ()
    failures: int = 0


def run_status(log: Log, state: State) -> Steps[str | None]:
    """The status of the last run: `running` only while its worker lives, else `abandoned`."""
    status = status_of(state)
    if status == "running" and not (yield from holder_alive(log, state)):
        return "abandoned"
    return status


def status_of(state: State) -> str | None:
    """The status of the last run, which also stands in clear: known without the key of an encrypted session."""
    try:
        return state.status
    except (Locked, StoreError):
        runs = [event for event in state.of_type("run") if "/" not in event.key]  # a child run's key is a step's
        status = state.find("status", runs[-1].key) if runs else None
        return text(status, "status", "running") if status is not None else "running" if runs else None
