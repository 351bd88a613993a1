"""The verbs, and what every one of them has in common: how it is called and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from agentstream.cli import failures, talk
from agentstream.cli.coercion import coerce_little
from agentstream.cli.options import NoInput, Quiet, everywhere

VERBS = {
    "list": "listing:list_sessions",
    "ls": "listing:list_sessions",
    "show": "show:show",
    "tail": "tail:tail",
    "tree": "tree:tree",
    "diff": "diff:diff",
    "fork": "fork:fork",
    "resume": "resume:resume",
    "replay": "replay:replay",
    "answer": "answer:answer",
    "attachment": "attachment:attachment",
    "label": "label:label",
    "compact": "compact:compact",
    "erase": "erase:erase",
    "rotate": "erase:rotate",
    "export": "export:export",
    "import": "import_:import_sessions",
    "rm": "rm:rm",
    "gc": "gc:gc",
    "worker": "worker:worker",
    "ui": "ui:ui",
    "inspect": "ui:ui",
    "serve": "serve:serve",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
    "complete": "completion:complete",
}
"""Where each verb is; a module is imported only for a call that needs it."""

HIDDEN = ("ls", "inspect", "complete")


def command(verb: str | None) -> Any:
    """The command line with this verb; with all of them where there is no such verb, as for help."""
    app = typer.Typer(
        name="agentstream",
        help="Looks into agents' sessions and branches them. SESSION is an id or the beginning of one; "
        "SESSION@N is the cut after its first N events (also ~N before the end, start, end, step:N).",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or ambiguous id, 3 not found, 4 not let in by the server, "
        "5 store or network, "
        "6 conflict (already there, busy), 7 a call was refused, 8 the agent raised, 9 the run waits, "
        "10 to 13 an answer that does not count, 130 interrupted. Of diff: 0 the same, 1 they differ.",
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_agentstream)
    for name in (verb,) if verb in VERBS else VERBS:
        module, _, function = VERBS[name].partition(":")
        verb_of = getattr(import_module(f"agentstream.cli.{module}"), function)
        app.command(name, hidden=name in HIDDEN)(everywhere(verb_of))
    made = typer.main.get_command(app)
    coerce_little(made)
    return made


def _print_version(asked: bool) -> None:
    if asked:
        from agentstream import __version__

        print(f"agentstream {__version__}")
        raise typer.Exit


def _agentstream(
    version: Annotated[
        bool, typer.Option("--version", help="Prints the version.", callback=_print_version, is_eager=True)
    ] = False,
    quiet: Quiet = False,
    no_input: NoInput = False,
) -> None:
    talk.heed(quiet=quiet, no_input=no_input)


def run(argv: Sequence[str]) -> int:
    """One call of the command line; returns its exit code. Never raises, never shows a traceback."""
    as_json = "--json" in argv or "--jsonl" in argv
    verb = next((word for word in argv if not word.startswith("-")), None)
    try:
        _print_anything()
        talk.begin()
        called = command(verb)
        # not called.main(): it would turn Ctrl-C and a closed pipe into exit codes of its own
        with called.make_context("agentstream", list(argv) or ["--help"]) as context:
            called.invoke(context)
        sys.stdout.flush()
    except BaseException as error:
        path = f"agentstream {verb}" if verb in VERBS else "agentstream"
        return failures.report(error, as_json=as_json, path=path)
    return 0


def _print_anything() -> None:
    """A character that the terminal's encoding lacks is shown escaped; it is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
