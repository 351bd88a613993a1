"""`agentstream compact`: a session goes on without what nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream.cli.output import Output


@answers()
def compact(
    output: Output,
    url: str | None,
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Deletes the session as it was, instead of keeping it to be read.")
    ] = False,
) -> None:
    """Leaves steps of ended runs and deltas behind; messages, runs and what is open stay. In a pipe: id, old id."""
    from agentstream.cli.store import find_session, opened_client
    from agentstream.cli.working import working

    with opened_client(url) as client:
        found = find_session(client, session)
        with working(f"compacting {found.id}"):
            old = found.compact(keep_old=not drop_old)
        events = found.state().index
    if output.form == "json":
        output.document("compact", {"id": found.id, "old": old, "events": events})
    else:
        output.fields([found.id, old or "-", str(events)])
