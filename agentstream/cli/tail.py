"""`agentstream tail`: a session's last events, and what comes."""

from __future__ import annotations

from typing import Annotated

import typer

from agentstream.cli.options import Color, Colour, ErrorsOnly, Full, Json, Jsonl, Kinds, MaxChars, Names, Url, words

LAST = 10


def tail(
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="POS", help=f"Begins at this cut; by default {LAST} events before the end."),
    ] = None,
    kind: Kinds = None,
    name: Names = None,
    errors_only: ErrorsOnly = False,
    full: Full = False,
    max_chars: MaxChars = None,
    json: Json = False,
    jsonl: Jsonl = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Follows a session live, from its last events on. Ends when the session is sealed.

    Prints what `show` prints; with --json one object a line.
    """
    from agentstream.cli.failures import UsageError
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place, index_of, require_place
    from agentstream.cli.printing import Choice, Printer
    from agentstream.cli.show import follow_from
    from agentstream.cli.store import find_target, open_session, opened_client

    output = Output.made(json=json, jsonl=json or jsonl, color=color)
    with opened_client(url) as client:
        found, place = find_target(client, session)
        if place is not None and start is not None:
            raise UsageError(f"{session!r} and --from do not go together")
        if start is not None:
            place = require_place(start, "--from")
        opened = open_session(found)
        first = index_of(place or Place("before_end", LAST), opened.state)
        printer = Printer(output, opened, Choice(words(kind), errors_only, words(name)), full=full, max_chars=max_chars)
        follow_from(printer, opened, first)
