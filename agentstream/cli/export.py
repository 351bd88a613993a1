"""`agentstream export`: a session as a file, for `agentstream import` or to be read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import UsageError
from agentstream.cli.options import Prices, SessionAt, answers
from agentstream.cli.talk import note
from agentstream.cli.working import size, working

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.output import Output
    from agentstream.cli.positions import Place
    from agentstream.cli.store import Opened
    from agentstream.sessions.prices import Prices as Table
    from agentstream.sessions.redaction import Redact


@dataclass(frozen=True, slots=True)
class Written:
    """What is in a file."""

    sessions: list[str]
    events: int
    bytes: int


class Format(str, Enum):
    """What an export is for: `jsonl` is whole and can be imported, `html` opens in a browser."""

    jsonl = "jsonl"
    json = "json"
    markdown = "markdown"
    html = "html"


@answers()
def export(
    output: Output,
    url: str | None,
    session: SessionAt,
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is stdout, if that is no terminal.")
    ] = "-",
    form: Annotated[
        Format, typer.Option("--format", help="jsonl is for import; html is the inspector in one file; json, markdown.")
    ] = Format.jsonl,
    forks: Annotated[
        bool, typer.Option("--forks", help="With every fork, and forks of forks (jsonl: what they share once).")
    ] = False,
    redact: Annotated[
        str | None,
        typer.Option("--redact", metavar="keys|MODULE:NAME", help="Takes out what these rules find."),
    ] = None,
    prices: Prices = None,
) -> None:
    """Writes a session to a file. As jsonl byte for byte: a header line, then one line for each event.

    With --redact what is imported from a jsonl is a session of a life of its own: to hand on, and to replay.
    """
    from agentstream.cli.store import find_target, opened_client

    if out == "-" and sys.stdout.isatty():
        raise UsageError("an export goes into a file or a pipe, not to a terminal", hint="give a file with -o FILE")
    if out == "-" and output.form == "json":
        raise UsageError("--json says what was written, and stdout is where that goes", hint="give a file with -o FILE")
    if forks and form not in (Format.jsonl, Format.html):
        raise UsageError("--forks is for the formats jsonl and html")
    rules = _rules(redact)
    with opened_client(url) as client:
        found, place = find_target(client, session)
        if place is not None and form is Format.jsonl:
            raise UsageError(
                f"a jsonl export is whole; leave @{place} out", hint="fork the session there, and export that"
            )
        if "encrypted" in next(iter(found.events(stop=1))).value:
            note("the session is encrypted, and what is exported is not")
        if form is not Format.jsonl:
            _print(output, out, _written(found, place, form, out, prices, rules, forks=forks))
        elif out == "-":
            found.export(sys.stdout.buffer, forks=forks, redact=redact)
        else:
            with working(f"writing {out}", lambda: _written_of(out)):
                done = found.export(out, forks=forks, redact=redact)
            _print(output, out, Written(list(done.sessions), done.events, done.bytes))


def _written_of(file: str) -> str:
    path = Path(file)
    return size(path.stat().st_size) if path.exists() else ""


def _written(
    session: Session,
    place: Place | None,
    form: Format,
    out: str,
    prices: str | None,
    redact: Redact | None,
    *,
    forks: bool,
) -> Written:
    from agentstream.cli.positions import index_of
    from agentstream.cli.store import Opened, open_session

    opened = open_session(session)
    if place is not None:
        opened = Opened(session, opened.state.cut(index_of(place, opened.state)), sealed=False)
    if redact is not None:
        from agentstream.sessions.redaction import Rules
        from agentstream.sessions.views.redacting import redacted

        core, alive = session._core, opened.state.status != "abandoned"
        state = session._drive(redacted(core, opened.state, Rules(redact, core.backend), alive=alive))
        opened = Opened(session, state, opened.sealed)
    with working(f"making {form.value} of {session.id}"):
        content, names = _content(opened, place, form, prices, redact, forks=forks)
    if out == "-":
        sys.stdout.buffer.write(content)
    else:
        Path(out).write_bytes(content)
    return Written(names, opened.state.index, len(content))


def _content(
    opened: Opened, place: Place | None, form: Format, prices: str | None, redact: Redact | None, *, forks: bool
) -> tuple[bytes, list[str]]:
    from agentstream.cli.output import SCHEMA
    from agentstream.cli.tree import price_table
    from agentstream.cli.values import to_json
    from agentstream.sessions.views.readable import as_document, as_markdown

    session = opened.session
    if form is Format.html:
        at = opened.state.index if place is not None else None
        return _page(session, price_table(prices), at, redact, forks=forks)
    if form is Format.json:
        document = as_document(opened.state, sealed=opened.sealed)
        content = to_json({"schema": SCHEMA, "kind": "session", "data": document}, indent=2).encode(*_TEXT) + b"\n"
    else:
        lines = as_markdown(opened.state, price_table(prices), sealed=opened.sealed)
        content = "".join(f"{line}\n" for line in lines).encode(*_TEXT)
    return content, [session.id]


_TEXT = ("utf-8", "backslashreplace")


def _rules(named: str | None) -> Redact | None:
    from agentstream.cli.failures import refusing_arguments
    from agentstream.sessions.configured import rules_named

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    with refusing_arguments():
        return rules_named(named) if named is not None else None


def _page(
    session: Session, prices: Table, at: int | None, redact: Redact | None, *, forks: bool
) -> tuple[bytes, list[str]]:
    """The inspector's page with the session in it, and which sessions those are."""
    from agentstream.inspector.exporting import embedded_documents, page_with, read_page

    page = read_page()  # what is missing is said before anything is read for it
    core = session._core
    documents = session._drive(embedded_documents(core, session.id, prices, at=at, forks=forks, redact=redact))
    return page_with(page, documents), list(documents["data"])


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
