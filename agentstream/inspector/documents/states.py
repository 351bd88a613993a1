"""What the first events of a session amount to, and what the last of them changed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from agentstream.inspector.documents.cutting import Cutter, Limits
from agentstream.inspector.documents.steps import status_of
from agentstream.sessions.diff import diff
from agentstream.sessions.prices import Prices, cost_of
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.state import State
from agentstream.sessions.views.folded import cost_json, run_json

_RUNS = Limits(2_000, 100, 50_000)
"""Of the arguments and results of all runs: they are whole in the details of their events."""


def state_document(state: State, prices: Prices, *, with_diff: bool = True) -> dict[str, Any]:
    """The state at a cut, and the operations (RFC 6902) from the state one event before."""
    told = _told(state, prices)
    told["diff"] = []
    if with_diff and state.index:
        before = _told(state.cut(state.index - 1), prices)
        told["diff"] = diff(_compared(before), _compared(told))
    return told


def _compared(told: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in told.items() if name not in ("at", "cuts", "diff")}


def _told(state: State, prices: Prices) -> dict[str, Any]:
    cutter = Cutter(_RUNS)
    cost = cost_of(state.of_type("outcome"), prices)
    runs, cuts = cutter.cut(
        [run_json(run) for run in state.runs.values()],
        "/runs",
    )
    counts = Counter(status_of(step, state.status) for step in state.steps)
    return {
        "at": state.index,
        "session": state.session,
        "title": state.title,
        "tags": state.tags,
        "status": state.status,
        "runs": runs,
        "steps": {"total": len(state.steps), **dict(sorted(counts.items()))},
        "unresolved": [{"key": step.key, "name": step.name} for step in unknown_steps(state)]
        if state.status != "running"
        else [],
        "open": [key for key, question in state.questions.items() if question.status == "open"],
        "messages": [event.index for event in state.of_type("message")],
        "usage": state.usage,
        "cost": cost_json(cost),
        "cuts": cuts,
    }
