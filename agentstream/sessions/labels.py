"""What a session is called and how long it lives: values of `session` events, which anyone may append."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


def label(title: str | None, tags: Mapping[str, Any] | None) -> dict[str, Any]:
    """A new title and tags. Tags not named stay as they are; one that is given as None is taken away."""
    if title is None and tags is None:
        raise ValueError("a label is a title, tags or both")
    if title is not None and not isinstance(title, str):
        raise TypeError(f"a session's title is text, not {type(title).__name__}")
    if tags is not None and not (isinstance(tags, Mapping) and all(isinstance(name, str) and name for name in tags)):
        raise TypeError(f"a session's tags are a mapping of names to values, not {tags!r}")
    return {**({"title": title} if title is not None else {}), **({"tags": dict(tags)} if tags is not None else {})}


def lifetime(ttl: float | timedelta | None) -> dict[str, Any]:
    """How long after its last event `client.gc()` removes the session; None: whatever the collection is told."""
    return {"ttl": seconds_of(ttl, "a time to live") if ttl is not None else 0}


def seconds_of(span: float | timedelta, what: str) -> float:
    """A span of time in seconds. TypeError or ValueError for what is none."""
    if isinstance(span, timedelta):
        span = span.total_seconds()
    if isinstance(span, bool) or not isinstance(span, (int, float)):
        raise TypeError(f"{what} is a number of seconds or a timedelta, not {span!r}")
    if not 0 < span < float("inf"):
        raise ValueError(f"{what} is longer than nothing and not for ever, not {span}")
    return span
