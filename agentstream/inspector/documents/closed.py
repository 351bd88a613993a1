"""Events that cannot be opened here (another key's, or erased): what stands of them in clear is shown all the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from agentstream.errors import AgentStreamError, Erased, Locked, StoreError
from agentstream.sessions.encryption.refusals import LOCKED, SEALED, check_open
from agentstream.sessions.events import Event
from agentstream.sessions.state import State

STATUS = "locked"
"""How the row of such an event stands."""

_MARKS = tuple(f'"{mark}"'.encode() for mark in (SEALED, LOCKED))

Refusals = dict[int, AgentStreamError]
"""Why events cannot be opened, by their index."""


def may_be_closed(state: State) -> bool:
    """Whether there can be such events: one of the lives of the session was encrypted."""
    return any(birth.encrypted is not None for _, birth in state.births)


def veiled(events: Iterable[Event], refused: Refusals) -> list[Event]:
    """The events, those that cannot be opened with what they say left out; why is put into `refused`."""
    found: list[Event] = []
    for event in events:
        error = refusal_of(event)
        if error is not None:
            refused[event.index] = error
            event = replace(event, _value=_in_clear(event))
        found.append(event)
    return found


def refusal_of(event: Event) -> AgentStreamError | None:
    """Why an event cannot be opened; None of one that can."""
    if not any(mark in event.raw for mark in _MARKS):
        return None
    try:
        value = event.value
        if event.type == "session" and isinstance(value, dict):
            check_open(value, f"session {event.session!r}: event {event.index} (session {event.key})")
    except (Locked, StoreError) as error:
        return error
    return None


def _in_clear(event: Event) -> dict[str, Any]:
    told = event.value if event.type == "session" else {}
    return {name: part for name, part in told.items() if name not in (SEALED, LOCKED)}


def closed_document(refused: Refusals) -> dict[str, Any] | None:
    """What is said above the rows: how many events are closed, why the last of them is, and what to do."""
    if not refused:
        return None
    error = refused[max(refused)]
    return {"events": len(refused), **refusal_document(error)}


def refusal_document(error: AgentStreamError) -> dict[str, Any]:
    """Why an event is closed, and what to do."""
    code = "erased" if isinstance(error, Erased) else "locked" if isinstance(error, Locked) else "changed"
    asks = isinstance(error, Locked) and error.reason in ("no key", "wrong")
    return {"code": code, "message": str(error), "command": "AGENTSTREAM_KEY=… agentstream ui" if asks else None}
