"""A fork with something else in it (`sessions/edits.py`): what it shall be, as it is typed or edited."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agentstream.cli.failures import Missing, UsageError
from agentstream.sessions.edits import (
    Input,
    Message,
    Misfit,
    NotEditable,
    check_no_reply,
    message_at,
    other_input,
    other_message,
    other_outcome,
    recorded_result,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agentstream.sessions.state import State, Step

INPUT = "input"

_ASSIGNED = re.compile(r"(?P<step>step:\d+|.+?/\d+(?:#\d+)?)=(?P<value>.*)", re.ASCII | re.DOTALL)
_NUMBERED = re.compile(r"step:(\d{1,15})", re.ASCII)


@contextmanager
def refusing_edits() -> Iterator[None]:
    """Around the making of an edit: there an error says what is wrong with what the user typed."""
    try:
        yield
    except Misfit as error:
        raise UsageError(str(error), hint=error.hint) from error
    except NotEditable as error:
        raise Missing(str(error), hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be otherwise, of which there is one kind. `parameters`: of the agent that an input is for."""

    outcomes: tuple[str, ...] = ()
    input: str | None = None
    message: str | None = None
    edit: str | None = None
    parameters: tuple[str, ...] = ()
    untyped: bool = False

    @property
    def of_input(self) -> bool:
        return self.input is not None or self.edit == INPUT

    @property
    def of_message(self) -> bool:
        return self.message is not None or (self.edit is not None and self.edit.isdecimal() and self.edit.isascii())

    @property
    def edited_step(self) -> str | None:
        return None if self.of_input or self.of_message else self.edit

    @property
    def anything(self) -> bool:
        return bool(self.outcomes or self.input is not None or self.message is not None or self.edit is not None)


@dataclass(frozen=True, slots=True)
class Edits:
    """What is put in: outcomes by the key of their step, or another input or message."""

    outcomes: dict[str, Any]
    other: Input | Message | None = None


def edits(state: State, wanted: Wanted) -> Edits:
    """What is wanted, looked up in what was recorded and checked against it; asks the editor where it is to."""
    if wanted.edit is not None:
        return _edited(state, wanted, wanted.edit)
    if wanted.input is not None:
        from agentstream.cli.values import typed_json

        given = typed_json(wanted.input, "--set-input")
        with refusing_edits():
            return Edits({}, other_input(state, given, wanted.parameters, untyped=wanted.untyped, where="--set-input"))
    if wanted.message is not None:
        return Edits({}, _message(state, wanted.message, untyped=wanted.untyped))
    outcomes: dict[str, Any] = {}
    for named, given in map(_assignment, wanted.outcomes):
        step = step_named(state, named)
        if step.key in outcomes:
            raise UsageError("--set-outcome names the same step twice")
        where = f"--set-outcome step:{state.steps.index(step)}"
        with refusing_edits():
            outcomes[step.key] = other_outcome(step, given, untyped=wanted.untyped, where=where)
    return Edits(outcomes)


# --- as it is typed --------------------------------------------------------------------------------------------------


def _assignment(text: str) -> tuple[str, Any]:
    """`STEP=JSON` or `STEP=@file`: the step as it is named, and the value."""
    found = _ASSIGNED.fullmatch(text)
    if found is None:
        raise UsageError(f"--set-outcome {text!r} is not STEP=JSON", hint="for example --set-outcome step:3=42")
    from agentstream.cli.values import typed_json

    return found["step"], typed_json(found["value"], f"--set-outcome {found['step']}")


def step_named(state: State, named: str) -> Step:
    """The step that `step:N` or a key names."""
    from agentstream.cli.failures import refusing_arguments
    from agentstream.cli.positions import step_at
    from agentstream.sessions.naming import find_step

    numbered = _NUMBERED.fullmatch(named)
    if numbered is not None:
        return step_at(int(numbered[1]), state)
    with refusing_arguments():
        return find_step(state, named)


def _message(state: State, text: str, *, untyped: bool) -> Message:
    from agentstream.cli.values import typed_json

    number, equals, value = text.partition("=")
    if not (equals and number.isdecimal() and number.isascii()):
        raise UsageError(
            f"--set-message {text!r} is not N=JSON, N being the message's event",
            hint="for example --set-message '4=\"another question\"'",
        )
    where = f"--set-message {number}"
    given = typed_json(value, where)
    with refusing_edits():
        return other_message(state, int(number), given, untyped=untyped, where=where)


# --- as it is edited -------------------------------------------------------------------------------------------------


def _edited(state: State, wanted: Wanted, what: str) -> Edits:
    if what == INPUT:
        return Edits({}, _edited_input(state, wanted))
    if wanted.of_message:
        return Edits({}, _edited_message(state, int(what), untyped=wanted.untyped))
    step = step_named(state, what)
    return Edits({step.key: _edited_outcome(state, step, what, untyped=wanted.untyped)})


def _edited_outcome(state: State, step: Step, what: str, *, untyped: bool) -> Any:
    option = f"--set-outcome {shlex.quote(what)}="
    if step.status != "finished":
        hint = f"{option}JSON gives it one" if step.outcome is not None else None
        raise UsageError(f"{what} has no result that could be edited: it is {step.status}", hint=hint)
    where = f"--edit {what}"
    recorded = recorded_result(step)
    with refusing_edits():
        check_no_reply(recorded, None, where)
    with _opened(state, recorded, where, option) as given:
        return other_outcome(step, given, untyped=untyped, where=where)


def _edited_message(state: State, index: int, *, untyped: bool) -> Message:
    from agentstream.sessions.large import put_back
    from agentstream.sessions.views.values import resolved_value

    where = f"--edit {index}"
    with refusing_edits():
        event = message_at(state, index)
    recorded = put_back(resolved_value(event, state.items), event)
    text = _only_text(recorded)
    if text is not None:
        recorded = text  # edited as it is
    with _opened(state, recorded, where, f"--set-message {index}=") as given:
        return other_message(state, index, given, untyped=untyped, where=where)


def _only_text(message: Any) -> str | None:
    """What a message says that is one text."""
    match message:
        case {"parts": [{"type": "text", "text": str(text), **rest}]} if not rest:
            return text
        case _:
            return None


def _edited_input(state: State, wanted: Wanted) -> Input:
    run = state.run
    if run is None:
        raise Missing(f"session {state.session!r} has no run whose input could be another one")
    recorded = run.encoded_arguments
    with _opened(state, recorded, "--edit input", "--set-input ") as given:
        parameters = {*wanted.parameters, *recorded}
        if not isinstance(given, dict) or not given.keys() <= parameters:
            raise Misfit(f"--edit input is an object with the agent's arguments: {', '.join(wanted.parameters)}")
        changed = {name: value for name, value in given.items() if name not in recorded or recorded[name] != value}
        other = other_input(state, changed, parameters, untyped=wanted.untyped, where="--edit input")
        left = {name: value for name, value in other.arguments.items() if name in given}
        return replace(other, arguments=left, form={name: other.form[name] for name in left})


@contextmanager
def _opened(state: State, recorded: Any, where: str, option: str) -> Iterator[Any]:
    """What the editor made of a recorded value: a text as it is, of everything else the JSON."""
    from agentstream.cli.editor import edited
    from agentstream.cli.values import to_json
    from agentstream.sessions.views.text import clean

    is_text = isinstance(recorded, str)
    text = recorded if is_text else to_json(recorded, indent=2)
    suffix = ".txt" if is_text else ".json"
    with edited(text, suffix, otherwise=f"{option}JSON says it here") as (given, file):
        try:
            yield given if is_text else _parsed(given, where)
        except Misfit as error:
            raise UsageError(str(error), hint=_again(state, option, file, error.hint)) from error
        except UsageError as error:
            raise UsageError(clean(str(error)), hint=_again(state, option, file, error.hint)) from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from error


def _again(state: State, option: str, file: Path, hint: str | None) -> str:
    """Where what was written is kept, and how to go on from there."""
    go_on = f"agentstream fork {shlex.quote(state.session)} {option}@{shlex.quote(str(file))}"
    return f"what you wrote is kept: {go_on}" + (f" ({hint})" if hint else "")
