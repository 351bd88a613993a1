"""Token counts of chat completions and of responses, by one set of names."""

from __future__ import annotations

from typing import Any

from agentstream.adapters.http import counts


def usage(said: Any, model: str) -> dict[str, Any] | None:
    """What an answer's `usage` says."""
    if not isinstance(said, dict):
        return None
    inside = said.get("input_tokens_details") or said.get("prompt_tokens_details") or {}
    outside = said.get("output_tokens_details") or said.get("completion_tokens_details") or {}
    return counts(
        model,
        input_tokens=said.get("input_tokens", said.get("prompt_tokens")),
        output_tokens=said.get("output_tokens", said.get("completion_tokens")),
        cached_tokens=inside.get("cached_tokens"),
        cache_write_tokens=inside.get("cache_write_tokens"),
        reasoning_tokens=outside.get("reasoning_tokens"),
    )
