"""`agentstream show --state`: what a session's events amount to at a cut."""

from __future__ import annotations

from collections import Counter

from agentstream.cli.output import Output, shortened
from agentstream.cli.printing import headline
from agentstream.cli.store import Opened
from agentstream.cli.text import clean
from agentstream.cli.values import compact, value_text, with_content_named
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.views.folded import comparable as comparable
from agentstream.sessions.views.folded import mapping, state_json


def print_state(output: Output, opened: Opened, at: int, most: int | None, *, full: bool) -> None:
    """The state after the first `at` events. A person gets at most `most` characters of a value."""
    state = opened.state
    if at != state.index:
        opened = Opened(opened.session, state.cut(at), sealed=False)
    if output.form == "text":
        with output.paged():
            _print_text(output, opened, most, full=full)
    elif output.form == "json":
        output.document("state", state_json(opened.state, sealed=opened.sealed))
    else:
        output.object(state_json(opened.state, sealed=opened.sealed))


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
        role = str(mapping(event.value).get("role", ""))
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
