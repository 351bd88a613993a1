"""The list of sessions: a page of those that were asked for, and what there is to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from agentstream.inspector.documents.steps import in_ms
from agentstream.sessions.catalog import Summary
from agentstream.sessions.prices import Prices, cost_of_used
from agentstream.sessions.views.folded import summary_json


def summary_document(summary: Summary, prices: Prices) -> dict[str, Any]:
    """One session of a list, with what its model calls cost (null where a price is not known) and what failed."""
    cost = cost_of_used(summary.used, prices)
    return {
        **summary_json(summary, in_ms),
        "cost": cost.dollars if cost.known else None,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "failures": summary.failures,
    }


def listing_document(
    found: Sequence[Summary],
    prices: Prices,
    *,
    q: str,
    status: frozenset[str],
    agent: str,
    offset: int,
    limit: int,
) -> dict[str, Any]:
    """A page of `found`, which are sorted: those with `q` in id or title, of these statuses and this agent."""
    wanted = q.casefold()
    found = [each for each in found if wanted in each.id.casefold() or wanted in str(each.title or "").casefold()]
    agents = sorted({each.agent for each in found if each.agent})
    found = [each for each in found if agent in ("", each.agent)]
    counts = Counter(each.status or "none" for each in found)
    found = [each for each in found if not status or (each.status or "none") in status]
    return {
        "sessions": [summary_document(each, prices) for each in found[offset : offset + limit]],
        "total": len(found),
        "agents": agents,
        "counts": dict(counts),
    }
