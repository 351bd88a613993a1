"""The tree of sessions: what each was forked from or spawned by, and where a branch first differs from its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions.comparing import compare_steps
from agentstream.sessions.prices import Cost, Prices, cost_of_session
from agentstream.sessions.search import Query, sessions
from agentstream.sessions.state import State
from agentstream.sessions.views.opening import seen

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core


@dataclass(slots=True)
class Branch:
    """One session of the tree. `at` is its fork point in the one above, None for a root and for a spawned child."""

    id: str
    state: State
    sealed: bool
    cost: Cost
    relation: str = "root"
    at: int | None = None
    difference: dict[str, Any] | None = None
    below: list[Branch] = field(default_factory=list)


def family(core: Core, asked: str | None, prices: Prices) -> Steps[list[Branch]]:
    """The roots above `asked` (all there are where None), each with all below it. NotFound."""
    above = {summary.id: summary.parent for summary in (yield from sessions(core, Query()))}
    if asked is not None:
        if asked not in above:
            raise NotFound(f"there is no session {asked!r} here")
        root = asked
        seen_above = {root}
        while (parent := above[root]) is not None and parent in above and parent not in seen_above:
            root = parent
            seen_above.add(root)
        roots = [root]
    else:
        roots = sorted(name for name, parent in above.items() if parent is None or parent not in above)
    below: dict[str, list[str]] = {}
    for name, parent in above.items():
        if parent is not None:
            below.setdefault(parent, []).append(name)
    found: list[Branch] = []
    for each in roots:
        found.append((yield from _branch(core, each, None, below, prices)))
    return found


def _branch(core: Core, name: str, parent: Branch | None, below: dict[str, list[str]], prices: Prices) -> Steps[Branch]:
    state, sealed = yield from seen(core, name)
    branch = Branch(name, state, sealed, cost_of_session(state, prices))
    lineage = state.lineage
    if parent is not None:
        shares = lineage is not None and lineage.incarnation in {b.incarnation for _, b in parent.state.births}
        branch.relation = "fork" if lineage is not None else "child"
        branch.at = lineage.count if lineage is not None else None
        branch.difference = _difference(parent.state, state) if shares else None
    for each in below.pop(name, ()):
        branch.below.append((yield from _branch(core, each, branch, below, prices)))
    branch.below.sort(key=lambda child: (child.at if child.at is not None else -1, child.id))
    return branch


def _difference(source: State, branch: State) -> dict[str, Any] | None:
    """The first step in which a branch differs from its source; None while there is none."""
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


def branch_json(node: Branch) -> dict[str, Any]:
    """One session of the tree, without those below it."""
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


def nested(node: Branch, level: int, deepest: int | None) -> dict[str, Any]:
    """One session, which is `level` levels down, with those below it down to `deepest`."""
    shown = node.below if deepest is None or level < deepest else []
    return {**branch_json(node), "branches": [nested(each, level + 1, deepest) for each in shown]}
