"""A model's answer in the words of agentstream: what every decoder gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Delta(NamedTuple):
    """A piece of an answer as it comes. `target` is the id of the message or tool call that it is of."""

    target: str
    text: str
    kind: str = "text"


@dataclass(slots=True)
class Answer:
    """What is known of an answer so far; `failure` says what the provider says went wrong with it."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    failure: str | None = None

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The typed events that tell it: each message, and after it the tools it calls."""
        for message in self.messages:
            yield "message", message
            for part in message["parts"]:
                if part["type"] == "tool_call":
                    yield "tool_call", {name: part[name] for name in ("id", "name", "arguments")}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def reasoning_part(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "text": text}


def tool_call_part(id: str, name: str, arguments: str) -> dict[str, Any]:
    """`arguments` is the text the model wrote, which need not be JSON."""
    return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}


def message(id: str, parts: list[dict[str, Any]], *, model: str, finish_reason: str | None) -> dict[str, Any]:
    """`finish_reason` is in the provider's words, None where the answer did not come to its end."""
    return {"id": id, "role": "assistant", "parts": parts, "model": model, "finish_reason": finish_reason}


def usage(counts: Any, model: str) -> dict[str, Any] | None:
    """Token counts by one set of names, from those of chat completions or of responses."""
    if not isinstance(counts, dict):
        return None
    inside = counts.get("input_tokens_details") or counts.get("prompt_tokens_details") or {}
    outside = counts.get("output_tokens_details") or counts.get("completion_tokens_details") or {}
    found = {
        "input_tokens": counts.get("input_tokens", counts.get("prompt_tokens")),
        "output_tokens": counts.get("output_tokens", counts.get("completion_tokens")),
        "cached_tokens": inside.get("cached_tokens"),
        "reasoning_tokens": outside.get("reasoning_tokens"),
    }
    named = {name: count for name, count in found.items() if isinstance(count, int)}
    return {**named, "model": model} if named else None
