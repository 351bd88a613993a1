"""`agentstream list`: the sessions of a store, the last changed first."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.options import answers, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream import Summary
    from agentstream.cli.output import Output
    from agentstream.sessions.prices import Cost

COLUMNS = ("id", "status", "agent", "events", "updated", "parent", "title")
_UPDATED = COLUMNS.index("updated")


class Sorting(str, Enum):
    """What a list is sorted by."""

    changed = "changed"
    created = "created"
    events = "events"
    failures = "failures"
    cost = "cost"


@answers(jsonl=True, pager=True)
def list_sessions(
    output: Output,
    url: str | None,
    prefix: Annotated[str, typer.Argument(help="Only ids that begin so.", show_default=False)] = "",
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS,…", help="running, finished, failed, abandoned, …"),
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Last run by this agent.")] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="ID", help="Forks and children of this session.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="NAME[=VALUE]", help="With this tag.")] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="With this in the title.")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="With this in a message.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="SPAN", help="Changed in the last 12h, 30d, …")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="SPAN", help="Not changed in the last 12h, 30d, …")
    ] = None,
    roots: Annotated[bool, typer.Option("--roots", help="No forks and no children.")] = False,
    sort: Annotated[Sorting, typer.Option("--sort", help="What the first has most of; cost by the known prices.")] = (
        Sorting.changed
    ),
    limit: Annotated[int | None, typer.Option("-n", "--limit", min=1, metavar="N", help="At most N.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
) -> None:
    """Lists sessions, the last changed first.

    In a pipe: id, status, agent, events, updated, parent and title, separated by tabs. SEALED
    sessions are marked so on a terminal and in JSON.
    """
    from agentstream.cli.spans import seconds
    from agentstream.cli.store import opened_client
    from agentstream.cli.working import working

    ago, old = (
        timedelta(seconds=seconds(span, option)) if span is not None else None
        for span, option in ((since, "--since"), (until, "--until"))
    )
    statuses = words(status)
    chosen = bool(statuses or agent or roots) or sort is not Sorting.changed
    with opened_client(url) as client, working("looking for sessions"):
        upto = None if chosen else limit
        found = client.sessions(
            prefix=prefix, parent=parent, tag=tag, title=title, text=text, since=ago, until=old, limit=upto
        )
    found = [
        summary
        for summary in found
        if (not statuses or (summary.status or "none") in statuses)
        and agent in (None, summary.agent)
        and not (roots and summary.parent)
    ]
    found = _sorted(found, sort)[:limit]
    if reverse:
        found.reverse()
    _print(output, found, sort)


def _sorted(found: list[Summary], sort: Sorting) -> list[Summary]:
    if sort is Sorting.changed:
        return found  # as they come
    if sort is Sorting.cost:
        cost = _costs()
        return sorted(found, key=lambda summary: cost(summary).dollars, reverse=True)
    return sorted(found, key=lambda summary: getattr(summary, sort.value), reverse=True)


def _costs() -> Callable[[Summary], Cost]:
    """What a session cost, by the known prices."""
    from agentstream.sessions.prices import cost_of_used, prices_from

    prices = prices_from()
    return lambda summary: cost_of_used(summary.used, prices)


def _print(output: Output, found: list[Summary], sort: Sorting) -> None:
    if output.form == "json":
        output.document("sessions", [_as_json(summary) for summary in found])
    elif output.form == "jsonl":
        for summary in found:
            output.object(_as_json(summary))
    elif output.terminal:
        with output.paged():
            _print_table(output, found, sort)
    else:
        for summary in found:
            output.fields(_cells(summary, _iso(summary.updated)), status=1)


def _print_table(output: Output, found: list[Summary], sort: Sorting) -> None:
    from agentstream.cli.output import Table, widths_of

    now = datetime.now(timezone.utc)
    rows = [_cells(summary, _ago(summary.updated, now), sealed=summary.sealed) for summary in found]
    columns: list[str] = list(COLUMNS)
    told = _told_of(sort, now)
    if told is not None:  # what it is sorted by is seen
        columns.insert(_UPDATED, sort.value)
        for summary, cells in zip(found, rows, strict=True):
            cells.insert(_UPDATED, told(summary))
    table = Table(output, columns, widths_of(rows, len(columns)), right=frozenset([3]))
    for cells in rows:
        table.row(cells, status=1)


def _told_of(sort: Sorting, now: datetime) -> Callable[[Summary], str] | None:
    """What a column says of a session for this order; None where the columns say it already."""
    if sort is Sorting.created:
        return lambda summary: _ago(summary.created, now)
    if sort is Sorting.failures:
        return lambda summary: str(summary.failures)
    if sort is Sorting.cost:
        cost = _costs()
        return lambda summary: str(found) if (found := cost(summary)).calls else ""
    return None


def _cells(summary: Summary, updated: str, *, sealed: bool = False) -> list[str]:
    return [
        summary.id,
        summary.status or "",
        summary.agent or "",
        str(summary.events),
        updated,
        summary.parent or "",
        (str(summary.title) if summary.title else "") + (" (sealed)" if sealed else ""),
    ]


def _as_json(summary: Summary) -> dict[str, Any]:
    from agentstream.sessions.views.folded import summary_json

    return summary_json(summary, _iso)


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ago(moment: datetime, now: datetime) -> str:
    seconds = max((now - moment).total_seconds(), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return f"{int(seconds)}s ago"
