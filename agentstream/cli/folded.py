"""`agentstream show --state`: what a session's events amount to at a cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

from agentstream.cli.output import Output, shortened
from agentstream.cli.printing import headline
from agentstream.cli.store import Opened
from agentstream.cli.text import clean
from agentstream.cli.values import compact, stored_value, value_text, with_content_named
from agentstream.sessions.comparing import told
from agentstream.sessions.events import OWN_TYPES
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.state import State, Step


def print_state(output: Output, opened: Opened, at: int, most: int | None, *, full: bool) -> None:
    """The state after the first `at` events. A person gets at most `most` characters of a value."""
    state = opened.state
    if at != state.index:
        opened = Opened(opened.session, state.cut(at), sealed=False)
    if output.form == "text":
        with output.paged():
            _print_text(output, opened, most, full=full)
    elif output.form == "json":
        output.document("state", state_json(opened))
    else:
        output.object(state_json(opened))


def state_json(opened: Opened) -> dict[str, Any]:
    """What a session amounts to, as JSON."""
    state = opened.state
    from_ = state.lineage
    return {
        "session": state.session,
        "incarnation": state.incarnation,
        "index": state.index,
        "title": state.title,
        "tags": state.tags,
        "status": state.status,
        "sealed": opened.sealed,
        "lineage": None
        if from_ is None
        else {"source": from_.source, "count": from_.count, "replaced": from_.replaced},
        "runs": [
            {
                "id": run.id,
                "agent": run.agent,
                "status": run.status,
                "parent": run.parent,
                "index": run.start.index,
                "arguments": run.stored_arguments,
                "result": run.stored_result,
                "error": run.error,
            }
            for run in state.runs.values()
        ],
        "steps": [_step_json(number, step) for number, step in enumerate(state.steps)],
        "unresolved": [step.key for step in unknown_steps(state)] if state.status != "running" else [],
        "messages": [{"index": event.index, **_mapping(event.value)} for event in state.of_type("message")],
        "usage": state.usage,
    }


def comparable(state: State) -> dict[str, Any]:
    """The state as JSON, without what tells one session from another: its ids and where its events stand."""
    runs = [
        {"agent": run.agent, "status": run.status, "arguments": run.stored_arguments, "result": run.stored_result}
        | ({"error": {name: run.error.get(name) for name in ("name", "text")}} if run.error else {})
        for run in state.runs.values()
    ]
    steps = [{"kind": step.kind, "name": step.name, **told(step)} for step in state.steps]
    messages = [
        {name: value for name, value in _mapping(message).items() if name != "id"} for message in state.messages
    ]
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


def _mapping(value: Any) -> dict[str, Any]:
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


def _print_text(output: Output, opened: Opened, most: int | None, *, full: bool) -> None:
    state = opened.state
    limit = None if full else most or (max(output.width - 24, 40) if output.terminal else None)
    output.line(headline(output, opened) if output.terminal else f"session\t{clean(state.session)}")
    if not output.terminal:
        output.fields(["status", state.status or ""])
        output.fields(["events", str(state.index)])
        if state.lineage is not None:
            output.fields(["lineage", f"{state.lineage.source}@{state.lineage.count}"])
    for run in state.runs.values():
        status = run.status
        called = shortened(compact(with_content_named(run.stored_arguments)), limit)
        _entry(output, "run", [run.id, run.agent, status, called], status)
    counts = Counter(step.status for step in state.steps)
    for status, count in sorted(counts.items()):
        _entry(output, "steps", [str(count), status], status)
    for step in unknown_steps(state) if state.status != "running" else []:
        _entry(output, "unresolved", [step.key, step.name], None)
    for event in state.of_type("message"):
        role = str(_mapping(event.value).get("role", ""))
        _entry(output, "message", [str(event.index), role, shortened(value_text(event, event.value), limit)], None)
    for name, amount in sorted(state.usage.items()):
        _entry(output, "usage", [name, f"{amount:g}" if isinstance(amount, float) else str(amount)], None)
    for name, value in sorted(state.tags.items()):
        _entry(output, "tag", [name, value if isinstance(value, str) else compact(value)], None)


def _entry(output: Output, label: str, cells: list[str], status: str | None) -> None:
    if not output.terminal:
        output.fields([label, *cells])
        return
    texts = [output.paint_status(clean(cell), cell) if cell == status else clean(cell) for cell in cells]
    output.line(f"{output.paint(f'{label:<10}', 'dim')}  {'  '.join(texts)}")
