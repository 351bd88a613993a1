"""`agentstream rm`: deletes sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import CONFLICT, CommandError, refusing_arguments
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream import Client, Session
    from agentstream.cli.output import Output


class InUse(CommandError):
    """A session that somebody still needs."""

    code, exit_code = "in_use", CONFLICT


@answers()
def rm(
    output: Output,
    url: str | None,
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION…", help="Whole ids.", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Also what a worker is at, or what waits for a person.")
    ] = False,
) -> None:
    """Deletes sessions: all that are named, or none. Their forks stay readable. In a pipe: the ids, one a line."""
    from agentstream.cli.store import opened_client

    with opened_client(url) as client:
        found = [_deletable(client, name, force) for name in dict.fromkeys(sessions)]
        for session in found:
            session.delete()
    if output.form == "json":
        output.document("rm", [session.id for session in found])
    else:
        for session in found:
            output.fields([session.id])


def _deletable(client: Client, name: str, force: bool) -> Session:
    from agentstream import Erased

    with refusing_arguments():
        session = client.session(name)
    try:
        status = session.status()
    except Erased:
        return session
    if not force and status in ("running", "waiting"):
        why = "a worker is at it" if status == "running" else "it waits for a person"
        raise InUse(f"session {name!r} is {status}: {why}", hint="--force deletes it all the same")
    return session
