"""Steps as people name them, and outcomes that people give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.events import Event, StepKey
from agentstream.sessions.steps import Step

if TYPE_CHECKING:
    from agentstream.sessions.redaction import Rules
    from agentstream.sessions.state import State


def find_step(state: State, named: Any) -> Step:
    """The step that a key (with or without `#attempt`), an Event of it, or a Step names; NotFound or ValueError."""
    if isinstance(named, Event):
        if named.type not in ("step", "outcome"):
            raise ValueError(
                f"event {named.index} of session {state.session!r} is a {named.type!r}, not a step or its outcome"
            )
        named = named.key
    if isinstance(named, Step):
        named = named.key
    key = StepKey.parse(named) if isinstance(named, str) else None
    if key is None:
        raise ValueError(f"{named!r} names no step: give its key (<run>/<lane>/<ordinal>), its step or outcome Event")
    found = next((step for step in state.steps if (step.run, step.lane, step.ordinal) == key.identity), None)
    if found is None:
        raise NotFound(f"session {state.session!r} has no step {named!r}; session.state().steps lists them")
    if key.attempt and key.attempt != found.attempt:
        raise ValueError(f"step {named!r} of session {state.session!r} is not the last attempt; that is {found.key!r}")
    return found


def outcome_value(value: Any, step: str, rules: Rules, *, typed: bool = False) -> dict[str, Any]:
    """The stored outcome for a value that somebody gives a step; an exception is an error outcome.

    `typed`: it takes the place of what the function's annotation rebuilds, and is rebuilt too.
    """
    if isinstance(value, Exception):
        kind = type(value)
        text = codec.encode(str(value)).data
        said = rules.form({"text": text}, "error")
        return {"error": {"name": kind.__qualname__, **said, "module": kind.__module__}}
    encoded = rules.encode(value, where=f"outcome of step {step}", at="result")
    return {"result": encoded.data, **({"typed": True} if encoded.typed or typed else {})}
