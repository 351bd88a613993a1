"""`agentstream fork`: a new session that shares another's events up to a cut."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import SessionAt, answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream import Session
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place
    from agentstream.sessions.edits import Input, Message
    from agentstream.sessions.state import State

_ASSIGNED = re.compile(r"(?P<step>step:\d+|.+?/\d+(?:#\d+)?)=(?P<value>.*)", re.ASCII | re.DOTALL)
_NUMBERED = re.compile(r"step:(\d{1,15})", re.ASCII)


@answers()
def fork(
    output: Output,
    url: str | None,
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
    set_input: Annotated[
        str | None,
        typer.Option(
            "--set-input",
            metavar="JSON|@FILE",
            help="Runs the last run's agent (--run) with other arguments. The cut is just before that run.",
        ),
    ] = None,
    set_message: Annotated[
        str | None,
        typer.Option(
            "--set-message",
            metavar="N=JSON|@FILE",
            help="Another message in the place of the user's at event N: its text, or an object. The cut is there.",
        ),
    ] = None,
    untyped: Annotated[
        bool, typer.Option("--untyped", help="What is put in may have another type than what was recorded.")
    ] = False,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="MODULE:AGENT", help="Then goes on with this agent or graph; prints its result."),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Kept with the fork, as its tag `note`.")
    ] = None,
) -> None:
    """Forks a session: the new one shares its events up to POS, or all of them. Nothing is copied.

    In a pipe: the new id, the source and the number of events kept, separated by tabs; with --run then a line with
    what the agent returned, as JSON.
    """
    from agentstream.cli.code import imported_thing
    from agentstream.cli.store import find_target, opened_client
    from agentstream.sessions.edits import Message

    if sum(each is not None for each in (set_outcome or None, set_input, set_message)) > 1:
        raise UsageError("--set-outcome, --set-input and --set-message do not go together")
    if set_input is not None and run is None:
        raise UsageError("--set-input is for a run that begins anew: give the agent with --run MODULE:AGENT")
    outcomes = [_assignment(text) for text in set_outcome or ()]
    agent = imported_thing(run) if run is not None else None
    if agent is not None and not callable(agent) and (set_input is not None or set_message is not None):
        raise UsageError(
            "--set-input and --set-message are for an agent: what a graph goes on with stands in its checkpoints",
            hint="fork it, and call graph.update_state(…) or graph.invoke(…) on the fork's thread",
        )
    with opened_client(url) as client:
        source, place = find_target(client, session)
        if place is not None and (set_input is not None or set_message is not None):
            raise UsageError(f"{session!r} says where to cut, and so does what is put in; leave @{place} out")
        edit = _edit(source, agent, set_input, set_message, untyped=untyped)
        if edit is not None:
            with refusing_arguments():
                source.fork(new_id, edit.at)
            kept, replaced = edit.at, []
        else:
            kept, replaced = _fork(source, new_id, place, outcomes, untyped=untyped)
        branch = client.session(new_id)
        if isinstance(edit, Message):
            branch.append("message", edit.value, key=edit.key)
        if note is not None:
            _tag(branch, note)
        data = {"id": new_id, "source": source.id, "at": kept, "replaced": replaced, "note": note}
        if output.form != "json":
            _say(output, new_id, source.id, kept)
        if agent is not None:
            data["result"] = _went_on(output, branch, agent, edit)
    if output.form == "json":
        output.document("fork", data)


def _say(output: Output, new_id: str, source: str, kept: int) -> None:
    if output.terminal:
        from agentstream.cli.text import clean

        output.line(f"{output.paint(clean(new_id), 'bold')}  fork of {clean(source)}@{kept}")
    else:
        output.fields([new_id, source, str(kept)])
    output.flush()


def _edit(
    source: Session, agent: Callable[..., Any] | None, set_input: str | None, set_message: str | None, *, untyped: bool
) -> Input | Message | None:
    from agentstream.cli.edits import refusing_edits
    from agentstream.cli.values import typed_json
    from agentstream.sessions.edits import other_input, other_message

    if set_input is not None:
        from agentstream.agents.agent import spec_of

        with refusing_arguments():
            parameters = list(spec_of(agent).signature.parameters)
        given = typed_json(set_input, "--set-input")
        with refusing_edits():
            return other_input(source.state(), given, parameters, untyped=untyped, where="--set-input")
    if set_message is None:
        return None
    number, equals, text = set_message.partition("=")
    if not (equals and number.isdecimal() and number.isascii()):
        raise UsageError(
            f"--set-message {set_message!r} is not N=JSON, N being the message's event",
            hint="for example --set-message '4=\"another question\"'",
        )
    where = f"--set-message {number}"
    given = typed_json(text, where)
    with refusing_edits():
        return other_message(source.state(), int(number), given, untyped=untyped, where=where)


def _went_on(output: Output, branch: Session, agent: Any, edit: Input | Message | None) -> Any:
    """Runs the agent on in the branch: the edited call, the open run, or the edited message's text."""
    from agentstream.agents.runs import open_run
    from agentstream.cli.resume import going_on, print_result, result_data
    from agentstream.sessions.edits import Input

    if isinstance(edit, Input):
        result = going_on(branch, agent, "run", **edit.arguments)
    elif edit is None or not callable(agent) or open_run(branch.state()) is not None:
        result = going_on(branch, agent, "resume")
    else:
        result = going_on(branch, agent, "run", edit.text)
    if output.form != "json":
        print_result(output, "fork", branch.id, result)
    return result_data(result)


def _fork(
    source: Session, new_id: str, place: Place | None, outcomes: list[tuple[str, Any]], *, untyped: bool
) -> tuple[int, list[str]]:
    """Makes the fork; returns how many events it keeps, and the keys of the steps whose outcome it replaces."""
    from agentstream.cli.positions import index_of
    from agentstream.sessions.edits import first_outcome

    if place is not None and place.kind in ("at", "exact") and not outcomes:
        # the library cuts there without reading the session
        with refusing_arguments():
            source.fork(new_id, place.exact or place.number)
        return place.number, []
    state = source.state()
    at = index_of(place, state) if place is not None else None
    replace = {_step_key(state, named): value for named, value in outcomes}
    if not untyped:
        _check_types(state, replace)
    if len(replace) < len(outcomes):
        raise UsageError("--set-outcome names the same step twice")
    if not replace:
        at = state.index if at is None else at  # what was read, also if more came since
    with refusing_arguments():
        source.fork(new_id, at, replace=replace or None)
    return at if at is not None else first_outcome(state, replace), list(replace)


def _check_types(state: State, replace: dict[str, Any]) -> None:
    from agentstream.cli.edits import refusing_edits
    from agentstream.sessions.edits import check_outcome

    for number, step in enumerate(state.steps):
        if step.key in replace:
            with refusing_edits():
                check_outcome(state, step.key, replace[step.key], f"--set-outcome step:{number}")


def _step_key(state: State, named: str) -> str:
    from agentstream.cli.positions import step_at
    from agentstream.sessions.naming import find_step

    numbered = _NUMBERED.fullmatch(named)
    if numbered is not None:
        return step_at(int(numbered[1]), state).key
    with refusing_arguments():
        return find_step(state, named).key


def _assignment(text: str) -> tuple[str, Any]:
    """`STEP=JSON` or `STEP=@file`: the step as it is named, and the value."""
    found = _ASSIGNED.fullmatch(text)
    if found is None:
        raise UsageError(f"--set-outcome {text!r} is not STEP=JSON", hint="for example --set-outcome step:3=42")
    from agentstream.cli.values import typed_json

    return found["step"], typed_json(found["value"], f"--set-outcome {found['step']}")


def _tag(branch: Session, note: str) -> None:
    """Keeps the note with the tags that the source's history gave it."""
    branch.append("session", {"tags": {**branch.state().tags, "note": note}})
