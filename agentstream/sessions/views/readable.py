"""A session as one document to read: JSON with everything resolved, or Markdown.

Whatever was recorded stands in code blocks whose fence no text in them can close, so that
nothing a model or a stranger wrote is taken for Markdown or HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentstream.sessions.prices import Prices, cost_of_session
from agentstream.sessions.steps import error_line
from agentstream.sessions.views.folded import state_json
from agentstream.sessions.views.rows import Rows, event_json, tokens
from agentstream.sessions.views.text import clean
from agentstream.sessions.views.values import message_text, resolved_value, with_content_named

if TYPE_CHECKING:
    from agentstream.sessions.state import State
    from agentstream.sessions.steps import Step

_TICKS = re.compile(r"`{3,}")
_MARKUP = re.compile(r"([\\`*_\[\]<>&|~])")


def as_document(state: State, *, sealed: bool) -> dict[str, Any]:
    """What the session amounts to, and its events with the lists they refer to put in."""
    rows = Rows(state)
    events = [event_json(rows.row(event), resolved_value(event, state.items)) for event in state.events]
    return {**state_json(state, sealed=sealed), "events": events}


def as_markdown(state: State, prices: Prices, *, sealed: bool) -> Iterator[str]:
    """The session line by line: what it is, then messages, runs and steps in their order."""
    yield f"# {_text(state.title or state.session)}"
    yield ""
    yield f"- session: {_code(state.session)}"
    if state.lineage is not None:
        yield f"- fork of: {_code(f'{state.lineage.source}@{state.lineage.count}')}"
    yield f"- status: {_text(state.status or 'none')}" + (" (sealed)" if sealed else "")
    yield f"- events: {state.index}, steps: {len(state.steps)}"
    cost = cost_of_session(state, prices)
    if cost.calls:
        yield f"- model calls: {cost.calls}, tokens: {cost.input_tokens} in, {cost.output_tokens} out, cost: {cost}"
    for name, value in sorted(state.tags.items()):
        yield f"- {_text(name)}: {_code(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}"
    steps = {step.key: (number, step) for number, step in enumerate(state.steps)}
    for event in state.events:
        if event.mark is not None:
            continue
        if event.type == "run":
            yield from _run(event.value, event.timestamp)
        elif event.type == "message":
            value = event.value if isinstance(event.value, dict) else {}
            yield from _block(f"## {_text(str(value.get('role', 'message')))}", message_text(with_content_named(value)))
        elif event.type == "step" and event.key in steps:
            yield from _step(*steps[event.key])
        elif event.type == "error" and isinstance(event.value, dict):
            yield from _block("## error", error_line(event.value))
    for run in state.runs.values():
        if run.outcome is not None and run.parent is None:
            yield from _block(f"## {_text(run.agent)} returned", _json(run.stored_result), "json")


def _run(value: Any, moment: Any) -> Iterator[str]:
    agent = value.get("agent") if isinstance(value, dict) else ""
    yield ""
    yield f"## run of {_text(str(agent))}" + (f", {_text(_time(moment))}" if moment else "")


def _time(moment: Any) -> str:
    try:
        return datetime.fromisoformat(str(moment).replace("Z", "+00:00")).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return str(moment)


def _step(number: int, step: Step) -> Iterator[str]:
    used = tokens(step.usage)
    about = ", ".join(part for part in (step.status, f"{used} tokens" if used else "") if part)
    yield from _block(
        f"### step:{number} {_text(step.kind)} {_text(step.name)} ({about})", _json(step.stored_input), "json"
    )
    if step.error is not None:
        yield from _fenced(error_line(step.error), "text")
    elif step.outcome is not None:
        yield from _fenced(_json(step.stored_result), "json")


def _block(head: str, text: str, language: str = "text") -> Iterator[str]:
    yield ""
    yield head
    yield from _fenced(text, language)


def _fenced(text: str, language: str) -> Iterator[str]:
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    yield ""
    yield f"{fence}{language}"
    yield from (clean(line) for line in text.split("\n"))
    yield fence


def _json(value: Any) -> str:
    try:
        return json.dumps(with_content_named(value), ensure_ascii=False, indent=2)
    except (RecursionError, ValueError, TypeError):
        return "(cannot be shown)"


def _text(text: str) -> str:
    """Plain text in a line of Markdown."""
    return _MARKUP.sub(r"\\\1", clean(text))


def _code(text: str) -> str:
    """Code in a line of Markdown, closed by more ticks than it holds."""
    text = clean(text)
    ticks = "`" * (max((len(found) for found in re.findall(r"`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{ticks}{space}{text}{space}{ticks}"
