"""A fork with something else in it: another outcome, another input of a run, another message.

What is put in is compared with what was recorded: where that is a number, a text is a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentstream.sessions.events import Event
    from agentstream.sessions.state import Run, State


class Misfit(ValueError):
    """What was put in is not of the kind that was recorded there. `hint` says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class NotEditable(NotFound):
    """There is nothing here that could be otherwise. `hint` says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


_NAMES = ((bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a text"), (list, "a list"))


def check_type(recorded: Any, given: Any, where: str) -> None:
    """`Misfit` if `given` has, where both have something, another type of JSON than what was recorded."""
    path = _differing(recorded, given, "")
    if path is not None:
        place, then, now = path
        at = f" at {place}" if place else ""
        raise Misfit(f"{where}{at} is {now}, and what was recorded is {then}", hint="--untyped takes it all the same")


def _differing(recorded: Any, given: Any, path: str) -> tuple[str, str, str] | None:
    if recorded is None or given is None:
        return None  # what may be nothing may be something
    then, now = _type(recorded), _type(given)
    if then != now:
        return path, then, now
    if isinstance(recorded, dict):
        found = (
            _differing(recorded[name], given[name], f"{path}.{name}" if path else name)
            for name in recorded
            if name in given
        )
        return next((each for each in found if each is not None), None)
    if isinstance(recorded, list) and recorded and given and len({_type(each) for each in recorded}) == 1:
        found = (_differing(recorded[0], each, f"{path}[{n}]") for n, each in enumerate(given))
        return next((each for each in found if each is not None), None)
    return None


def _type(value: Any) -> str:
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "an object")


# --- the input of a run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Input:
    """A run with other arguments: `at` is the cut before it began."""

    at: int
    arguments: dict[str, Any]


def other_input(state: State, given: Any, parameters: Collection[str], *, untyped: bool, where: str) -> Input:
    """The last run's call with an object's members in place of its arguments; of one argument, any value.
    `parameters` are the names that the agent takes."""
    run = state.run
    if run is None:
        raise NotEditable(f"session {state.session!r} has no run whose input could be another one")
    recorded = run.arguments
    if isinstance(given, dict) and given.keys() <= set(parameters):
        changed = given
    elif len(recorded) == 1:
        changed = {next(iter(recorded)): given}
    else:
        names = ", ".join(parameters) or "none"
        raise Misfit(f"{where} is an object with some of the agent's arguments ({names})")
    stored = run.stored_arguments
    for name, value in changed.items():
        if not untyped:
            check_type(_member(stored, name), value, f"{where} {name}")
    return Input(_before(state, run), {**recorded, **changed})


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _before(state: State, run: Run) -> int:
    """The cut before a run: before the claim that it was begun under."""
    claims = [event for event in state.of_type("claim") if event.claim == run.start.claim]
    return claims[0].index if claims and claims[0].index < run.start.index else run.start.index


# --- a message -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """Another message in the place of the one at index `at`, where the cut is."""

    at: int
    key: str
    value: dict[str, Any]

    @property
    def text(self) -> str:
        """What it says, for an agent that takes a message's text."""
        parts = self.value.get("parts")
        texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        return "".join(text for text in texts if isinstance(text, str))


def other_message(state: State, index: int, given: Any, *, untyped: bool, where: str) -> Message:
    """The message at `index` with another text (where `given` is one), or with an object's members put in."""
    event = _message_at(state, index)
    recorded = event.value if isinstance(event.value, dict) else {}
    if isinstance(given, str):
        value = {**recorded, "parts": [{"type": "text", "text": given}]}
    elif isinstance(given, dict):
        value = {**recorded, **given}
        if not untyped:
            check_type(recorded, value, where)
    else:
        raise Misfit(f"{where} is a text or an object, as a message is")
    return Message(index, event.key, value)


def _message_at(state: State, index: int) -> Event:
    found = next((event for event in state.of_type("message") if event.index == index), None)
    if found is None:
        known = ", ".join(str(event.index) for event in state.of_type("message")[:20])
        raise NotEditable(
            f"event {index} of session {state.session!r} is no message"
            + (f"; its messages are events {known}" if known else ""),
            hint=f"agentstream show {state.session} --kind message",
        )
    if found.claim is not None:
        raise Misfit(
            f"the message at {index} was said by a step of a run; give that step another outcome",
            hint=f"agentstream fork {state.session} --set-outcome STEP=JSON",
        )
    return found


# --- outcomes --------------------------------------------------------------------------------------------------------


def check_outcome(state: State, key: str, given: Any, where: str) -> None:
    """`Misfit` if a step's outcome, where it finished, is of another kind. `where` names what was given."""
    step = next((step for step in state.steps if step.key == key), None)
    if step is not None and step.status == "finished":
        check_type(step.stored_result, given, where)


def first_outcome(state: State, keys: Collection[str]) -> int:
    """Where a fork that gives these steps other outcomes is cut: just before the earliest that they have."""
    return min(step.outcome.index for step in state.steps if step.key in keys and step.outcome is not None)
