"""A session's events as rows of seventeen elements: all that a list of them shows, small enough for 50,000 at once."""

from __future__ import annotations

from typing import Any

from agentstream.errors import AgentStreamError
from agentstream.inspector.documents.cutting import brief
from agentstream.sessions import moments
from agentstream.sessions.events import Event
from agentstream.sessions.prices import Prices, cost_of
from agentstream.sessions.views.models import KIND
from agentstream.sessions.views.rows import Row, Rows
from agentstream.sessions.views.values import stored_value

TEXT = 120
"""Characters of what an event says."""
_SHORT = 400
"""Bytes of an event that is looked at whole for that."""

INDEX, TYPE, STATUS, STEP, MS, MARK, FORKS, TEXT_AT = 0, 1, 4, 5, 9, 14, 15, 16
"""Where some of the elements of a row stand."""

Compact = list[Any]


def compact_row(rows: Rows, row: Row, prices: Prices, *, forks: int = 0, spent: int | None = None) -> Compact:
    """The row of an event, whose `name` is the model's where there is one.

    `forks`: how many sessions were forked just after it; `spent`: milliseconds of its step.
    """
    event = row.event
    lane, depth = place_of(event)
    given, said, cost = used(row, prices)
    moment = moments.read(event.timestamp)
    return [
        event.index,
        event.type,
        row.kind,
        (row.model or row.name)[:TEXT],
        row.status,
        row.step,
        lane,
        depth,
        round(moment.timestamp() * 1000) if moment is not None else None,
        row.ms if row.ms is not None else spent,
        given,
        said,
        cost,
        len(event.raw),
        event.mark,
        forks,
        text_of(rows, row),
    ]


def text_of(rows: Rows, row: Row) -> str:
    """What an event says, in its first characters."""
    event = row.event
    try:
        value = stored_value(event)
        if event.type == "question" and isinstance(value, dict) and isinstance(value.get("prompt"), str):
            return value["prompt"][:TEXT]
        # the last message of a model's request stands at its end
        whole = len(event.raw) <= _SHORT or (row.kind == KIND and event.type == "step")
        return rows.text(row, value if whole else brief(value, _SHORT))[:TEXT]
    except AgentStreamError as error:  # of a locked session
        return f"({type(error).__name__}: {error})"[:TEXT]


def place_of(event: Event) -> tuple[str, int]:
    """The lane that an event's key says it is of, and how deep that is: child runs stand below the first."""
    if event.claim is None or "/" not in event.key:
        return "", 0
    parts = event.key.partition("#")[0].rsplit("/", 2)  # of what a step said, the step's
    return (parts[1], parts[0].count("/") // 2) if len(parts) == 3 else ("", 0)


def used(row: Row, prices: Prices) -> tuple[int | None, int | None, float | None]:
    """Tokens in, tokens out, and dollars where they are known."""
    if not row.usage:
        return None, None, None
    cost = cost_of([row.event], prices)
    if not cost.calls:
        return None, None, None
    return cost.input_tokens, cost.output_tokens, cost.dollars if cost.known else None
