"""What a model is asked: the input of its step, by which it is matched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from agentstream_pydantic_ai._messages import told

_CREDENTIALS = frozenset(("extra_headers",))


def asked(
    messages: Sequence[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
) -> dict[str, Any]:
    """A request as it is recorded: without credentials, and without what differs from process to process."""
    tools = [_tool(tool) for tool in (*parameters.function_tools, *parameters.output_tools)]
    return {
        "messages": told(messages),
        **({"tools": tools} if tools else {}),
        **_native(parameters),
        **_output(parameters),
        **_settings(settings or {}),
    }


def _tool(tool: ToolDefinition) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parameters": tool.parameters_json_schema}


def _native(parameters: ModelRequestParameters) -> dict[str, Any]:
    """The provider's own tools by their kind: what else they are given may let somebody in."""
    kinds = [tool.kind for tool in parameters.native_tools]
    return {"native_tools": kinds} if kinds else {}


def _output(parameters: ModelRequestParameters) -> dict[str, Any]:
    wanted = parameters.output_object
    return {"output": {"mode": parameters.output_mode, "schema": wanted.json_schema}} if wanted is not None else {}


def _settings(settings: ModelSettings | dict[str, Any]) -> dict[str, Any]:
    """What can be told of a model's settings: an object among them by its class alone."""
    plain = (str, int, float, bool, list, dict, tuple, type(None))
    said = {
        name: value if isinstance(value, plain) else type(value).__name__
        for name, value in settings.items()
        if name not in _CREDENTIALS
    }
    return {"settings": said} if said else {}
