"""What the recorder has to know of the openai SDK."""

from __future__ import annotations

import re
from typing import Any

from openai import OpenAIError

from agentstream import AgentStreamError
from agentstream.adapters.http import Sdk
from agentstream.adapters.http.responses import Responses, usage
from agentstream_openai._chat import Chat
from agentstream_openai._dictionary import V1


class NotRecorded(AgentStreamError, OpenAIError):
    """An error of agentstream in a call. It is the SDK's too, since that hands on only its own without a retry."""


def without_credentials(path: str, body: Any) -> Any:
    """`body` without what a remote tool (MCP) is let in with."""
    tools = body.get("tools") if isinstance(body, dict) else None
    if not isinstance(tools, list) or not any(isinstance(tool, dict) and tool.get("type") == "mcp" for tool in tools):
        return body
    secret = ("authorization", "headers")
    return {
        **body,
        "tools": [
            {name: value for name, value in tool.items() if name not in secret}
            if isinstance(tool, dict) and tool.get("type") == "mcp"
            else tool
            for tool in tools
        ],
    }


OPENAI = Sdk(
    name="openai",
    not_recorded=NotRecorded,
    dictionaries={"zlib/1": V1},
    header_prefixes=("openai-", "x-ratelimit-"),
    model_calls=re.compile(r"/(chat/completions|completions|responses|embeddings)$"),
    decoders=(
        (re.compile(r"/(chat/)?completions$"), Chat),
        (re.compile(r"/responses(/resp_[^/]+)?$"), Responses),
    ),
    usage=usage,
    # a hint to the provider's cache that frameworks draw at random
    volatile=frozenset(("prompt_cache_key",)),
    without_credentials=without_credentials,
)
