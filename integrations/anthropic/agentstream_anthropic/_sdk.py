"""What the recorder has to know of the anthropic SDK."""

from __future__ import annotations

import re
from typing import Any

from anthropic import AnthropicError

from agentstream import AgentStreamError
from agentstream.adapters.http import Sdk
from agentstream_anthropic._dictionary import V1
from agentstream_anthropic._messages import Messages, usage

# The API's own paths; Vertex (but not its token counting); Bedrock, whose streams are binary and are not decoded.
_MESSAGES = r"/messages$|(?<!/count-tokens):(stream)?[rR]awPredict$|/model/[^/]+/invoke$"
_CREDENTIALS = frozenset(
    ("authorization_token", "token", "access_token", "refresh_token", "client_secret", "secret_value")
)


class NotRecorded(AgentStreamError, AnthropicError):
    """An error of agentstream in a call. It is the SDK's too, since that hands on only its own without a retry."""


def without_credentials(path: str, body: Any) -> Any:
    """`body` without what MCP servers, repositories and vaults are let in with, nor what a vault is to keep."""
    return _without(_CREDENTIALS if "/vaults/" in path else frozenset(("authorization_token",)), body)


def _without(names: frozenset[str], body: Any) -> Any:
    if isinstance(body, list):
        return [_without(names, item) for item in body]
    if not isinstance(body, dict):
        return body
    # only texts: a tool may well have a parameter of such a name, whose schema is an object
    kept = {name: value for name, value in body.items() if name not in names or not isinstance(value, str)}
    return {name: _without(names, value) for name, value in kept.items()}


ANTHROPIC = Sdk(
    name="anthropic",
    not_recorded=NotRecorded,
    dictionaries={"zlib/a1": V1},
    header_prefixes=("anthropic-", "x-ratelimit-"),
    model_calls=re.compile(rf"{_MESSAGES}|/complete$|/model/[^/]+/invoke-with-response-stream$"),
    decoders=((re.compile(_MESSAGES), Messages),),
    usage=usage,
    without_credentials=without_credentials,
)
