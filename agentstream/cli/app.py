"""The verbs, and what every one of them has in common: how it is called and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from agentstream.cli import failures
from agentstream.cli.answer import answer
from agentstream.cli.attachment import attachment
from agentstream.cli.compact import compact
from agentstream.cli.completion import complete, completion
from agentstream.cli.diff import diff
from agentstream.cli.doctor import doctor
from agentstream.cli.erase import erase, rotate
from agentstream.cli.export import export
from agentstream.cli.fork import fork
from agentstream.cli.gc import gc
from agentstream.cli.import_ import import_sessions
from agentstream.cli.label import label
from agentstream.cli.listing import list_sessions
from agentstream.cli.replay import replay
from agentstream.cli.resume import resume
from agentstream.cli.rm import rm
from agentstream.cli.serve import serve
from agentstream.cli.show import show
from agentstream.cli.tail import tail
from agentstream.cli.tree import tree
from agentstream.cli.ui import ui
from agentstream.cli.worker import worker

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
app.command("list")(list_sessions)
app.command("ls", hidden=True)(list_sessions)
app.command("show")(show)
app.command("tail")(tail)
app.command("tree")(tree)
app.command("diff")(diff)
app.command("fork")(fork)
app.command("resume")(resume)
app.command("replay")(replay)
app.command("answer")(answer)
app.command("attachment")(attachment)
app.command("label")(label)
app.command("compact")(compact)
app.command("erase")(erase)
app.command("rotate")(rotate)
app.command("export")(export)
app.command("import")(import_sessions)
app.command("rm")(rm)
app.command("gc")(gc)
app.command("worker")(worker)
app.command("ui")(ui)
app.command("inspect", hidden=True)(ui)
app.command("serve")(serve)
app.command("doctor")(doctor)
app.command("completion")(completion)
app.command("complete", hidden=True)(complete)


def _print_version(asked: bool) -> None:
    if asked:
        from agentstream import __version__

        print(f"agentstream {__version__}")
        raise typer.Exit


@app.callback()
def _agentstream(
    version: Annotated[
        bool, typer.Option("--version", help="Prints the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run(argv: Sequence[str]) -> int:
    """One call of the command line; returns its exit code. Never raises, never shows a traceback."""
    as_json = "--json" in argv or "--jsonl" in argv
    try:
        _print_anything()
        command = typer.main.get_command(app)
        # not command.main(): it would turn Ctrl-C and a closed pipe into exit codes of its own
        with command.make_context("agentstream", list(argv) or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except BaseException as error:
        return failures.report(error, as_json=as_json)
    return 0


def _print_anything() -> None:
    """A character that the terminal's encoding lacks is shown escaped; it is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
