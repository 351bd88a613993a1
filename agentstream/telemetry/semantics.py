"""What a run and a step are called in OpenTelemetry's conventions for generative AI. Pure.

The names are written out: the conventions have moved out of the package that had them as constants.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind

from agentstream.sessions import codec

Attributes = dict[str, Any]

OPERATION, CONVERSATION, ERROR = "gen_ai.operation.name", "gen_ai.conversation.id", "error.type"
TOKENS, DURATION = "gen_ai.client.token.usage", "gen_ai.client.operation.duration"

_COUNTS = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
_PROVIDERS = {"/messages": "anthropic", "/responses": "openai", "/chat/completions": "openai", "/embeddings": "openai"}
"""By the end of the path that was called, where the record says no more."""
_LONGEST = 65_536
"""Characters of a value that are told."""


def run_attributes(session: str, incarnation: str, run: str, agent: str) -> Attributes:
    """Of a run's span."""
    return {
        OPERATION: "invoke_agent",
        "gen_ai.agent.name": agent,
        CONVERSATION: session,
        "agentstream.incarnation": incarnation,
        "agentstream.run": run,
    }


def run_name(agent: str) -> str:
    return f"invoke_agent {agent}"


def step_attributes(session: str, key: str, kind: str, name: str, input: Any, code: str | None) -> Attributes:
    """Of a step's span; `input` in its encoded form."""
    operation = _operation(kind, name)
    told: Attributes = {
        CONVERSATION: session,
        "agentstream.step": key,
        "agentstream.step.kind": kind,
        "agentstream.step.name": name,
    }
    if operation is not None:
        told[OPERATION] = operation
    if operation == "execute_tool":
        told |= {"gen_ai.tool.name": name, "gen_ai.tool.type": "function"}
    elif operation is not None:
        model, provider = _model(input), _provider(name)
        told |= {"gen_ai.request.model": model} if model else {}
        told |= {"gen_ai.provider.name": provider} if provider else {}
    if code is not None:
        told["agentstream.code"] = code
    return told


def step_name(kind: str, name: str, attributes: Attributes) -> str:
    """A span is called by what is done, and to whom."""
    operation = attributes.get(OPERATION)
    if operation == "execute_tool":
        return f"execute_tool {name}"
    if operation is not None:
        return f"{operation} {attributes.get('gen_ai.request.model', name)}"
    return f"{kind} {name}"


def step_kind(attributes: Attributes) -> SpanKind:
    return SpanKind.CLIENT if attributes.get(OPERATION) in ("chat", "embeddings") else SpanKind.INTERNAL


def outcome_attributes(value: Mapping[str, Any]) -> Attributes:
    """Of an outcome, in its stored form."""
    told: Attributes = {}
    usage = value.get("usage")
    if isinstance(usage, Mapping):
        told |= {named: usage[name] for name, named in _COUNTS.items() if isinstance(usage.get(name), int)}
        if isinstance(usage.get("model"), str):
            told["gen_ai.response.model"] = usage["model"]
    error = error_of(value)
    if error is not None:
        told[ERROR] = error[0]
    return told


def error_of(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and text of the error that an outcome is."""
    if value.get("cancelled"):
        return "cancelled", "cancelled"
    error = value.get("error")
    if not isinstance(error, Mapping):
        return None
    return str(error.get("name", "_OTHER")), str(error.get("text", ""))


def input_content(attributes: Attributes, input: Any) -> Attributes:
    """What was asked, for those who want contents in their traces."""
    tool = attributes.get(OPERATION) == "execute_tool"
    return {"gen_ai.tool.call.arguments" if tool else "agentstream.step.input": _text(input)}


def result_content(attributes: Attributes, result: Any) -> Attributes:
    """What came of it."""
    tool = attributes.get(OPERATION) == "execute_tool"
    return {"gen_ai.tool.call.result" if tool else "agentstream.step.result": _text(result)}


def metric_attributes(attributes: Attributes) -> Attributes:
    """What metrics of a model's call are told by."""
    named = (OPERATION, "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", ERROR)
    return {name: attributes[name] for name in named if name in attributes}


def _operation(kind: str, name: str) -> str | None:
    if kind == "model":
        return "embeddings" if name.endswith("/embeddings") else "chat"
    return "execute_tool" if kind == "tool" else None


def _model(input: Any) -> str | None:
    if not isinstance(input, Mapping):
        return None
    model = input.get("model")
    return model if isinstance(model, str) else _model(input.get("body"))


def _provider(name: str) -> str | None:
    return next((provider for path, provider in _PROVIDERS.items() if name.endswith(path)), None)


def _text(form: Any) -> str:
    try:
        text = codec.dumps(form).decode()
    except (TypeError, ValueError):
        text = json.dumps(str(form))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
