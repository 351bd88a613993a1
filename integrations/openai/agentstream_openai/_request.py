"""A request as it is stored and compared: what was asked, without who asked and where."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

_MODEL_CALL = re.compile(r"/(chat/completions|completions|responses|embeddings)$")
_SECRET_QUERY = frozenset(("key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "signature"))
_VOLATILE = "prompt_cache_key"
"""A hint to the provider's cache that frameworks draw at random: no part of the question."""


class CallFailed(Exception):
    """What an error outcome says of a call that the provider answered, with an error or not to the end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a step: its `input` is stored, and compared unless there is a `fingerprint` for that."""

    kind: str
    name: str
    input: dict[str, Any]
    fingerprint: dict[str, Any] | None = None


def describe(method: str, path: str, query: str, content_type: str, content: bytes) -> Asked:
    """The step that a request is. Headers, host and credentials are no part of it."""
    pairs = [(name, value) for name, value in parse_qsl(query, True) if name.lower() not in _SECRET_QUERY]
    body = _body(content_type, content)
    asked = {"query": urlencode(pairs), "body": body}
    asked = {name: value for name, value in asked.items() if value not in ("", None)}
    compared = None
    if isinstance(body, dict) and _VOLATILE in body:
        compared = {**asked, "body": {name: value for name, value in body.items() if name != _VOLATILE}}
    kind = "model" if method == "POST" and _MODEL_CALL.search(path) else "http"
    return Asked(kind, f"{method} {path}", asked, compared)


def is_retry(count: str | None) -> bool:
    """Whether the SDK's own header (`x-stainless-retry-count`) says that it asks again."""
    return (count or "0").isdigit() and int(count or "0") > 0


def _body(content_type: str, content: bytes) -> Any:
    if not content:
        return None
    if "json" in content_type:
        try:
            return _without_credentials(json.loads(content))
        except ValueError:
            pass  # not JSON after all: known by its hash, as any other bytes
    kind, _, parameters = content_type.partition(";")
    if boundary := re.search(r'boundary="?([^";]+)', parameters):
        content = content.replace(boundary[1].encode(), b"boundary")  # drawn at random for each request
    return {"type": kind.strip(), "length": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _without_credentials(body: Any) -> Any:
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
