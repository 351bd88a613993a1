"""What a session's events amount to, as documents: in a list, and whole at a cut."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentstream.sessions.comparing import told
from agentstream.sessions.events import OWN_TYPES
from agentstream.sessions.prices import Cost
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.state import State
from agentstream.sessions.steps import Step
from agentstream.sessions.views.values import stored_value

if TYPE_CHECKING:
    from agentstream.sessions.births import Lineage
    from agentstream.sessions.catalog import Summary
    from agentstream.sessions.steps import Run


def state_json(state: State, *, sealed: bool) -> dict[str, Any]:
    """What a session amounts to, as JSON."""
    return {
        "session": state.session,
        "incarnation": state.incarnation,
        "index": state.index,
        "title": state.title,
        "tags": state.tags,
        "status": state.status,
        "sealed": sealed,
        "lineage": lineage_json(state.lineage),
        "runs": [run_json(run) for run in state.runs.values()],
        "steps": [_step_json(number, step) for number, step in enumerate(state.steps)],
        "unresolved": [step.key for step in unknown_steps(state)] if state.status != "running" else [],
        "messages": [{"index": event.index, **mapping(event.value)} for event in state.of_type("message")],
        "usage": state.usage,
    }


def run_json(run: Run) -> dict[str, Any]:
    """A run, with its call and what it returned as they are stored."""
    return {
        "id": run.id,
        "agent": run.agent,
        "status": run.status,
        "parent": run.parent,
        "index": run.start.index,
        "arguments": run.stored_arguments,
        "result": run.stored_result,
        "error": run.error,
    }


def lineage_json(lineage: Lineage | None) -> dict[str, Any] | None:
    """Where a fork is from."""
    if lineage is None:
        return None
    return {"source": lineage.source, "count": lineage.count, "replaced": list(lineage.replaced)}


def summary_json(summary: Summary, time: Callable[[datetime], Any]) -> dict[str, Any]:
    """One session of a list; `time` writes when it was made and last changed."""
    return {
        "id": summary.id,
        "title": summary.title,
        "status": summary.status,
        "agent": summary.agent,
        "parent": summary.parent,
        "created": time(summary.created),
        "updated": time(summary.updated),
        "events": summary.events,
        "sealed": summary.sealed,
        "tags": dict(summary.tags),
    }


def comparable(state: State) -> dict[str, Any]:
    """The state as JSON, without what tells one session from another: its ids and where its events stand."""
    runs = [
        {"agent": run.agent, "status": run.status, "arguments": run.stored_arguments, "result": run.stored_result}
        | ({"error": {name: run.error.get(name) for name in ("name", "text")}} if run.error else {})
        for run in state.runs.values()
    ]
    steps = [{"kind": step.kind, "name": step.name, **told(step)} for step in state.steps]
    messages = [{name: value for name, value in mapping(message).items() if name != "id"} for message in state.messages]
    own = {
        event.key or str(event.index): stored_value(event)
        for event in state.events
        if event.mark is None and event.type not in OWN_TYPES
    }
    return {
        "title": state.title,
        "tags": state.tags,
        "status": state.status,
        "runs": runs,
        "steps": steps,
        "messages": messages,
        "events": own,
        "usage": state.usage,
    }


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def _step_json(number: int, step: Step) -> dict[str, Any]:
    return {
        "step": number,
        "key": step.key,
        "kind": step.kind,
        "name": step.name,
        "effect": step.effect,
        "status": step.status,
        "attempts": step.attempt,
        "index": step.last.start.index,
    }


def cost_json(cost: Cost) -> dict[str, Any]:
    """What calls cost; `dollars` is None where a price is not known."""
    return {
        "dollars": cost.dollars if cost.known else None,
        "calls": cost.calls,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "unpriced": list(cost.unpriced),
    }
