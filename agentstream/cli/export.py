"""`agentstream export`: a session as a file that `agentstream import` reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import UsageError
from agentstream.cli.options import Color, Colour, Json, Url

if TYPE_CHECKING:
    from agentstream.cli.output import Output
    from agentstream.sessions.transfer import Exported


def export(
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is stdout, if that is no terminal.")
    ] = "-",
    forks: Annotated[
        bool, typer.Option("--forks", help="With every fork, and forks of forks; what they share is written once.")
    ] = False,
    json: Json = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Writes a session to a file, byte for byte: a header line, then one line for each event."""
    from agentstream.cli.output import Output
    from agentstream.cli.store import find_session, opened_client

    output = Output.made(json=json, jsonl=False, color=color)
    if out == "-" and sys.stdout.isatty():
        raise UsageError("an export goes into a file or a pipe, not to a terminal", hint="give a file with -o FILE")
    if out == "-" and json:
        raise UsageError("--json says what was written, and stdout is where that goes", hint="give a file with -o FILE")
    with opened_client(url) as client:
        found = find_session(client, session)
        if "encrypted" in next(iter(found.events(stop=1))).value:
            print("note: the session is encrypted, and what is exported is not", file=sys.stderr)
        if out == "-":
            found.export(sys.stdout.buffer, forks=forks)
        else:
            _print(output, out, found.export(out, forks=forks))


def _print(output: Output, out: str, done: Exported) -> None:
    if output.form == "json":
        data = {"file": out, "sessions": list(done.sessions), "events": done.events, "bytes": done.bytes}
        output.document("export", data)
    elif output.terminal:
        from agentstream.cli.text import clean

        names = ", ".join(map(clean, done.sessions))
        output.line(f"{output.paint(clean(out), 'bold')}  {names}  {done.events} events, {done.bytes} bytes")
    else:
        output.fields([out, str(len(done.sessions)), str(done.events), str(done.bytes)])
