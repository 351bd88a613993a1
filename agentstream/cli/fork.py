"""`agentstream fork`: a new session that shares another's events up to a cut."""

from __future__ import annotations

import json as json_module
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import Color, Colour, Json, SessionAt, Url

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.positions import Place
    from agentstream.sessions.state import State

_ASSIGNED = re.compile(r"(?P<step>step:\d+|.+?/\d+(?:#\d+)?)=(?P<value>.*)", re.ASCII | re.DOTALL)
_NUMBERED = re.compile(r"step:(\d{1,15})", re.ASCII)


def fork(
    session: SessionAt,
    new_id: Annotated[str, typer.Option("--as", metavar="ID", help="The new session's id.", show_default=False)],
    set_outcome: Annotated[
        list[str] | None,
        typer.Option(
            "--set-outcome",
            metavar="STEP=JSON|@FILE",
            help="Gives a step another outcome: step:N as show prints it, or its key. The cut is then just before it.",
        ),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Kept with the fork, as its tag `note`.")
    ] = None,
    json: Json = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Forks a session: the new one shares its events up to POS, or all of them. Nothing is copied.

    In a pipe: the new id, the source and the number of events kept, separated by tabs.
    """
    from agentstream.cli.output import Output
    from agentstream.cli.store import find_target, opened_client

    output = Output.made(json=json, jsonl=False, color=color)
    outcomes = [_assignment(text) for text in set_outcome or ()]
    with opened_client(url) as client:
        source, place = find_target(client, session)
        kept, replaced = _fork(source, new_id, place, outcomes)
        if note is not None:
            _tag(client.session(new_id), note)
    if output.form == "json":
        data = {"id": new_id, "source": source.id, "at": kept, "replaced": replaced, "note": note}
        output.document("fork", data)
    elif output.terminal:
        from agentstream.cli.text import clean

        output.line(f"{output.paint(clean(new_id), 'bold')}  fork of {clean(source.id)}@{kept}")
    else:
        output.fields([new_id, source.id, str(kept)])


def _fork(source: Session, new_id: str, place: Place | None, outcomes: list[tuple[str, Any]]) -> tuple[int, list[str]]:
    """Makes the fork; returns how many events it keeps, and the keys of the steps whose outcome it replaces."""
    from agentstream.cli.positions import index_of

    if place is not None and place.kind in ("at", "exact") and not outcomes:
        # the library cuts there without reading the session
        with refusing_arguments():
            source.fork(new_id, place.exact or place.number)
        return place.number, []
    state = source.state()
    at = index_of(place, state) if place is not None else None
    replace = {_step_key(state, named): value for named, value in outcomes}
    if len(replace) < len(outcomes):
        raise UsageError("--set-outcome names the same step twice")
    if not replace:
        at = state.index if at is None else at  # what was read, also if more came since
    with refusing_arguments():
        source.fork(new_id, at, replace=replace or None)
    return at if at is not None else _first_outcome(state, replace), list(replace)


def _step_key(state: State, named: str) -> str:
    from agentstream.cli.positions import step_at
    from agentstream.sessions.naming import find_step

    numbered = _NUMBERED.fullmatch(named)
    if numbered is not None:
        return step_at(int(numbered[1]), state).key
    with refusing_arguments():
        return find_step(state, named).key


def _first_outcome(state: State, keys: dict[str, Any]) -> int:
    """Where the library cuts for these steps: just before the earliest of their outcomes."""
    return min(step.outcome.index for step in state.steps if step.key in keys and step.outcome is not None)


def _assignment(text: str) -> tuple[str, Any]:
    """`STEP=JSON` or `STEP=@file`: the step as it is named, and the value."""
    found = _ASSIGNED.fullmatch(text)
    if found is None:
        raise UsageError(f"--set-outcome {text!r} is not STEP=JSON", hint="for example --set-outcome step:3=42")
    step, value = found["step"], found["value"]
    where = f"--set-outcome {step}"
    if value.startswith("@"):
        where = f"{where}: {value[1:]}"
        try:
            value = Path(value[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"--set-outcome {step}: the file cannot be read: {error}") from error
    try:
        return step, json_module.loads(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}", hint="a text needs its quotes: '\"like this\"'") from error


def _tag(branch: Session, note: str) -> None:
    """Keeps the note with the tags that the source's history gave it."""
    branch.append("session", {"tags": {**branch.state().tags, "note": note}})
