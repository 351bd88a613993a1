"""`agentstream import`: the sessions of an export, byte for byte."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import Color, Colour, Json, Url


def import_sessions(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote; - is stdin.", show_default=False)],
    new_id: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="Another id, where the file holds one session.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Put before every id.")] = "",
    json: Json = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Makes the sessions that a file holds, or none of them. In a pipe: their ids, one a line.

    Makes a store where there is none, as an agent's first run does.
    """
    from agentstream import Client
    from agentstream.cli.output import Output

    output = Output.made(json=json, jsonl=False, color=color)
    if (url or os.environ.get("AGENTSTREAM_URL")) == "memory:":
        raise UsageError("memory: ends with this process; nothing would be left of an import")
    if file != "-" and not os.path.isfile(file):
        raise UsageError(f"there is no file {file!r}")
    with refusing_arguments():
        client = Client(url)
    with client, refusing_arguments():
        made = client.import_(sys.stdin.buffer if file == "-" else file, id=new_id, prefix=prefix)
    if output.form == "json":
        output.document("import", [session.id for session in made])
    else:
        for session in made:
            output.fields([session.id])
