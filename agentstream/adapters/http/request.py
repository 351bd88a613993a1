"""A request as it is stored and compared: what was asked, without who asked and where."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from agentstream.adapters.http.sdk import Sdk

_SECRET_QUERY = frozenset(("key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "signature"))


class CallFailed(Exception):
    """What an error outcome says of a call that the provider answered, with an error or not to the end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a step: its `input` is stored, and compared unless there is a `fingerprint` for that."""

    kind: str
    name: str
    input: dict[str, Any]
    fingerprint: dict[str, Any] | None = None


def describe(sdk: Sdk, method: str, path: str, query: str, content_type: str, content: bytes) -> Asked:
    """The step that a request is. Headers, host and credentials are no part of it."""
    pairs = [(name, value) for name, value in parse_qsl(query, True) if name.lower() not in _SECRET_QUERY]
    body = _body(sdk, path, content_type, content)
    asked = {"query": urlencode(pairs), "body": body}
    asked = {name: value for name, value in asked.items() if value not in ("", None)}
    compared = None
    if isinstance(body, dict) and not sdk.volatile.isdisjoint(body):
        compared = {**asked, "body": {name: value for name, value in body.items() if name not in sdk.volatile}}
    kind = "model" if method == "POST" and sdk.model_calls.search(path) else "http"
    return Asked(kind, f"{method} {path}", asked, compared)


def is_retry(count: str | None) -> bool:
    """Whether the SDK's own header (`x-stainless-retry-count`) says that it asks again."""
    return (count or "0").isdigit() and int(count or "0") > 0


def _body(sdk: Sdk, path: str, content_type: str, content: bytes) -> Any:
    if not content:
        return None
    if "json" in content_type:
        try:
            return sdk.without_credentials(path, json.loads(content))
        except ValueError:
            pass  # not JSON after all: known by its hash, as any other bytes
    kind, _, parameters = content_type.partition(";")
    if boundary := re.search(r'boundary="?([^";]+)', parameters):
        content = content.replace(boundary[1].encode(), b"boundary")  # drawn at random for each request
    return {"type": kind.strip(), "length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
