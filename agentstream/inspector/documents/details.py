"""Everything of one event: the step or run it belongs to, what was said, what can be done from there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentstream.inspector.documents.closed import refusal_document
from agentstream.inspector.documents.cutting import SHOWN, Cutter, Limits
from agentstream.inspector.documents.messages import LONGER, cut_message, redacted_in
from agentstream.inspector.documents.rows import INDEX, MARK, STEP, TYPE
from agentstream.inspector.documents.steps import attempt_document, question_document, run_document, step_document
from agentstream.sessions.events import Event, StepKey
from agentstream.sessions.views.rows import event_head
from agentstream.sessions.views.values import resolved_value

if TYPE_CHECKING:
    from agentstream.inspector.held import Told
    from agentstream.sessions.state import Run, Step

Branch = dict[str, Any]
"""`{"id", "at", "status"}` of a session that was forked here."""


class Details:
    """Makes the documents of a session's events."""

    def __init__(self, told: Told, branches: Sequence[Branch] = (), limits: Limits = SHOWN) -> None:
        self._told = told
        self._branches = branches
        self._limits = limits
        self._steps: dict[tuple[int, int], dict[str, Any]] = {}

    def of(self, index: int) -> dict[str, Any]:
        """The document of one event. IndexError where there is none."""
        event, row = self._told.events[index], self._told.rows[index]
        cutter = Cutter(self._limits)
        step = self._step_of(row[STEP], event)
        run = self._run_of(event) if step is None else None
        told_step = self._step(step, row[STEP], event, cutter) if step is not None else None
        told_run = run_document(run, cutter) if run is not None else None
        refusal = self._told.refused.get(index)
        value, cuts = cutter.cut(resolved_value(event, self._told.items) if refusal is None else None)
        return {
            "row": row,
            **event_head(event),
            "claim": event.claim,
            "mark": event.mark,
            "size": len(event.raw),
            "value": value,
            "cuts": cuts,
            "closed": refusal_document(refusal) if refusal is not None else None,
            "redacted": redacted_in(value),
            "step": told_step,
            "run": told_run,
            "message": self._message(event, row),
            "question": self._question(event),
            "forks": [branch for branch in self._branches if branch["at"] == index + 1],
            "forkable": {"at": index + 1, "edits": self._edits(event, step, run) if refusal is None else []},
            "commands": self._commands(index + 1),
        }

    def _step(self, step: Step, number: int, event: Event, cutter: Cutter) -> dict[str, Any]:
        """The step that an event is of, as it stood with the event's attempt; all its attempts are named."""
        key = StepKey.parse(event.key if event.type in ("step", "outcome") else event.key.rpartition("/")[0])
        until = key.attempt if key is not None else step.attempt
        tried = tuple(each for each in step.attempts if each.number <= until) or step.attempts
        if (number, until) not in self._steps:
            last = self._last_run
            status = last.status if last is not None else None
            then = replace(step, attempts=tried)
            told = step_document(then, number, status, self._told.prices, cutter)
            attempts = [attempt_document(each) for each in step.attempts]
            told |= {"attempts": attempts, "deltas": len(self._made_by(then, number, "delta"))}
            self._steps[number, until] = told
        return self._steps[number, until]

    def _made_by(self, step: Step, number: int, kind: str) -> list[int]:
        """The events of a type that a step's last attempt made: they stand between its start and its outcome."""
        outcome = step.outcome
        made = self._told.rows[step.last.start.index : outcome.index if outcome is not None else None]
        return [row[INDEX] for row in made if row[TYPE] == kind and row[STEP] == number and row[MARK] is None]

    @property
    def _last_run(self) -> Run | None:
        return next((run for run in reversed(list(self._told.runs.values())) if run.parent is None), None)

    # --- what it belongs to ------------------------------------------------------------------------------------------

    def _step_of(self, number: int | None, event: Event) -> Step | None:
        if number is None or event.mark is not None or number >= len(self._told.steps):
            return None
        return self._told.steps[number]

    def _run_of(self, event: Event) -> Run | None:
        if event.mark is not None:
            return None
        key = event.value.get("run", "") if event.type == "error" and isinstance(event.value, dict) else event.key
        return next((run for run in self._told.runs.values() if run.key == key), None)

    def _message(self, event: Event, row: Sequence[Any]) -> dict[str, Any] | None:
        if event.type == "message":
            return self._cut(resolved_value(event, self._told.items))
        step = self._step_of(row[STEP], event) if event.type in ("step", "delta", "outcome") else None
        if step is None:
            return None
        for index in self._made_by(step, row[STEP], "message")[-1:]:
            value = resolved_value(self._told.events[index], self._told.items)
            whole = {**self._cut(value), "index": index}
            return whole if event.type != "delta" else None
        return self._coming(step, row[STEP]) if step.outcome is None else None

    def _coming(self, step: Step, number: int) -> dict[str, Any] | None:
        """What an attempt that goes on has said so far, of which no message tells yet."""
        parts: dict[tuple[str, str], dict[str, Any]] = {}
        for index in self._made_by(step, number, "delta"):
            told = self._told.events[index].value
            value: dict[str, Any] = told if isinstance(told, dict) else {}
            kind, target, said = (str(value.get(name) or "") for name in ("kind", "target", "text"))
            grows = "arguments" if kind == "args" else "text"
            new = {"type": "tool_call", "id": target} if kind == "args" else {"type": kind}
            part = parts.setdefault((kind, target), {**new, grows: ""})
            part[grows] += said
            if kind == "args" and value.get("name"):
                part["name"] = value["name"]
        if not parts:
            return None
        made = {"role": "assistant", "parts": list(parts.values())}
        return {**self._cut(made), "coming": True}

    def _cut(self, message: Any) -> dict[str, Any]:
        return cut_message(message, Cutter(LONGER if self._limits == SHOWN else self._limits))

    def _question(self, event: Event) -> dict[str, Any] | None:
        if event.mark is not None or event.type not in ("question", "answer", "step", "outcome"):
            return None
        questions = self._told.questions
        if event.type == "answer":
            name = event.value.get("question") if isinstance(event.value, dict) else None
            found = questions.get(name) if isinstance(name, str) else None
        else:
            key = StepKey.parse(event.key)
            asked = (question for question in questions.values() if event.key == question.key)
            found = next(asked, None)
            if found is None and key is not None:
                found = next((q for q in questions.values() if _identity(q.key) == key.identity), None)
        return question_document(found) if found is not None else None

    # --- what can be done --------------------------------------------------------------------------------------------

    def _edits(self, event: Event, step: Step | None, run: Run | None) -> list[dict[str, Any]]:
        """What a fork can have otherwise here, with what was recorded."""
        if step is not None and step.outcome is not None and event.type in ("step", "outcome", "tool_call", "message"):
            value, cuts = Cutter(self._limits).cut(step.stored_result if step.error is None else None)
            number = self._told.rows[event.index][STEP]
            return [{"kind": "outcome", "step": number, "value": value, "cut": bool(cuts), "at": step.outcome.index}]
        if event.type == "message" and event.claim is None and event.mark is None:
            value, cuts = Cutter(self._limits).cut(resolved_value(event, self._told.items))
            return [{"kind": "message", "index": event.index, "value": value, "cut": bool(cuts), "at": event.index}]
        if run is not None and run.parent is None and event.type == "run" and run is self._last_run:
            value, cuts = Cutter(self._limits).cut(run.stored_arguments)
            return [{"kind": "input", "value": value, "agent": run.agent, "cut": bool(cuts), "at": event.index}]
        return []

    def _commands(self, at: int) -> dict[str, str]:
        name = shlex.quote(self._told.session)
        branch = shlex.quote(f"{self._told.session}-branch")
        return {
            "show": f"agentstream show {name}@{at}",
            "state": f"agentstream show {name}@{at} --state",
            "fork": f"agentstream fork {name}@{at} --as {branch}",
            "replay": f"agentstream replay {name} MODULE:AGENT --until {at}",
        }


def raw_document(event: Event, most: int | None = None) -> dict[str, Any]:
    """An event as it is stored; `valid` says whether it is a message in our form."""
    stored = event.raw[:most]
    try:
        text, valid = stored.decode("utf-8"), bool(event.type)
    except UnicodeDecodeError:
        text, valid = stored.decode("utf-8", "backslashreplace"), False
    return {"raw": text, "size": len(event.raw), "valid": valid}


def _identity(key: str) -> tuple[str, str, int] | None:
    place = StepKey.parse(key)
    return place.identity if place is not None else None
