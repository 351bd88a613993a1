"""`agentstream compact`: a session goes on without what nobody needs any more."""

from __future__ import annotations

from typing import Annotated

import typer

from agentstream.cli.options import Color, Colour, Json, Url


def compact(
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Deletes the session as it was, instead of keeping it to be read.")
    ] = False,
    json: Json = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Leaves steps of ended runs and deltas behind; messages, runs and what is open stay. In a pipe: id, old id."""
    from agentstream.cli.output import Output
    from agentstream.cli.store import find_session, opened_client

    output = Output.made(json=json, jsonl=False, color=color)
    with opened_client(url) as client:
        found = find_session(client, session)
        old = found.compact(keep_old=not drop_old)
        events = found.state().index
    if output.form == "json":
        output.document("compact", {"id": found.id, "old": old, "events": events})
    else:
        output.fields([found.id, old or "-", str(events)])
