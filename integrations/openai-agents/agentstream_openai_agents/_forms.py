"""What a model is asked and what it answers, as plain data; and the SDK's own types made of that again."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from agents import FunctionTool, ModelResponse
from agents.usage import Usage, deserialize_usage, serialize_usage
from openai import BaseModel
from openai.types.responses import Response, ResponseStreamEvent

from agentstream import NotSerializable
from agentstream.adapters import encode

_NOT_TOLD = frozenset(("retry", "timeout", "extra_headers"))
"""Settings that are not asked of the model; headers may hold credentials."""

_VOLATILE = frozenset(("prompt_cache_key",))
"""Drawn at random for each run: a hint to the provider's cache."""

_SECRET = frozenset(("authorization", "headers"))


# --- what is asked ---------------------------------------------------------------------------------------------------


def asked(
    model: Any,
    instructions: str | None,
    input: Any,
    settings: Any,
    tools: Any,
    output: Any,
    handoffs: Any,
    **more: Any,
) -> dict[str, Any]:
    """A request, as it is recorded and matched by. What is not said is left out."""
    said: dict[str, Any] = {
        "model": getattr(model, "model", None),
        "instructions": instructions,
        "input": input if isinstance(input, str) else list(input or ()),
        "settings": _settings(settings) or None,
        "tools": [_tool(tool) for tool in tools or ()] or None,
        "handoffs": [_handoff(handoff) for handoff in handoffs or ()] or None,
        "output": _schema(output),
        **more,
    }
    return {name: value for name, value in said.items() if value is not None}


def model_name(model: Any) -> str:
    name = getattr(model, "model", None)
    return str(name) if name else type(model).__name__


def _settings(settings: Any) -> dict[str, Any]:
    fields = dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ()
    told = {field.name: getattr(settings, field.name) for field in fields}
    told = {name: _plain(value) for name, value in told.items() if value is not None and name not in _NOT_TOLD}
    for name in ("extra_args", "extra_body"):
        if isinstance(told.get(name), dict):
            told[name] = {key: value for key, value in told[name].items() if key not in _VOLATILE}
            if not told[name]:
                del told[name]
    return told


def _tool(tool: Any) -> dict[str, Any]:
    if isinstance(tool, FunctionTool):
        strict = {"strict": False} if not tool.strict_json_schema else {}
        return {"name": tool.name, "description": tool.description, "parameters": tool.params_json_schema, **strict}
    said: dict[str, Any] = {"type": type(tool).__name__, "name": str(getattr(tool, "name", ""))}
    config = getattr(tool, "tool_config", None)
    if isinstance(config, dict):  # a remote tool: without what it is let in with
        said["config"] = {name: _plain(value) for name, value in config.items() if name not in _SECRET}
    return said


def _handoff(handoff: Any) -> dict[str, Any]:
    return {
        "name": handoff.tool_name,
        "description": handoff.tool_description,
        "parameters": handoff.input_json_schema,
    }


def _schema(output: Any) -> Any:
    return None if output is None or output.is_plain_text() else {output.name(): output.json_schema()}


def _plain(value: Any) -> Any:
    try:
        return encode(value).data
    except NotSerializable:
        return type(value).__name__


# --- what is answered ------------------------------------------------------------------------------------------------


class _Held(BaseModel):
    """The SDK tells an event's class by this annotation."""

    event: ResponseStreamEvent


def dumped(model: Any) -> Any:
    """A model of the SDK as plain data, no field more and none less than it has."""
    if not isinstance(model, BaseModel):
        return model
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)


def event_of(data: Any) -> Any:
    """The stream event that this is the data of. Never refuses: SDK and provider are not always of one mind."""
    return _Held.construct(event=data).event


def items_of(data: Any) -> list[Any]:
    """The output items that this is the data of."""
    return Response.construct(output=data).output


def response_kept(response: ModelResponse) -> dict[str, Any]:
    """The recorded form of a whole answer."""
    said: dict[str, Any] = {
        "output": [dumped(item) for item in response.output],
        "usage": {name: value for name, value in serialize_usage(response.usage).items() if _says(value)},
        "response_id": response.response_id,
        "request_id": response.request_id,
        "raw_usage": _raw_usage(response),
    }
    return {name: value for name, value in said.items() if value is not None}


def _says(value: Any) -> bool:
    """Whether counts say anything: what was not counted is not written down either."""
    parts = value if isinstance(value, list) else [value]
    return any(any(part.values()) if isinstance(part, dict) else part for part in parts)


def response_whole(said: dict[str, Any]) -> ModelResponse:
    """What `response_kept` made, read back."""
    more = {"raw_usage": said["raw_usage"]} if "raw_usage" in said else {}
    return ModelResponse(
        output=items_of(said["output"]),
        usage=deserialize_usage(said.get("usage", {})),
        response_id=said.get("response_id"),
        request_id=said.get("request_id"),
        **more,
    )


def _raw_usage(response: Any) -> Any:
    raw = getattr(response, "raw_usage", None)
    return _plain(raw) if raw is not None else None


def body_of(model: str, response: ModelResponse) -> dict[str, Any]:
    """A whole answer in the API's own form."""
    return {
        "object": "response",
        "id": response.response_id,
        "model": model,
        "status": "completed",
        "output": [dumped(item) for item in response.output],
    }


def counts_of(model: str, usage: Usage) -> dict[str, Any] | None:
    """Token counts in the words of every integration."""
    if not usage.total_tokens and not usage.requests:
        return None
    inside, outside = usage.input_tokens_details, usage.output_tokens_details
    found = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": getattr(inside, "cached_tokens", None),
        "cache_write_tokens": getattr(inside, "cache_write_tokens", None),
        "reasoning_tokens": getattr(outside, "reasoning_tokens", None),
    }
    return {**{name: count for name, count in found.items() if isinstance(count, int)}, "model": model}


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
