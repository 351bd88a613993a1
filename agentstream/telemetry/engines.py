"""Spans of what an engine (a published graph) tells of: its run, and the nodes, model and tool calls in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from agentstream.telemetry import semantics
from agentstream.telemetry.spans import links_before, run_told, say_outcome
from agentstream.telemetry.traces import write_trace

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from agentstream.sessions.state import State

Measure = Callable[[semantics.Attributes, float], None]


class Tasks:
    """The spans of tasks that work now, by session and task. Safe to use from any thread and loop."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], tuple[Span, Span]] = {}
        """The task's own, and that of the run it is in."""
        self._models: dict[tuple[str, str], int] = {}

    def add(self, session: str, task: str, span: Span, run: Span) -> None:
        self._spans[session, task] = span, run

    def remove(self, session: str, task: str, span: Span) -> None:
        if self._spans.get((session, task), (None,))[0] is span:
            self._spans.pop((session, task), None)
            self._models.pop((session, task), None)

    def above(self, session: str, task: str) -> Context | None:
        """Where a span in a task hangs: at the task's, unless the code made one of its own. None: where it is made."""
        span, run = self._spans.get((session, task), (None, None))
        if span is None or trace.get_current_span() not in (run, trace.INVALID_SPAN):
            return None
        return trace.set_span_in_context(span)

    def model(self, session: str, task: str) -> None:
        """A model call in a task is a step of its own."""
        if (session, task) in self._spans:
            self._models[session, task] = self.models(session, task) + 1

    def models(self, session: str, task: str) -> int:
        return self._models.get((session, task), 0)


class _Begun(NamedTuple):
    span: Span
    attributes: semantics.Attributes
    moment: float
    task: str
    models: int


class EngineRun:
    """One run of an engine (`agents/observing.py`: Watched)."""

    def __init__(
        self, tracer: trace.Tracer, tasks: Tasks, measure: Measure, state: State, key: str, agent: str, *, resumed: bool
    ) -> None:
        self._tracer = tracer
        self._tasks = tasks
        self._measure = measure
        self._session = state.session
        self._begun: dict[str, _Begun] = {}
        self._lock = threading.Lock()
        self._span = tracer.start_span(
            semantics.run_name(agent),
            attributes=run_told(state, key, agent, resumed=resumed),
            links=links_before(state, state.runs.get(key)),
        )
        self.trace = write_trace(self._span.get_span_context())

    @contextmanager
    def current(self) -> Iterator[None]:
        with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
            yield

    def began(self, key: str, task: str, above: str | None, kind: str, name: str, provider: str | None) -> None:
        told = semantics.step_attributes(self._session, key, kind, name, {"model": name}, None)
        if provider is not None:
            told["gen_ai.provider.name"] = provider
        context = self._tasks.above(self._session, above) if above is not None else None
        span = self._tracer.start_span(
            semantics.step_name(kind, name, told),
            context or trace.set_span_in_context(self._span),
            kind=semantics.step_kind(told),
            attributes=told,
        )
        if kind == "node":
            self._tasks.add(self._session, task, span, self._span)
        with self._lock:
            self._begun[key] = _Begun(span, told, time.perf_counter(), task, self._tasks.models(self._session, task))

    def ended(self, key: str, value: dict[str, Any] | None) -> None:
        with self._lock:
            begun = self._begun.pop(key, None)
        if begun is None:
            return
        span, value = begun.span, value or {}
        told = say_outcome(span, value)
        is_model = begun.attributes["agentstream.step.kind"] == "model"
        if is_model and value and self._tasks.models(self._session, begun.task) == begun.models:
            self._measure({**begun.attributes, **told}, time.perf_counter() - begun.moment)
        self._tasks.remove(self._session, begun.task, span)
        span.end()

    def end(self, status: str, error: BaseException | None) -> None:
        for key in list(self._begun):
            self.ended(key, None)
        self._span.set_attribute("agentstream.run.status", status)
        if error is not None:
            self._span.set_attribute(semantics.ERROR, type(error).__name__)
        if status == "failed":
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()
