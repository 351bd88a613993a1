"""The list of sessions: a page of those that were asked for, and what there is to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from agentstream.inspector.documents.steps import in_ms
from agentstream.sessions.catalog import Summary
from agentstream.sessions.views.folded import summary_json


def summary_document(summary: Summary) -> dict[str, Any]:
    """One session of a list."""
    return summary_json(summary, in_ms)


def listing_document(
    found: Sequence[Summary], *, q: str, status: frozenset[str], agent: str, offset: int, limit: int
) -> dict[str, Any]:
    """A page of `found`, which are sorted: those with `q` in id or title, of these statuses and this agent."""
    wanted = q.casefold()
    found = [each for each in found if wanted in each.id.casefold() or wanted in str(each.title or "").casefold()]
    agents = sorted({each.agent for each in found if each.agent})
    found = [each for each in found if agent in ("", each.agent)]
    counts = Counter(each.status or "none" for each in found)
    found = [each for each in found if not status or (each.status or "none") in status]
    return {
        "sessions": [summary_document(each) for each in found[offset : offset + limit]],
        "total": len(found),
        "agents": agents,
        "counts": dict(counts),
    }
