"""`agentstream replay`: the user's code against a recorded session; offline, or from a step on in a branch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import FAILED, RAISED, REFUSED, WAITS, UsageError, refusing_arguments
from agentstream.cli.options import MaybeFunction, Prices, answers

if TYPE_CHECKING:
    from agentstream import Report, Session
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place
    from agentstream.cli.reported import Told
    from agentstream.sessions.prices import Cost
    from agentstream.sessions.state import State


_UNSAID = {"break_": (), "match": "strict", "keep_going": False, "repeat": 1}
"""Options of a replay as they are where nothing is said; the others are None."""


class Matching(str, Enum):
    """How recorded steps are found for calls."""

    strict = "strict"
    ordered = "ordered"
    identity = "identity"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place in the session, as `session.replay` takes one."""

    index: int


@answers()
def replay(
    output: Output,
    url: str | None,
    session: Annotated[
        str, typer.Argument(metavar="SESSION[@POS]|FILE.jsonl", help="Of the store, or exported.", show_default=False)
    ],
    function: MaybeFunction = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="This run, not the last.")] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="JSON|@FILE", help="Other arguments: by name, or the first.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="POS", help="Stops before the step there; as SESSION@POS does.")
    ] = None,
    break_: Annotated[
        list[str] | None,
        typer.Option("--break", metavar="KIND[:NAME][?EXPR]", help="Stops before such a step: tool:refund?args.n>1."),
    ] = None,
    stepper: Annotated[
        bool, typer.Option("--pdb", help="Asks what to do at each stop: next, previous, state, diff, fork, …")
    ] = False,
    match: Annotated[
        Matching, typer.Option("--match", help="ordered: another input is served; identity: in any order.")
    ] = Matching.strict,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Does not end at the first difference: tells all of them.")
    ] = False,
    live_from: Annotated[
        str | None,
        typer.Option("--live-from", metavar="POS", help="Runs on from there, really, in a new fork: calls are made."),
    ] = None,
    new_id: Annotated[str | None, typer.Option("--as", metavar="ID", help="That fork's id.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Sent to in place of the code's.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT|@FILE", help="A system prompt in place of the code's.")
    ] = None,
    mock: Annotated[
        list[str] | None,
        typer.Option("--mock", metavar="STEP=JSON|@FILE", help="What a step gives, by its name, and is not made."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="STEP", help="A step that acts on the world, by its name; * is all of them."),
    ] = None,
    prices: Prices = None,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Does not ask, before it runs on or runs recorded code.")
    ] = False,
    repeat: Annotated[int, typer.Option("--repeat", min=1, metavar="K", help="K times.")] = 1,
    check: Annotated[
        str | None, typer.Option("--check", metavar="MODULE:FN", help="Called with the result: whether it passes.")
    ] = None,
    report_to: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Writes the report there too, as --json prints it.")
    ] = None,
) -> None:
    """Runs an agent's code against a recorded session. Nothing is called or written, but with --live-from.

    A compiled LangGraph graph can be given too, for a thread of its StreamSaver: its nodes are steps of kind `node`.
    What it runs on in must be a thread of its too (--as langgraph/ID).

    Without MODULE:AGENT it is the function that the record names, if you agree to it. A FILE that `export` wrote is
    replayed in memory.

    Exit codes: 0 it went the recorded way (or ran on to its end, or stopped where asked); 1 it diverged, or a try did
    not pass; 7 a call was not allowed; 8 the agent raised where it ran on; 9 it waits there.
    """
    from agentstream.cli.code import imported, imported_thing
    from agentstream.cli.entry import recorded_code
    from agentstream.cli.exported_file import opened_target
    from agentstream.cli.reported import Told
    from agentstream.cli.store import open_session

    if stepper and (live_from is not None or repeat > 1 or output.form == "json"):
        raise UsageError("--pdb does not go together with --live-from, --repeat and --json")
    agent = imported_thing(function) if function is not None else None
    with opened_target(url, session) as (found, place, file):
        if place is not None and until is not None:
            raise UsageError(f"{session!r} and --until do not go together")
        if file is not None and live_from is not None:
            raise UsageError(
                f"what runs on is a fork in the store, and {file} is none", hint=f"agentstream import {file}"
            )
        state = open_session(found).state
        if function is None:
            function, agent = recorded_code(state, run, "replay", yes=yes, quiet=output.form == "json", file=file)
        options: dict[str, Any] = {
            "run": run,
            "input": _json(input, "--input"),
            "until": _cut(until, place, state),
            "break_": break_ or (),
            "match": match.value,
            "keep_going": keep_going,
            "repeat": repeat,
            "check": imported(check, "function") if check is not None else None,
        }
        if live_from is not None or any(each for each in (new_id, model, system, mock, allow)):
            options |= {
                "live_from": _place(live_from, "--live-from", state) if live_from is not None else None,
                "into": new_id,
                "model": model,
                "system": _text(system),
                "mock": dict(_assigned(each) for each in mock or ()),
                "allow": allow or (),
                "prices": prices,
                "confirm": _confirm(yes=yes),
            }
            if live_from is None:
                raise UsageError("--as, --model, --system, --mock and --allow are for what is run on: give --live-from")
        if stepper:
            from agentstream.cli.stepper import Stepper

            debugging = Stepper(output, found, function, list(break_ or ()), options["until"], file=file)
            report = debugging.run(lambda more: _replayed(found, agent, options | more))
        else:
            report = _replayed(found, agent, options)
    told = Told(found.id, function, state, report, file)
    if report_to is not None:
        _write_report(report_to, told)
    _print(output, told)
    code = _exit_code(report, check is not None)
    if code:
        raise typer.Exit(code)


def _replayed(session: Session, agent: Any, options: dict[str, Any]) -> Report:
    import asyncio

    from agentstream.agents.agent import spec_of
    from agentstream.errors import NotSerializable

    try:
        if not callable(agent):  # what an engine keeps: a graph, whose nodes may be async
            said = {name: value for name, value in options.items() if value != _UNSAID.get(name)}
            return asyncio.run(session.to_async().replay(agent, **said))
        with refusing_arguments():
            spec = spec_of(agent)
        if not spec.is_async:
            return session.replay(agent, **options)
        return asyncio.run(session.to_async().replay(agent, **options))
    except NotSerializable:
        raise
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(str(error)) from error


def _exit_code(report: Report, checked: bool) -> int:
    if report.passed is not None:
        return FAILED if report.passed < len(report.tries) else 0
    if report.refused is not None:
        return REFUSED
    if report.divergence is not None:
        return FAILED
    if report.fork is None:
        return 0 if report.identical else FAILED
    return RAISED if report.error is not None else 0 if report.returned else WAITS


# --- what was asked --------------------------------------------------------------------------------------------------


def _cut(until: str | None, place: Place | None, state: State) -> _Cut | None:
    from agentstream.cli.positions import index_of

    if place is not None:
        return _Cut(index_of(place, state))
    return _place(until, "--until", state) if until is not None else None


def _place(text: str, option: str, state: State) -> _Cut:
    from agentstream.cli.positions import index_of, require_place

    return _Cut(index_of(require_place(text, option), state))


def _json(text: str | None, where: str) -> Any:
    """The value of JSON as the record shows it, tags included."""
    from agentstream.cli.values import typed_json
    from agentstream.sessions import codec
    from agentstream.sessions.edits import as_recorded

    if text is None:
        return None
    given = typed_json(text, where)
    with refusing_arguments():
        return codec.decode(as_recorded(given))


def _text(text: str | None) -> str | None:
    from agentstream.cli.values import typed_text

    return typed_text(text, "--system") if text is not None else None


def _assigned(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--mock {text!r} is not STEP=JSON", hint="for example --mock 'lookup={\"found\": 1}'")
    return name, _json(value, f"--mock {name}")


def _confirm(*, yes: bool) -> Callable[[Cost], bool]:
    from agentstream.cli.talk import confirmed, is_quiet
    from agentstream.cli.text import clean

    def asked(cost: Cost) -> bool:
        about = f"{cost.calls} model calls, {cost.input_tokens} tokens in, {cost.output_tokens} out"
        unknown = f"; no price is known of {', '.join(cost.unpriced)}" if cost.unpriced else ""
        if not (yes and is_quiet()):
            print(clean(f"running on costs, by the record: {cost} ({about}{unknown})"), file=sys.stderr)
        return yes or confirmed("go on?", otherwise="running on makes calls", flag="-y")

    return asked


# --- what came of it -------------------------------------------------------------------------------------------------


def _print(output: Output, told: Told) -> None:
    from agentstream.cli.reported import as_json, print_fields, print_report

    if output.form == "json":
        output.document("replay", as_json(told))
    elif output.terminal:
        print_report(output, told)
    else:
        print_fields(output, told.state, told.report)


def _write_report(file: str, told: Told) -> None:
    from agentstream.cli.output import SCHEMA
    from agentstream.cli.reported import as_json
    from agentstream.cli.values import to_json

    document = to_json({"schema": SCHEMA, "kind": "replay", "data": as_json(told)}, indent=2)
    try:
        Path(file).write_text(f"{document}\n", "utf-8", "backslashreplace")
    except OSError as error:
        raise UsageError(f"--report {file!r} cannot be written: {error.strerror or error}") from error
