"""`agentstream show`: a session's events, or its state, at any cut."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import INTERRUPTED, UsageError
from agentstream.cli.options import (
    Color,
    Colour,
    ErrorsOnly,
    Full,
    Json,
    Jsonl,
    Kinds,
    MaxChars,
    Names,
    NoPager,
    SessionAt,
    Url,
    words,
)

if TYPE_CHECKING:
    from agentstream.cli.positions import Place
    from agentstream.cli.printing import Printer
    from agentstream.cli.store import Opened


def show(
    session: SessionAt,
    start: Annotated[str | None, typer.Option("--from", metavar="POS", help="Begins at this cut.")] = None,
    stop: Annotated[
        str | None, typer.Option("--to", metavar="POS", help="Ends at this cut; as SESSION@POS does.")
    ] = None,
    kind: Kinds = None,
    name: Names = None,
    errors_only: ErrorsOnly = False,
    state: Annotated[
        bool, typer.Option("--state", help="What the events amount to: runs, steps, messages, usage, lineage.")
    ] = False,
    full: Full = False,
    max_chars: MaxChars = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The last event first.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The messages as they are stored, one a line.")] = False,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Goes on with what comes, until the session is sealed.")
    ] = False,
    json: Json = False,
    jsonl: Jsonl = False,
    url: Url = None,
    color: Color = Colour.auto,
    no_pager: NoPager = False,
) -> None:
    """Shows a session's events.

    In a pipe: index, type, step, kind, name, status, ms, tokens (input/output), mark and value,
    separated by tabs. MARK says why an event does not count: fenced (written by a superseded
    worker), duplicate, or rewound.
    """
    from agentstream.cli.output import Output
    from agentstream.cli.printing import Choice, Printer
    from agentstream.cli.store import find_target, open_session, opened_client

    _refuse_together(("--follow", follow), ("--reverse", reverse))
    _refuse_together(("--follow", follow), ("--to", stop is not None))
    _refuse_together(("--follow", follow), ("--state", state))
    _refuse_together(("--raw", raw), ("--state", state))
    _refuse_together(("--raw", raw), ("--json", json or jsonl))
    output = Output.made(json=json, jsonl=jsonl or (json and follow), color=color, pager=not (no_pager or follow))
    with opened_client(url) as client:
        found, place = find_target(client, session)
        _refuse_together((f"{session!r}", place is not None), ("--to", stop is not None), ("--follow", follow))
        opened = open_session(found)
        first, last = _cuts(opened, start, stop, place)
        if state:
            from agentstream.cli.folded import print_state

            _refuse_together(("--state", True), ("--from", start is not None))
            print_state(output, opened, last, max_chars if not full else None, full=full)
            return
        choice = Choice(words(kind), errors_only, words(name))
        printer = Printer(output, opened, choice, full=full, max_chars=max_chars, raw=raw)
        if follow:
            follow_from(printer, opened, first)
        else:
            with output.paged():
                printer.print_range(first, last, reverse=reverse)


def follow_from(printer: Printer, opened: Opened, first: int) -> None:
    """The events from `first` on, then every one that comes; returns when the session is sealed."""
    with _left_at_once():
        printer.begin_following(first)
        for event in opened.session.follow(start=opened.state.index):
            printer.follow(event)


@contextmanager
def _left_at_once() -> Iterator[None]:
    """While Ctrl-C ends the process in its handler: a reader has nothing to tidy up, and an exception that is raised
    while a callback runs would be lost, and the process stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cuts(opened: Opened, start: str | None, stop: str | None, place: Place | None) -> tuple[int, int]:
    from agentstream.cli.positions import index_of, require_place

    if stop is not None:
        place = require_place(stop, "--to")
    first = index_of(require_place(start, "--from"), opened.state) if start is not None else 0
    last = index_of(place, opened.state) if place is not None else opened.state.index
    if first > last:
        raise UsageError(f"--from is at {first}, which is after the end of what is asked for, {last}")
    return first, last


def _refuse_together(*options: tuple[str, bool]) -> None:
    given = [name for name, is_given in options if is_given]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} do not go together")
