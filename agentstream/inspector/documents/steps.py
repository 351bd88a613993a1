"""Steps, runs and questions as the page shows them."""

from __future__ import annotations

from typing import Any

from agentstream.errors import AgentStreamError
from agentstream.inspector.documents.cutting import Cut, Cutter
from agentstream.sessions import moments
from agentstream.sessions.events import Event
from agentstream.sessions.prices import Prices, cost_of
from agentstream.sessions.questions import Question
from agentstream.sessions.state import Run, Step
from agentstream.sessions.steps import Attempt, mapping, text
from agentstream.sessions.views.rows import milliseconds


def step_document(step: Step, number: int, run_status: str | None, prices: Prices, cutter: Cutter) -> dict[str, Any]:
    """One step, with what it was asked and what came of it; `run_status` is the last run's."""
    start, outcome = step.last.start, step.outcome
    usage = step.usage
    cost = cost_of([outcome], prices) if outcome is not None else None
    cuts: list[Cut] = []
    told: dict[str, Any] = {
        "number": number,
        "key": step.key,
        "run": step.run,
        "lane": step.lane,
        "ordinal": step.ordinal,
        "kind": step.kind,
        "name": step.name,
        "effect": step.effect,
        "status": status_of(step, run_status),
        "attempts": [attempt_document(attempt) for attempt in step.attempts],
        "start": start.index,
        "outcome": outcome.index if outcome is not None else None,
        "at": at(start),
        "ended": at(outcome),
        "ms": milliseconds(start, outcome) if outcome is not None else None,
        "error": _error(step.error),
        "usage": usage,
        "model": str(usage["model"]) if usage.get("model") else None,
        "cost": None
        if cost is None or not cost.calls
        else {"dollars": cost.dollars if cost.known else None, "unpriced": list(cost.unpriced)},
        "code": step.code,
        "fingerprint": step.fingerprint,
        "idempotencyKey": text(start, "idempotency_key") or None,
    }
    told["input"], found = cutter.cut(step.stored_input, "/input")
    cuts += found
    if outcome is not None and step.error is None:
        told["result"], found = cutter.cut(step.stored_result, "/result")
        cuts += found
    return {**told, "cuts": cuts}


def status_of(step: Step, run_status: str | None) -> str:
    """How a step stands: one that is not finished, in a run that runs no more, is unfinished or unknown."""
    if step.status != "running" or run_status == "running":
        return step.status
    return "unknown" if step.effect == "once" else "unfinished"


def run_document(run: Run, cutter: Cutter) -> dict[str, Any]:
    """One run, with its call and what it returned."""
    told: dict[str, Any] = {
        "id": run.id,
        "agent": run.agent,
        "status": run.status,
        "parent": run.parent,
        "start": run.start.index,
        "outcome": run.outcome.index if run.outcome is not None else None,
        "at": at(run.start),
        "ended": at(run.outcome),
        "error": _error(run.error),
    }
    told["arguments"], cuts = cutter.cut(run.stored_arguments, "/arguments")
    if run.outcome is not None and run.error is None:
        told["result"], found = cutter.cut(run.stored_result, "/result")
        cuts = cuts + found
    return {**told, "cuts": cuts}


def question_document(question: Question) -> dict[str, Any]:
    """A question, and the answer that counts."""
    given = question.answer
    return {
        "key": question.key,
        "status": "expired" if question.status == "open" and question.is_over(moments.now()) else question.status,
        "kind": question.kind,
        "prompt": question.prompt,
        "choices": question.choices,
        "schema": question.schema,
        "asked": in_ms(question.asked),
        "expires": in_ms(question.expires),
        "of": question.step,
        "arguments": question.arguments,
        "answer": None if given is None else {"value": given.value, "by": given.by, "index": given.event.index},
        "refused": [
            {"index": each.event.index, "by": each.by, "reason": each.reason, "detail": each.detail}
            for each in question.answers
            if each.reason is not None
        ],
    }


def at(event: Event | None) -> int | None:
    """When an event was written, in milliseconds since 1970."""
    return in_ms(moments.read(event.timestamp)) if event is not None else None


def in_ms(moment: Any) -> int | None:
    return round(moment.timestamp() * 1000) if moment is not None else None


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """One attempt of a step: its events, and how it ended."""
    outcome = attempt.outcome
    error = mapping(outcome, "error") or None
    cancelled = _says(outcome, "cancelled")
    return {
        "number": attempt.number,
        "start": attempt.start.index,
        "outcome": outcome.index if outcome is not None else None,
        "status": "running" if outcome is None else "failed" if error else "cancelled" if cancelled else "finished",
        "error": _error(error),
    }


def _says(event: Event | None, name: str) -> bool:
    """Whether a field of an event's value is there and true."""
    try:
        value = event.value if event is not None else None
    except AgentStreamError:
        return False
    return bool(isinstance(value, dict) and value.get(name))


def _error(error: dict[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    shown = {name: error[name] for name in ("module", "args", "fields") if error.get(name)}
    name, said = error.get("name"), error.get("text")
    return {"name": str(name or ""), "text": str(said or "")[:20_000], **shown}
