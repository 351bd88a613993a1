"""A session without what is to leave nowhere: the rules of redaction, on what was recorded before they were.

The record stays as it is. What is read from it here is a copy whose events say the same with what the
rules find taken out, as they would have been written; every document that is made of it is without that too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from agentstream.sessions import codec
from agentstream.sessions.state import State

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.events import Event
    from agentstream.sessions.redaction import Rules


def redacted(core: Core, state: State, rules: Rules, *, alive: bool = True) -> Steps[State]:
    """The session as far as the rules let it be seen. Raises BlobLost; NotSerializable for what nobody looks into."""
    from agentstream.sessions.outgoing import changed

    changes = yield from changed(core, state.events, rules)
    events = [_without(event, change.message) for event, change in zip(state.events, changes, strict=True)]
    return State(state.session, state.incarnation, events, alive=alive)


def _without(event: Event, message: object) -> Event:
    raw = codec.dumps(message)
    return event if raw == event.raw else replace(event, _raw=raw, _value=msgspec.UNSET if event.type else message)
