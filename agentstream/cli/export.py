"""`agentstream export`: a session as a file, for `agentstream import` or to be read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import UsageError
from agentstream.cli.options import Color, Colour, Json, Prices, SessionAt, Url

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place


@dataclass(frozen=True, slots=True)
class Written:
    """What is in a file."""

    sessions: list[str]
    events: int
    bytes: int


class Format(str, Enum):
    """What an export is for: `jsonl` is complete and can be imported; the others are to be read."""

    jsonl = "jsonl"
    json = "json"
    markdown = "markdown"


def export(
    session: SessionAt,
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is stdout, if that is no terminal.")
    ] = "-",
    form: Annotated[
        Format, typer.Option("--format", help="jsonl is for import; json and markdown are for people and programs.")
    ] = Format.jsonl,
    forks: Annotated[
        bool, typer.Option("--forks", help="With every fork, and forks of forks; what they share is written once.")
    ] = False,
    prices: Prices = None,
    json: Json = False,
    url: Url = None,
    color: Color = Colour.auto,
) -> None:
    """Writes a session to a file. As jsonl byte for byte: a header line, then one line for each event."""
    from agentstream.cli.output import Output
    from agentstream.cli.store import find_target, opened_client

    output = Output.made(json=json, jsonl=False, color=color)
    if out == "-" and sys.stdout.isatty():
        raise UsageError("an export goes into a file or a pipe, not to a terminal", hint="give a file with -o FILE")
    if out == "-" and json:
        raise UsageError("--json says what was written, and stdout is where that goes", hint="give a file with -o FILE")
    if forks and form is not Format.jsonl:
        raise UsageError("--forks is for the jsonl format")
    with opened_client(url) as client:
        found, place = find_target(client, session)
        if place is not None and form is Format.jsonl:
            raise UsageError(
                f"a jsonl export is whole; leave @{place} out", hint="fork the session there, and export that"
            )
        if "encrypted" in next(iter(found.events(stop=1))).value:
            print("note: the session is encrypted, and what is exported is not", file=sys.stderr)
        if form is not Format.jsonl:
            _print(output, out, _written(found, place, form, out, prices))
        elif out == "-":
            found.export(sys.stdout.buffer, forks=forks)
        else:
            done = found.export(out, forks=forks)
            _print(output, out, Written(list(done.sessions), done.events, done.bytes))


def _written(session: Session, place: Place | None, form: Format, out: str, prices: str | None) -> Written:
    from agentstream.cli.output import SCHEMA
    from agentstream.cli.positions import index_of
    from agentstream.cli.readable import as_document, as_markdown
    from agentstream.cli.store import Opened, open_session
    from agentstream.cli.tree import price_table
    from agentstream.cli.values import to_json

    opened = open_session(session)
    if place is not None:
        opened = Opened(session, opened.state.cut(index_of(place, opened.state)), sealed=False)
    if form is Format.json:
        text = to_json({"schema": SCHEMA, "kind": "session", "data": as_document(opened)}, indent=2)
    else:
        text = "\n".join(as_markdown(opened, price_table(prices)))
    data = (text + "\n").encode("utf-8", "backslashreplace")
    if out == "-":
        sys.stdout.buffer.write(data)
    else:
        Path(out).write_bytes(data)
    return Written([session.id], opened.state.index, len(data))


def _print(output: Output, out: str, done: Written) -> None:
    if out == "-":
        return
    if output.form == "json":
        data = {"file": out, "sessions": list(done.sessions), "events": done.events, "bytes": done.bytes}
        output.document("export", data)
    elif output.terminal:
        from agentstream.cli.text import clean

        names = ", ".join(map(clean, done.sessions))
        output.line(f"{output.paint(clean(out), 'bold')}  {names}  {done.events} events, {done.bytes} bytes")
    else:
        output.fields([out, str(len(done.sessions)), str(done.events), str(done.bytes)])
