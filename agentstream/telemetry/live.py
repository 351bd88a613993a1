"""Spans and metrics of runs as they go, in the process that runs them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from opentelemetry import metrics, trace
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode

from agentstream.agents.stops import Stop
from agentstream.errors import RunWaiting
from agentstream.sessions.family import SPAWN, parent_of
from agentstream.telemetry import semantics
from agentstream.telemetry.engines import EngineRun, Tasks
from agentstream.telemetry.spans import links_before, run_told, say_outcome
from agentstream.telemetry.traces import write_trace

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from agentstream.agents.calls import StepCall
    from agentstream.agents.worker import Worker
    from agentstream.client import AsyncClient, Client
    from agentstream.sessions.state import State

C = TypeVar("C", bound="Client | AsyncClient")

SCOPE = "agentstream"
_KEPT = 4096
"""Steps that began children, whose spans are known to link those to."""
_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_TOKEN_BUCKETS = [float(4**n) for n in range(14)]


def instrument(
    client: C,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    content: bool = False,
) -> C:
    """From here on each run and step that is made with this client (both its faces) is a span, and model calls are
    metrics. Returns the client.

    Without providers the global ones are used. A run is a child of the span it is called in, and is the current span
    of its code; so is a `@step` of its function. What a record serves makes no span, a replay none at all. `content`:
    inputs and results stand in the spans, as they are recorded. Needs the extra `otel` (ImportError).
    """
    client._core.observer = _Observer(
        trace.get_tracer(SCOPE, tracer_provider=tracer_provider),
        metrics.get_meter(SCOPE, meter_provider=meter_provider),
        content,
    )
    return client


def uninstrument(client: Client | AsyncClient) -> None:
    """Ends what `instrument` began, for runs that begin later."""
    client._core.observer = None


class _Begun(NamedTuple):
    span: Span
    attributes: semantics.Attributes
    moment: float


class _Observer:
    """Where runs and steps are in the trace. Safe to use from any thread and loop."""

    def __init__(self, tracer: trace.Tracer, meter: metrics.Meter, content: bool) -> None:
        self._tracer = tracer
        self._content = content
        self._begun: dict[StepCall, _Begun] = {}
        self._spawned: OrderedDict[tuple[str, str], SpanContext] = OrderedDict()
        self._tasks = Tasks()
        self._lock = threading.Lock()
        self._durations = meter.create_histogram(
            semantics.DURATION,
            "s",
            "How long a model call takes",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._tokens = meter.create_histogram(
            semantics.TOKENS,
            "{token}",
            "Tokens that a model call takes and gives",
            explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS,
        )

    # --- runs --------------------------------------------------------------------------------------------------------

    @contextmanager
    def run(self, worker: Worker, key: str, agent: str, *, resumed: bool) -> Iterator[None]:
        told = run_told(worker.state, key, agent, resumed=resumed)
        with self._tracer.start_as_current_span(
            semantics.run_name(agent),
            attributes=told,
            links=self._links(worker, key),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if key == worker.run:
                worker.trace = write_trace(span.get_span_context())
            try:
                yield
            except BaseException as error:
                _say(span, error.error if isinstance(error, Stop) else error)
                raise
            span.set_attribute("agentstream.run.status", "finished")

    def _links(self, worker: Worker, key: str) -> list[Link]:
        """To the run that this one goes on from, or that its fork shares, and to the step that spawned the session."""
        if key != worker.run:
            return []  # a run in a run is its child
        state = worker.state
        links = links_before(state, worker.recorded)
        parent = parent_of(state)
        spawned = self._spawned.get((parent.session, parent.step)) if parent is not None else None
        return [*links, Link(spawned, {"agentstream.link": "parent"})] if spawned is not None else links

    def engine(self, state: State, key: str, agent: str, *, resumed: bool) -> EngineRun:
        return EngineRun(self._tracer, self._tasks, self._measure, state, key, agent, resumed=resumed)

    def told(self, session: str, key: str, value: dict[str, Any]) -> None:
        kind, name = str(value.get("kind")), str(value.get("name"))
        told = semantics.step_attributes(session, key, kind, name, None, None)
        span = self._tracer.start_span(semantics.step_name(kind, name, told), attributes=told)
        say_outcome(span, value)
        span.end()

    # --- steps -------------------------------------------------------------------------------------------------------

    def began(self, call: StepCall) -> None:
        worker = call.worker
        told = semantics.step_attributes(worker.session, call.key, call.kind, call.name, call.data, call.code)
        if self._content:
            told |= semantics.input_content(told, call.data)
        name, kind = semantics.step_name(call.kind, call.name, told), semantics.step_kind(told)
        above = None
        if worker.found:
            task = worker.run.rpartition(":")[2]
            above = self._tasks.above(worker.session, task)
            if call.kind == "model":
                self._tasks.model(worker.session, task)
        span = self._tracer.start_span(name, above, kind=kind, attributes=told)
        with self._lock:
            self._begun[call] = _Begun(span, told, time.perf_counter())
            if call.kind == SPAWN:
                self._spawned[worker.session, call.key] = span.get_span_context()
                while len(self._spawned) > _KEPT:
                    self._spawned.popitem(last=False)

    def ended(self, call: StepCall, value: dict[str, Any] | None) -> None:
        with self._lock:
            begun = self._begun.pop(call, None)
        if begun is None:
            return
        span, value = begun.span, value or {}
        told = say_outcome(span, value)
        if self._content and "result" in value:
            span.set_attributes(semantics.result_content(begun.attributes, value["result"]))
        if call.kind == "model" and value:
            self._measure({**begun.attributes, **told}, time.perf_counter() - begun.moment)
        span.end()

    def within(self, call: StepCall, body: Callable[[], Any], *, is_async: bool) -> Callable[[], Any]:
        begun = self._begun.get(call)
        if begun is None:
            return body
        span = begun.span

        def here() -> Any:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                return body()

        async def awaited() -> Any:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                return await body()

        return awaited if is_async else here

    def _measure(self, told: semantics.Attributes, seconds: float) -> None:
        by = semantics.metric_attributes(told)
        self._durations.record(seconds, by)
        for kind in ("input", "output"):
            count = told.get(f"gen_ai.usage.{kind}_tokens")
            if count is not None:
                self._tokens.record(count, {**by, "gen_ai.token.type": kind})


def _say(span: Span, error: BaseException) -> None:
    """How a run ended that did not return. To wait for a person, and to be interrupted, is no failure of it."""
    if isinstance(error, RunWaiting):
        span.set_attribute("agentstream.run.status", "waiting")
        return
    failed = isinstance(error, Exception)
    span.set_attribute("agentstream.run.status", "failed" if failed else "interrupted")
    span.set_attribute(semantics.ERROR, type(error).__name__)
    if failed:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
