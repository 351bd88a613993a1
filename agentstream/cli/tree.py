"""`agentstream tree`: a session with what it was forked from and what was forked from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import UsageError
from agentstream.cli.options import Prices, answers

if TYPE_CHECKING:
    from agentstream.cli.output import Output
    from agentstream.sessions.prices import Prices as Table
    from agentstream.sessions.views.tree import Branch

COLUMNS = ("session", "fork point", "status", "events", "cost", "first difference")


@answers(jsonl=True, pager=True)
def tree(
    output: Output,
    url: str | None,
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="Its whole family; without, every session.")
    ] = None,
    depth: Annotated[int | None, typer.Option("--depth", min=0, metavar="N", help="At most N levels down.")] = None,
    prices: Prices = None,
) -> None:
    """Shows branches under what they were forked from, each with its fork point, status, cost and first difference.

    In a pipe: depth, id, what it is (root, fork, child), fork point, status, events, cost in dollars (empty where
    unknown), step and path of the first difference to the session above, separated by tabs.
    """
    from agentstream.backends.driving import drive
    from agentstream.cli.store import find_session, opened_client
    from agentstream.cli.working import working
    from agentstream.sessions.views.tree import family

    table = price_table(prices)
    with opened_client(url) as client:
        asked = find_session(client, session).id if session is not None else None
        with working("reading the family"):
            roots = drive(family(client._core, asked, table), client._core.backend)
    with output.paged():
        _print(output, roots, asked, depth)


def price_table(file: str | None) -> Table:
    """The prices of `--prices`; a UsageError that says what is wrong with the file."""
    from agentstream.sessions.prices import prices_from

    try:
        return prices_from(file)
    except (OSError, ValueError) as error:
        raise UsageError(str(error), hint="--prices names a JSON file") from error


_Row = tuple[int, str, "Branch"]
"""Its depth, what is drawn before its name, and the session."""


def _walk(nodes: list[Branch], deepest: int | None, prefix: str = "", depth: int = 0) -> Iterator[_Row]:
    """Every node, top down."""
    for place, node in enumerate(nodes):
        last = place == len(nodes) - 1
        branch = "" if depth == 0 else prefix + ("└─ " if last else "├─ ")
        yield depth, branch, node
        if deepest is None or depth < deepest:
            yield from _walk(node.below, deepest, "" if depth == 0 else prefix + ("   " if last else "│  "), depth + 1)


def _print(output: Output, roots: list[Branch], asked: str | None, depth: int | None) -> None:
    from agentstream.sessions.views.tree import branch_json, nested

    rows = list(_walk(roots, depth))
    if output.form == "json":
        output.document("tree", [nested(root, 0, depth) for root in roots])
    elif output.form == "jsonl":
        for level, _, node in rows:
            output.object({"depth": level, **branch_json(node)})
    elif output.terminal:
        _print_table(output, rows, asked)
    else:
        for level, _, node in rows:
            found = node.difference or {}
            difference = [f"step:{found['step']}" if found else "", found.get("path", "")]
            at = "" if node.at is None else str(node.at)
            dollars = f"{node.cost.dollars:.6f}" if node.cost.known else ""
            status = node.state.status or ""
            cells = [str(level), node.id, node.relation, at, status, str(node.state.index), dollars, *difference]
            output.fields(cells, status=4)


def _print_table(output: Output, rows: list[_Row], asked: str | None) -> None:
    from agentstream.cli.output import Table, widths_of

    cells = [[branch + node.id, *_cells(node)] for _, branch, node in rows]
    table = Table(output, COLUMNS, widths_of(cells, len(COLUMNS)), right=frozenset([3, 4]))
    for (_, _, node), row in zip(rows, cells, strict=True):
        if node.id == asked and len(rows) > 1:
            row[-1] = f"{row[-1]}  (this one)".strip()
        table.row(row, status=2)


def _cells(node: Branch) -> list[str]:
    at = "child" if node.relation == "child" else "" if node.at is None else f"@{node.at}"
    found = node.difference
    difference = f"step:{found['step']} {found['kind']} {found['name']} {found['path']}".strip() if found else ""
    cost = str(node.cost) if node.cost.calls else ""
    return [
        at,
        (node.state.status or "") + (" (sealed)" if node.sealed else ""),
        str(node.state.index),
        cost,
        difference,
    ]
