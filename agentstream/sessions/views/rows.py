"""An event as one row: what it is, which step it belongs to, how that stands, what it took.

`Rows` starts from a folded session and can be fed the events that follow, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentstream.sessions.counting import counted
from agentstream.sessions.events import Event, StepKey, run_name
from agentstream.sessions.state import OPEN, State
from agentstream.sessions.views.models import KIND, asked_last, model_asked
from agentstream.sessions.views.values import message_text, plain, value_text, with_content_named

COLUMNS = ("index", "type", "step", "kind", "name", "status", "ms", "tokens", "mark", "value")
"""The columns of a table of events, in a pipe too."""

_Identity = tuple[str, str, int]
_FAILING = ("failed", "exhausted")


@dataclass(slots=True)
class Row:
    """One event to show. `step` is N of `step:N`; `ms` and `tokens` are told of outcomes, `model` of its steps."""

    event: Event
    step: int | None = None
    kind: str = ""
    name: str = ""
    status: str = ""
    ms: int | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    model: str = ""

    @property
    def failed(self) -> bool:
        return self.event.type == "error" or self.status in _FAILING

    def of_kind(self, kinds: frozenset[str]) -> bool:
        return self.event.type in kinds or (self.kind in kinds and bool(self.kind))

    def cells(self) -> list[str]:
        """All columns but the value."""
        event = self.event
        return [
            str(event.index),
            event.type or "?",
            "" if self.step is None else f"step:{self.step}",
            self.kind,
            self.name,
            self.status,
            "" if self.ms is None else str(self.ms),
            tokens(self.usage),
            event.mark or "",
        ]


class Rows:
    """Makes rows of a session's events. Knows the steps by their number and by their attempts' keys."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._learn()

    def _learn(self) -> None:
        state = self.state
        self._events = list(state.events)
        self._numbers: dict[_Identity, int] = {
            (step.run, step.lane, step.ordinal): number for number, step in enumerate(state.steps)
        }
        self._begun: dict[str, Event] = {}
        self._ended: dict[str, Event] = {}
        self._said: dict[str, Event] = {}
        for event in state.events:
            self._note(event)
        self._runs = {run.key: run.status for run in state.runs.values()}

    def _note(self, event: Event) -> None:
        """Where a key begins and ends; of two events with one key the one that counts, else the first."""
        if event.type == "message" and event.mark is None:
            self._said[event.key.rpartition("/")[0]] = event
            return
        known = self._begun if event.type in ("step", "run") else self._ended if event.type == "outcome" else None
        if known is not None and (event.mark is None or event.key not in known):
            known[event.key] = event

    def follow(self, event: Event) -> Row:
        """The row of an event that came after those known."""
        self._events.append(event)
        if event.mark is None:
            self._take(event)
        return self.row(event)

    def _take(self, event: Event) -> None:
        if event.type == "rewind":
            # rare, and it changes what counts
            self._events = counted(self._events).events
            self.state = State(self.state.session, self.state.incarnation, self._events)
            self._learn()
            return
        if event.type == "item":
            self.state = State(self.state.session, self.state.incarnation, self._events)
        self._note(event)
        value = event.value if event.type == "status" and isinstance(event.value, dict) else {}
        key = StepKey.parse(event.key) if event.type == "step" else None
        if key is not None:
            self._numbers.setdefault(key.identity, len(self._numbers))
        elif event.type == "run":
            self._runs[event.key] = "running"
        elif event.type == "status":
            self._runs[event.key] = str(value.get("status", ""))

    def row(self, event: Event) -> Row:
        """The row of a known event."""
        describe = _DESCRIBED.get(event.type)
        # a user's value, which may be large, is not looked at
        value: dict[str, Any] = event.value if describe is not None and isinstance(event.value, dict) else {}
        row = Row(event) if describe is None else describe(self, event, value)
        if event.mark is not None:
            row.step = None
        return row

    def text(self, row: Row, value: Any) -> str:
        """What a reader wants to see first of an event, in one line: `value` is the event's.

        Of a model's step that is what was asked last and by whom, of its outcome what the model said.
        """
        event = row.event
        if row.kind == KIND and isinstance(value, dict):
            told = asked_last(value, self.state.items) if event.type == "step" else self._answer(event)
            if told is not None:
                return told
        told = value_text(event, value)
        # what an engine tells of has neither: it stands in the messages and checkpoints
        return "" if told == "null" and row.kind in (KIND, "node") else told

    def _answer(self, event: Event) -> str | None:
        """What a model's step said, where a message of it tells."""
        said = self._said.get(event.key) if event.mark is None else None
        value = said.value if said is not None else None
        failed = isinstance(event.value, dict) and "error" in event.value
        return message_text(with_content_named(value)) if isinstance(value, dict) and not failed else None

    def _step(self, event: Event, value: dict[str, Any]) -> Row:
        outcome = self._ended.get(event.key)
        if outcome is not None and outcome.mark != event.mark:
            outcome = None  # one that was taken back from a step that still counts
        if outcome is None and ("result" in value or "error" in value):
            outcome = event  # it is told when it is over
        status = _outcome_status(outcome.value) if outcome is not None else self._unfinished(event, value)
        kind = plain(value.get("kind"))
        model = model_asked(value) if kind == KIND else ""
        return Row(event, self._number(event.key), kind, plain(value.get("name")), status, model=model)

    def _unfinished(self, event: Event, value: dict[str, Any]) -> str:
        if event.mark is not None:
            return ""
        key = StepKey.parse(event.key)
        status = self._runs.get(key.run) if key is not None and event.index >= self.state.inherited else None
        if status == "running":
            return "running"
        return "unknown" if status in OPEN and value.get("effect") == "once" else "unfinished"

    def _outcome(self, event: Event, value: dict[str, Any]) -> Row:
        begun = self._begun.get(event.key)
        start: dict[str, Any] = begun.value if begun is not None and isinstance(begun.value, dict) else {}
        is_run = begun is not None and begun.type == "run"
        usage = value.get("usage")
        return Row(
            event,
            None if is_run else self._number(event.key),
            "" if is_run else plain(start.get("kind")),
            plain(start.get("agent" if is_run else "name")),
            _outcome_status(value),
            milliseconds(begun, event),
            usage if isinstance(usage, dict) else {},
            model_asked(start) if start.get("kind") == KIND else "",
        )

    def _run(self, event: Event, value: dict[str, Any]) -> Row:
        status = self._runs.get(event.key, "") if event.mark is None else ""
        return Row(event, name=plain(value.get("agent")), status=status)

    def _status(self, event: Event, value: dict[str, Any]) -> Row:
        return Row(event, name=run_name(event.key), status=plain(value.get("status")))

    def _error(self, event: Event, value: dict[str, Any]) -> Row:
        return Row(event, name=plain(value.get("name")), status="failed")

    def _message(self, event: Event, value: dict[str, Any]) -> Row:
        return Row(event, self._number(event.key.rpartition("/")[0]), name=plain(value.get("role")))

    def _tool_call(self, event: Event, value: dict[str, Any]) -> Row:
        return Row(event, self._number(event.key.rpartition("/")[0]), name=plain(value.get("name")))

    def _delta(self, event: Event, value: dict[str, Any]) -> Row:
        return Row(event, self._number(event.key.rpartition("/")[0]), name=plain(value.get("kind")))

    def _number(self, key: str) -> int | None:
        parsed = StepKey.parse(key)
        return self._numbers.get(parsed.identity) if parsed is not None else None


_DESCRIBED = {
    "step": Rows._step,
    "outcome": Rows._outcome,
    "run": Rows._run,
    "status": Rows._status,
    "error": Rows._error,
    "message": Rows._message,
    "tool_call": Rows._tool_call,
    "delta": Rows._delta,
}


def _outcome_status(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return "failed" if "error" in value else "cancelled" if value.get("cancelled") else "finished"


def milliseconds(begun: Event | None, ended: Event) -> int | None:
    """Wall clock between two events, None where one has no time or the clock went back."""
    if begun is None:
        return None
    try:
        first, last = (datetime.fromisoformat(str(event.timestamp).replace("Z", "+00:00")) for event in (begun, ended))
        spent = round((last - first).total_seconds() * 1000)
    except (ValueError, TypeError):
        return None
    return spent if spent >= 0 else None


def tokens(usage: dict[str, Any]) -> str:
    """`input/output` of a step's usage; nothing where none was counted."""
    counted = [usage.get(name) for name in ("input_tokens", "output_tokens")]
    if not any(isinstance(amount, (int, float)) for amount in counted):
        return ""
    return "/".join(f"{amount:g}" if isinstance(amount, float) else str(amount or 0) for amount in counted)


def event_head(event: Event) -> dict[str, Any]:
    """What every event has, but for its value."""
    return {
        "index": event.index,
        "position": str(event.position),
        "type": event.type,
        "key": event.key,
        "operation": event.operation,
        "timestamp": event.timestamp,
    }


def event_json(row: Row, value: Any) -> dict[str, Any]:
    """An event as `--json` gives it. What is not known is left out."""
    event = row.event
    derived = {
        "step": row.step,
        "kind": row.kind or None,
        "name": row.name or None,
        "status": row.status or None,
        "ms": row.ms,
        "usage": row.usage or None,
        "claim": event.claim,
        "mark": event.mark,
    }
    return {
        **event_head(event),
        **{name: part for name, part in derived.items() if part is not None},
        "value": value,
    }
