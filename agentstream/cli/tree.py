"""`agentstream tree`: a session with what it was forked from and what was forked from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import UsageError
from agentstream.cli.options import Color, Colour, Json, Jsonl, NoPager, Prices, Url

if TYPE_CHECKING:
    from agentstream import Client
    from agentstream.cli.output import Output
    from agentstream.sessions.prices import Cost
    from agentstream.sessions.prices import Prices as Table
    from agentstream.sessions.state import State

COLUMNS = ("session", "fork point", "status", "events", "cost", "first difference")


@dataclass(slots=True)
class _Node:
    """One session of the tree. `at` is its fork point in the one above, None for a root and for a spawned child."""

    id: str
    state: State
    sealed: bool
    cost: Cost
    relation: str = "root"
    at: int | None = None
    difference: dict[str, Any] | None = None
    below: list[_Node] = field(default_factory=list)


def tree(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="Its whole family; without, every session.")
    ] = None,
    depth: Annotated[int | None, typer.Option("--depth", min=0, metavar="N", help="At most N levels down.")] = None,
    prices: Prices = None,
    json: Json = False,
    jsonl: Jsonl = False,
    url: Url = None,
    color: Color = Colour.auto,
    no_pager: NoPager = False,
) -> None:
    """Shows branches under what they were forked from, each with its fork point, status, cost and first difference.

    In a pipe: depth, id, what it is (root, fork, child), fork point, status, events, cost in dollars (empty where
    unknown), step and path of the first difference to the session above, separated by tabs.
    """
    from agentstream.cli.output import Output
    from agentstream.cli.store import find_session, opened_client

    output = Output.made(json=json, jsonl=jsonl, color=color, pager=not no_pager)
    table = price_table(prices)
    with opened_client(url) as client:
        asked = find_session(client, session).id if session is not None else None
        roots = _family(client, asked, table)
    with output.paged():
        _print(output, roots, asked, depth)


def price_table(file: str | None) -> Table:
    """The prices of `--prices`; a UsageError that says what is wrong with the file."""
    from agentstream.sessions.prices import prices_from

    try:
        return prices_from(file)
    except (OSError, ValueError) as error:
        raise UsageError(str(error), hint="--prices names a JSON file") from error


def _family(client: Client, asked: str | None, prices: Table) -> list[_Node]:
    """The roots above `asked` (all there are where None), each with all below it."""
    above = {summary.id: summary.parent for summary in client.sessions()}
    if asked is not None:
        root = asked
        seen = {root}
        while (parent := above[root]) is not None and parent in above and parent not in seen:
            root = parent
            seen.add(root)
        roots = [root]
    else:
        roots = sorted(name for name, parent in above.items() if parent is None or parent not in above)
    below: dict[str, list[str]] = {}
    for name, parent in above.items():
        if parent is not None:
            below.setdefault(parent, []).append(name)
    return [_node(client, root, None, below, prices) for root in roots]


def _node(client: Client, name: str, parent: _Node | None, below: dict[str, list[str]], prices: Table) -> _Node:
    from agentstream.cli.store import open_session
    from agentstream.sessions.prices import cost_of_session

    opened = open_session(client.session(name))
    state = opened.state
    node = _Node(name, state, opened.sealed, cost_of_session(state, prices))
    lineage = state.lineage
    if parent is not None:
        shares = lineage is not None and lineage.incarnation in {b.incarnation for _, b in parent.state.births}
        node.relation = "fork" if lineage is not None else "child"
        node.at = lineage.count if lineage is not None else None
        node.difference = _difference(parent.state, state) if shares else None
    children = [_node(client, each, node, below, prices) for each in below.pop(name, ())]
    node.below = sorted(children, key=lambda child: (child.at if child.at is not None else -1, child.id))
    return node


def _difference(source: State, branch: State) -> dict[str, Any] | None:
    """The first step in which a branch differs from its source; None while there is none."""
    from agentstream.sessions.comparing import compare_steps

    pair = compare_steps(source, branch).first
    if pair is None:
        return None
    number = pair.left_number if pair.left_number is not None else pair.right_number
    return {
        "step": number,
        "difference": pair.kind,
        "kind": pair.step.kind,
        "name": pair.step.name,
        "path": pair.path,
    }


_Row = tuple[int, str, _Node]
"""Its depth, what is drawn before its name, and the session."""


def _walk(nodes: list[_Node], deepest: int | None, prefix: str = "", depth: int = 0) -> Iterator[_Row]:
    """Every node, top down."""
    for place, node in enumerate(nodes):
        last = place == len(nodes) - 1
        branch = "" if depth == 0 else prefix + ("└─ " if last else "├─ ")
        yield depth, branch, node
        if deepest is None or depth < deepest:
            yield from _walk(node.below, deepest, "" if depth == 0 else prefix + ("   " if last else "│  "), depth + 1)


def _print(output: Output, roots: list[_Node], asked: str | None, depth: int | None) -> None:
    rows = list(_walk(roots, depth))
    if output.form == "json":
        output.document("tree", [_nested(root, 0, depth) for root in roots])
    elif output.form == "jsonl":
        for level, _, node in rows:
            output.object({"depth": level, **_as_json(node)})
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


def _cells(node: _Node) -> list[str]:
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


def _as_json(node: _Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "relation": node.relation,
        "at": node.at,
        "status": node.state.status,
        "sealed": node.sealed,
        "events": node.state.index,
        "steps": len(node.state.steps),
        "cost": node.cost.dollars if node.cost.known else None,
        "unpriced": list(node.cost.unpriced),
        "input_tokens": node.cost.input_tokens,
        "output_tokens": node.cost.output_tokens,
        "difference": node.difference,
    }


def _nested(node: _Node, level: int, deepest: int | None) -> dict[str, Any]:
    shown = node.below if deepest is None or level < deepest else []
    return {**_as_json(node), "branches": [_nested(each, level + 1, deepest) for each in shown]}
