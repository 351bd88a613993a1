"""A recorded session as spans, with the times of the record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from agentstream.sessions.state import State
from agentstream.telemetry import semantics
from agentstream.telemetry.live import SCOPE
from agentstream.telemetry.traces import read_trace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import TracerProvider

    from agentstream.session import Session
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import Run, Step
    from agentstream.sessions.steps import Attempt


def export_spans(
    session: Session | State,
    *,
    tracer_provider: TracerProvider | None = None,
    content: bool = False,
    links: Iterable[SpanContext] = (),
) -> SpanContext:
    """Makes the spans of a recorded session: one of itself, below it its runs, below each its steps, each attempt one.

    `session` is a Session, or a State (of an AsyncSession: `await session.state()`). What a fork shares with its source
    is the source's: it is left out, and the fork's span is linked to `links`, which is what this returned of the
    source. A run that was made under `instrument` links to the span it had then. `content` as for `instrument`.
    Returns the session's span, as a link takes it. NotFound if there is no such session.
    """
    state = session if isinstance(session, State) else session.state()
    return _Export(state, trace.get_tracer(SCOPE, tracer_provider=tracer_provider), content).all(links)


class _Export:
    """One session being told."""

    def __init__(self, state: State, tracer: trace.Tracer, content: bool) -> None:
        self._state = state
        self._tracer = tracer
        self._content = content
        self._own = state.inherited
        self._runs: dict[str, Context] = {}

    def all(self, links: Iterable[SpanContext]) -> SpanContext:
        state = self._state
        own = state.events[self._own :]
        begin, end = _nanoseconds(own[0].timestamp), _nanoseconds(own[-1].timestamp)
        told = {
            semantics.CONVERSATION: state.session,
            "agentstream.incarnation": state.incarnation,
            "agentstream.position": str(state.events[-1].position),
            "agentstream.events": state.index,
        }
        if state.status is not None:
            told["agentstream.run.status"] = state.status
        if state.lineage is not None:
            told |= {"agentstream.fork.source": state.lineage.source, "agentstream.fork.at": state.lineage.count}
        span = self._tracer.start_span(
            f"session {state.session}",
            attributes=told,
            start_time=begin,
            links=[Link(link, {"agentstream.link": "fork"}) for link in links],
        )
        whole = trace.set_span_in_context(span)
        runs = list(state.runs.values())
        steps = state.steps
        for run in runs:
            self._run(run, steps, whole)
        for step in steps:
            self._step(step, self._runs.get(step.run, whole))
        span.end(max(end, begin))
        return span.get_span_context()

    def _run(self, run: Run, steps: list[Step], whole: Context) -> None:
        last = self._last_of(run, steps)
        if last.index < self._own:
            return
        state = self._state
        told = semantics.run_attributes(state.session, state.incarnation, run.key, run.agent)
        told |= {"agentstream.run.status": run.status, "agentstream.position": str(run.start.position)}
        told |= {"agentstream.event.index": run.start.index}
        live = read_trace(run.start.value.get("trace"))
        begin = run.start if run.start.index >= self._own else state.events[self._own]
        span = self._tracer.start_span(
            semantics.run_name(run.agent),
            self._runs.get(run.parent or "", whole),
            attributes=told,
            start_time=_nanoseconds(begin.timestamp),
            links=[Link(live, {"agentstream.link": "live"})] if live is not None else [],
        )
        if run.error is not None and run.status == "failed":
            span.set_attribute(semantics.ERROR, str(run.error.get("name", "_OTHER")))
            span.set_status(Status(StatusCode.ERROR, str(run.error.get("text", ""))))
        self._runs[run.key] = trace.set_span_in_context(span)
        span.end(max(_nanoseconds(last.timestamp), _nanoseconds(begin.timestamp)))

    def _last_of(self, run: Run, steps: list[Step]) -> Event:
        """The event that ended a run, as far as it went."""
        found = [run.start, *([run.outcome] if run.outcome is not None else [])]
        found += [event for event in self._state.of_type("status") if event.key == run.key]
        below = f"{run.key}/"
        found += [step.outcome or step.last.start for step in steps if step.key.startswith(below)]
        return max(found, key=lambda event: event.index)

    def _step(self, step: Step, above: Context) -> None:
        for attempt in step.attempts:
            if attempt.start.index >= self._own:
                self._attempt(step, attempt, above)

    def _attempt(self, step: Step, attempt: Attempt, above: Context) -> None:
        start, outcome = attempt.start, attempt.outcome
        session = self._state.session
        told = semantics.step_attributes(session, start.key, step.kind, step.name, step.stored_input, step.code)
        told |= {"agentstream.event.index": start.index, "agentstream.position": str(start.position)}
        last = attempt is step.last
        if self._content and last:
            told |= semantics.input_content(told, step.stored_input)
            told |= semantics.result_content(told, step.stored_result) if outcome is not None else {}
        value: Any = outcome.value if outcome is not None else {}
        told |= semantics.outcome_attributes(value)
        begin = _nanoseconds(start.timestamp)
        span = self._tracer.start_span(
            semantics.step_name(step.kind, step.name, told),
            above,
            kind=semantics.step_kind(told),
            attributes=told,
            start_time=begin,
        )
        error = semantics.error_of(value)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error[1]))
        span.end(max(_nanoseconds(outcome.timestamp), begin) if outcome is not None else begin)


def _nanoseconds(timestamp: str | None) -> int:
    """Since 1970; 0 where an event says no moment, or none that can be read."""
    try:
        moment = datetime.fromisoformat((timestamp or "").replace("Z", "+00:00"))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
