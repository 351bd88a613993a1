"""A fork with something else in it: another outcome, another input of a run, another message.

What is put in is JSON as the record shows it, tags (`{"$bytes": …}`) and attachments included, and is compared with
what was recorded: where that is a number, a text is a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.items import map_dict
from agentstream.sessions.large import decoded, put_back
from agentstream.sessions.secrets import TAG

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentstream.sessions.events import Event
    from agentstream.sessions.state import Run, State, Step


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


_TAGGED = {"$int": "a number", "$float": "a number", "$str": "a text", "$map": "an object"}
_NAMES = ((bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a text"), (list, "a list"))


def as_recorded(given: Any) -> Any:
    """JSON that a person gave, as the record holds it: 1.0 is a float there and no integer. What is tagged stays.
    `Misfit` where it is nested too deeply."""
    try:
        return _form(given)
    except RecursionError:
        raise Misfit("what is put in is nested too deeply to be recorded") from None


def _form(given: Any) -> Any:
    if isinstance(given, dict):
        return map_dict(given, _form)
    return [_form(each) for each in given] if isinstance(given, list) else codec.encode(given).data


def check_type(recorded: Any, given: Any, where: str) -> None:
    """`Misfit` if `given` has, where both have something, another type than what was recorded; both are forms."""
    path = _differing(recorded, given, "")
    if path is not None:
        place, then, now = path
        at = f" at {place}" if place else ""
        raise Misfit(f"{where}{at} is {now}, and what was recorded is {then}", hint="--untyped takes it all the same")


def _differing(recorded: Any, given: Any, path: str) -> tuple[str, str, str] | None:
    if recorded is None or given is None or _tag(recorded) == TAG:
        return None  # what may be nothing may be something, and nobody knows what was taken out
    then, now = _type(recorded), _type(given)
    if then != now:
        return path, then, now
    if isinstance(recorded, dict) and isinstance(given, dict):
        found = (
            _differing(recorded[name], given[name], f"{path}.{name}" if path else name)
            for name in recorded
            if name in given
        )
        return next((each for each in found if each is not None), None)
    if isinstance(recorded, list) and isinstance(given, list) and len({_type(each) for each in recorded}) == 1:
        found = (_differing(recorded[0], each, f"{path}[{n}]") for n, each in enumerate(given))
        return next((each for each in found if each is not None), None)
    return None


def _tag(value: Any) -> str | None:
    """The tag of a form that has one."""
    name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
    return name if isinstance(name, str) and name.startswith("$") else None


def _type(value: Any) -> str:
    tag = _tag(value)
    if tag is not None:
        return _TAGGED.get(tag, f'{{"{tag}": …}}')
    return next((name for kind, name in _NAMES if isinstance(value, kind)), "an object")


# --- the input of a run ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Input:
    """A run with other arguments: `at` is the cut before it began, `form` the arguments as they are recorded.

    `typed`: the agent's annotations rebuild them.
    """

    at: int
    arguments: dict[str, Any]
    form: dict[str, Any]
    typed: bool = False


def other_input(state: State, given: Any, parameters: Collection[str], *, untyped: bool, where: str) -> Input:
    """The last run's call with an object's members in place of its arguments; of one argument, any value.
    `parameters` are the names that the agent takes."""
    run = state.run
    if run is None:
        raise NotEditable(f"session {state.session!r} has no run whose input could be another one")
    recorded = run.encoded_arguments if isinstance(run.encoded_arguments, dict) else {}
    given = as_recorded(given)
    if isinstance(given, dict) and given.keys() <= set(parameters):
        changed = given
    elif len(recorded) == 1:
        changed = {next(iter(recorded)): given}
    else:
        names = ", ".join(parameters) or "none"
        raise Misfit(f"{where} is an object with some of the agent's arguments ({names})")
    for name, value in changed.items():
        if not untyped:
            check_type(recorded.get(name), value, f"{where} {name}")
    form = {**recorded, **changed}
    return Input(_before(state, run), decoded(form, run.start), form, bool(run.start.value.get("typed")))


def _before(state: State, run: Run) -> int:
    """The cut before a run: before the claim that it was begun under."""
    claims = [event for event in state.of_type("claim") if event.claim == run.start.claim]
    return claims[0].index if claims and claims[0].index < run.start.index else run.start.index


# --- a message -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """Another message in the place of the one at index `at`, where the cut is; `form`: as it is recorded."""

    at: int
    key: str
    value: dict[str, Any]
    form: dict[str, Any]

    @property
    def text(self) -> str:
        """What it says, for an agent that takes a message's text."""
        parts = self.value.get("parts")
        texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        return "".join(text for text in texts if isinstance(text, str))


def other_message(state: State, index: int, given: Any, *, untyped: bool, where: str) -> Message:
    """The message at `index` with another text (where `given` is one), or with an object's members put in."""
    event = message_at(state, index)
    whole = put_back(event.value, event)
    recorded = whole if isinstance(whole, dict) else {}
    given = as_recorded(given)
    if isinstance(given, str):
        form = {**recorded, "parts": [{"type": "text", "text": given}]}
    elif isinstance(given, dict):
        form = {**recorded, **given}
        if not untyped:
            check_type(recorded, form, where)
    else:
        raise Misfit(f"{where} is a text or an object, as a message is")
    return Message(index, event.key, decoded(form, event), form)


def message_at(state: State, index: int) -> Event:
    """The user's message at an index. NotEditable where there is none; Misfit where a step said it."""
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


def other_outcome(step: Step, given: Any, *, untyped: bool, where: str) -> Any:
    """The value that a step is given in place of its result. `where` names what was given."""
    given = as_recorded(given)
    if not untyped and step.status == "finished":
        recorded = recorded_result(step)
        check_no_reply(recorded, given, where)
        check_type(recorded, given, where)
    return decoded(given, step.outcome)


def check_no_reply(recorded: Any, given: Any, where: str) -> None:
    """`Misfit` if a provider's reply, kept in bytes as it came, was recorded, and `given` is none: it would be served
    to the provider's client, which could not read it."""
    blocks = [name for name, part in recorded.items() if _is_bytes(part)] if isinstance(recorded, dict) else []
    if blocks and "status" in recorded and not (isinstance(given, dict) and given.keys() >= set(blocks)):
        raise Misfit(
            f"{where} is a provider's reply, which is kept in bytes as it came",
            hint="give what a tool returned, a message or the input another value; or run on from there, with "
            "agentstream replay --live-from",
        )


def _is_bytes(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == {"$bytes"}


def recorded_result(step: Step) -> Any:
    """What came of a step, in the form in which it is recorded, whole; None where that is no result."""
    return put_back(step.stored_result, step.outcome)


def first_outcome(state: State, keys: Collection[str]) -> int:
    """Where a fork that gives these steps other outcomes is cut: just before the earliest that they have."""
    return min(step.outcome.index for step in state.steps if step.key in keys and step.outcome is not None)
