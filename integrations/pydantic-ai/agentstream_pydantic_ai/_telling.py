"""A model's answer in the session's own words: `delta`, `message` and `tool_call` events, usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic_ai.messages import (
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)

from agentstream.adapters import StepCall
from agentstream.adapters.http import Answer, counts, data_part, message, reasoning_part, text_part, tool_call_part


def said(response: ModelResponse, id: str, asked: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that say what a model answered; `asked` is the model that was, where the answer does not say."""
    parts = [told for part in response.parts for told in _parts(part, response)]
    if parts:
        name = response.model_name or asked
        yield from Answer([message(id, parts, model=name, finish_reason=response.finish_reason)]).events()


def usage_of(response: ModelResponse) -> dict[str, Any] | None:
    """The counts of tokens, None where the provider told none."""
    usage = response.usage
    if not usage.has_values():
        return None
    return counts(
        response.model_name or "",
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
        reasoning_tokens=usage.details.get("reasoning_tokens") if usage.details else None,
    )


def _parts(part: Any, response: ModelResponse) -> Iterator[dict[str, Any]]:
    if isinstance(part, TextPart):
        if part.content:
            yield text_part(part.content)
    elif isinstance(part, ThinkingPart):
        yield reasoning_part(part.content, **_signature(part, response))
    elif isinstance(part, ToolCallPart):
        yield tool_call_part(part.tool_call_id, part.tool_name, _arguments(part.args))
    else:  # a provider's own tool, a file, …: that it was there; what it carried is in the step's outcome
        named = ("part_kind", "tool_name", "tool_call_id", "id")
        yield data_part(**{name: value for name in named if (value := getattr(part, name, None)) is not None})


def _signature(part: ThinkingPart, response: ModelResponse) -> dict[str, Any]:
    """What the provider asks for when it is given its reasoning back."""
    provider = part.provider_name or response.provider_name
    if part.signature is None:
        return {}
    if provider == "anthropic":
        return {"redacted": part.signature} if part.id == "redacted_thinking" else {"signature": part.signature}
    if provider is not None and part.id is not None:
        return {"id": part.id, "encrypted": part.signature, "provider": provider}
    return {"signature": part.signature, **({"provider": provider} if provider else {})}


def _arguments(args: str | dict[str, Any] | None) -> str:
    return args if isinstance(args, str) else json.dumps(args or {}, ensure_ascii=False, default=str)


class Live:
    """Feeds what comes of an answer to the session, token by token. `id` is that of the message which it becomes."""

    def __init__(self, call: StepCall) -> None:
        self.id: str | None = None
        self._call = call
        self._calls: dict[int, str] = {}

    def feed(self, event: ModelResponseStreamEvent, response_id: str | None) -> None:
        """`response_id`: what the provider calls its answer, as far as it has said."""
        if isinstance(event, PartStartEvent):
            self._start(event.index, event.part, response_id)
        elif isinstance(event, PartDeltaEvent):
            self._delta(event.index, event.delta, response_id)

    def message_id(self, response_id: str | None) -> str:
        """The id of the message, which stays what it was when the first token came."""
        if self.id is None:
            self.id = response_id or self._call.key
        return self.id

    def _start(self, index: int, part: Any, response_id: str | None) -> None:
        if isinstance(part, ToolCallPart):
            self._calls[index] = part.tool_call_id
            told = _arguments(part.args) if part.args else ""
            self._call.feed(part.tool_call_id, told, "args", part.tool_name, self.message_id(response_id))
        elif isinstance(part, (TextPart, ThinkingPart)):
            kind = "text" if isinstance(part, TextPart) else "reasoning"
            self._call.feed(self.message_id(response_id), part.content, kind)

    def _delta(self, index: int, delta: Any, response_id: str | None) -> None:
        if isinstance(delta, TextPartDelta):
            self._call.feed(self.message_id(response_id), delta.content_delta)
        elif isinstance(delta, ThinkingPartDelta):
            self._call.feed(self.message_id(response_id), delta.content_delta or "", "reasoning")
        elif isinstance(delta, ToolCallPartDelta):
            target = delta.tool_call_id or self._calls.get(index)
            if target is not None and delta.args_delta:
                self._call.feed(target, _arguments(delta.args_delta), "args")
