"""A span's place in its trace, as W3C's `traceparent` writes it: what a run's event says of it."""

from __future__ import annotations

import re

from opentelemetry.trace import SpanContext, TraceFlags

_FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def write_trace(context: SpanContext) -> str | None:
    """None for a span that nobody records."""
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def read_trace(text: object) -> SpanContext | None:
    """The span that a text names; None for any other value."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None
