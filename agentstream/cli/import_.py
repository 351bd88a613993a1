"""`agentstream import`: the sessions of an export, byte for byte."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream.cli.output import Output


@answers()
def import_sessions(
    output: Output,
    url: str | None,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What export wrote; - is stdin.", show_default=False)],
    new_id: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="Another id, where the file holds one session.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Put before every id.")] = "",
) -> None:
    """Makes the sessions that a file holds, or none of them. In a pipe: their ids, one a line.

    Makes a store where there is none, as an agent's first run does.
    """
    from agentstream.cli.store import made_client
    from agentstream.cli.working import working

    if (url or os.environ.get("AGENTSTREAM_URL")) == "memory:":
        raise UsageError("memory: ends with this process; nothing would be left of an import")
    if file != "-" and not os.path.isfile(file):
        raise UsageError(f"there is no file {file!r}")
    with (
        made_client(url or os.environ.get("AGENTSTREAM_URL")) as client,
        refusing_arguments(),
        working(f"importing {file}"),
    ):
        made = client.import_(sys.stdin.buffer if file == "-" else file, id=new_id, prefix=prefix)
    if output.form == "json":
        output.document("import", [session.id for session in made])
    else:
        for session in made:
            output.fields([session.id])
