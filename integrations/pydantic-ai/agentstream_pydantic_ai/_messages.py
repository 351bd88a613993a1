"""Pydantic AI's messages as they are recorded.

They are in its own JSON, without what says nothing: empty fields, and those that differ from run to run (times of
requests, ids of runs). So a conversation is the same on resume, in a fork and on replay, and each of its messages is
stored once, however many requests repeat it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, ModelResponseStreamEvent

_OF_ONE_RUN = frozenset(("run_id", "conversation_id", "model_id", "workspace_ref", "history_digest"))
"""What the framework writes on messages besides what they say: other in each run, or later than the answer came."""

_events: TypeAdapter[list[ModelResponseStreamEvent]] = TypeAdapter(list[ModelResponseStreamEvent])


def told(messages: Iterable[ModelMessage]) -> list[dict[str, Any]]:
    """Messages as they are recorded."""
    dumped: Any = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json", warnings=False)
    return [_told(message) for message in dumped]


def told_response(response: ModelResponse) -> dict[str, Any]:
    """A model's answer as it is recorded: equal to what later requests repeat of it."""
    return told([response])[0]


def messages_of(recorded: Sequence[dict[str, Any]]) -> list[ModelMessage]:
    """Messages from their record. ValueError for what is none."""
    return ModelMessagesTypeAdapter.validate_json(json.dumps(recorded))


def response_of(recorded: Any) -> ModelResponse:
    """A model's answer from its record. ValueError for what is none."""
    (message,) = messages_of([recorded])
    if not isinstance(message, ModelResponse):
        raise ValueError(f"{recorded!r} is no answer of a model")
    return message


def dump_events(events: list[ModelResponseStreamEvent]) -> bytes:
    """The events of a streamed answer, to the piece."""
    return _events.dump_json(events, warnings=False)


def load_events(text: bytes) -> list[ModelResponseStreamEvent]:
    """What `dump_events` made, read back."""
    return _events.validate_json(text)


def _told(message: dict[str, Any]) -> dict[str, Any]:
    is_request = message.get("kind") == "request"
    said = {name: value for name, value in message.items() if value is not None and name not in _OF_ONE_RUN}
    parts = cast("list[dict[str, Any]]", message["parts"])
    said["parts"] = [_part(part, timeless=is_request) for part in parts]
    if is_request:
        said.pop("timestamp", None)
    if isinstance(usage := message.get("usage"), dict):
        said["usage"] = {name: count for name, count in usage.items() if count}
    return said


def _part(part: dict[str, Any], *, timeless: bool) -> dict[str, Any]:
    said = {name: value for name, value in part.items() if value is not None}
    if timeless:
        said.pop("timestamp", None)
    if part.get("part_kind") == "retry-prompt" and part.get("tool_name") is None:
        said.pop("tool_call_id", None)  # it answers no call, and its id is drawn anew each time
    return said
