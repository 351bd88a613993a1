"""`agentstream fork`: a new session that shares another's events up to a cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import SessionAt, answers

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.edits import Wanted
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place
    from agentstream.sessions.edits import Input, Message


@answers()
def fork(
    output: Output,
    url: str | None,
    session: SessionAt,
    new_id: Annotated[
        str | None,
        typer.Option("--as", metavar="ID", help="The new id; else it is SESSION-branch, or -branch-2, …"),
    ] = None,
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
    edit: Annotated[
        str | None,
        typer.Option(
            "--edit",
            metavar="STEP|N|input",
            help="The same in $VISUAL or $EDITOR, with what was recorded: a step's outcome, the message at event N, "
            "or the last run's input.",
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
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Makes nothing: says the id, the cut, and what is put in for what."),
    ] = False,
) -> None:
    """Forks a session: the new one shares its events up to POS, or all of them. Nothing is copied.

    In a pipe: the new id, the source and the number of events kept, separated by tabs; with --run then a line with
    what the agent returned, as JSON; with --dry-run then what would be replaced, its key, path, old and new value.
    """
    from agentstream.cli.branching import check_name, free_name, made, planned, tell
    from agentstream.cli.code import imported_thing
    from agentstream.cli.store import find_target, opened_client

    if sum(each is not None for each in (set_outcome or None, set_input, set_message, edit)) > 1:
        raise UsageError("--set-outcome, --set-input, --set-message and --edit do not go together")
    agent = imported_thing(run) if run is not None else None
    wanted = _wanted(agent, set_outcome, set_input, set_message, edit, untyped=untyped)
    with opened_client(url) as client:
        source, place = find_target(client, session)
        _check_place(session, place, wanted)
        if new_id is not None:
            check_name(source, new_id)
        plan = planned(source, place, wanted, read=dry_run)
        if dry_run:
            tell(output, source, new_id or free_name(source), plan, run, note)
            return
        name = made(source, new_id, plan)
        branch = client.session(name)
        if note is not None:
            _tag(branch, note)
        data = {"id": name, "source": source.id, "at": plan.kept, "replaced": list(plan.outcomes), "note": note}
        if output.form != "json":
            _say(output, name, source.id, plan.kept)
        if agent is not None:
            data["result"] = _went_on(output, branch, agent, plan.other)
    if output.form == "json":
        output.document("fork", data)


def _wanted(
    agent: Any,
    outcomes: list[str] | None,
    input: str | None,
    message: str | None,
    edit: str | None,
    *,
    untyped: bool,
) -> Wanted:
    from agentstream.cli.edits import Wanted

    wanted = Wanted(tuple(outcomes or ()), input, message, edit, untyped=untyped)
    if wanted.of_input and agent is None:
        option = "--edit input" if edit is not None else "--set-input"
        raise UsageError(f"{option} is for a run that begins anew: give the agent with --run MODULE:AGENT")
    if agent is not None and not callable(agent) and (wanted.of_input or wanted.of_message):
        raise UsageError(
            "another input or message is for an agent: what a graph goes on with stands in its checkpoints",
            hint="fork it, and call graph.update_state(…) or graph.invoke(…) on the fork's thread",
        )
    if not wanted.of_input:
        return wanted
    from agentstream.agents.agent import spec_of

    with refusing_arguments():
        parameters = tuple(spec_of(agent).signature.parameters)
    return Wanted((), input, None, edit, parameters, untyped)


def _check_place(session: str, place: Place | None, wanted: Wanted) -> None:
    if place is not None and (wanted.of_input or wanted.of_message):
        raise UsageError(f"{session!r} says where to cut, and so does what is put in; leave @{place} out")


def _say(output: Output, new_id: str, source: str, kept: int) -> None:
    if output.terminal:
        from agentstream.cli.text import clean

        output.line(f"{output.paint(clean(new_id), 'bold')}  fork of {clean(source)}@{kept}")
    else:
        output.fields([new_id, source, str(kept)])
    output.flush()


def _went_on(output: Output, branch: Session, agent: Any, edit: Input | Message | None) -> Any:
    """Runs the agent on in the branch: the edited call, the open run, or the edited message's text."""
    from agentstream.agents.runs import open_run
    from agentstream.cli.resume import going_on, print_result, result_data
    from agentstream.sessions.edits import Input

    if isinstance(edit, Input):
        args, kwargs = _call(agent, edit)
        result = going_on(branch, agent, "run", *args, **kwargs)
    elif edit is None or not callable(agent) or open_run(branch.state()) is not None:
        result = going_on(branch, agent, "resume")
    else:
        result = going_on(branch, agent, "run", edit.text)
    if output.form != "json":
        print_result(output, "fork", branch.id, result)
    return result_data(result)


def _call(agent: Any, edit: Input) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the agent is called with: models as its annotations describe them."""
    from agentstream.agents.agent import spec_of
    from agentstream.sessions import codec

    with refusing_arguments():
        return spec_of(agent).call(codec.encode(edit.arguments).data, edit.typed)


def _tag(branch: Session, note: str) -> None:
    """Keeps the note with the tags that the source's history gave it."""
    branch.append("session", {"tags": {**branch.state().tags, "note": note}})
