"""What spans of runs and steps say as they go, whoever runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, Span, Status, StatusCode

from agentstream.sessions.positions import Position
from agentstream.telemetry import semantics
from agentstream.telemetry.traces import read_trace

if TYPE_CHECKING:
    from agentstream.sessions.state import Run, State


def run_told(state: State, key: str, agent: str, *, resumed: bool) -> semantics.Attributes:
    """Of a run that begins, or goes on, where the session now ends."""
    told = semantics.run_attributes(state.session, state.incarnation, key, agent)
    begins = state.events[-1].position if state.index else Position(state.session, state.incarnation, 0)
    told |= {"agentstream.position": str(begins), "agentstream.run.resumed": resumed}
    if state.lineage is not None:
        told |= {"agentstream.fork.source": state.lineage.source, "agentstream.fork.at": state.lineage.count}
    return told


def links_before(state: State, recorded: Run | None) -> list[Link]:
    """To the run that is gone on with, or that a fork shares with its source."""
    recorded = recorded or (state.run if state.lineage is not None else None)
    told = read_trace(recorded.start.value.get("trace")) if recorded is not None else None
    if recorded is None or told is None:
        return []
    return [Link(told, {"agentstream.link": "fork" if recorded.start.index < state.inherited else "resumed"})]


def say_outcome(span: Span, value: dict[str, Any]) -> semantics.Attributes:
    """Says on a step's span what came of it; what was said."""
    told = semantics.outcome_attributes(value)
    span.set_attributes(told)
    error = semantics.error_of(value)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error[1]))
    return told
