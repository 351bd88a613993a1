"""Events that come in from a file, as a client with rules takes them in.

Only what somebody said is looked at: what the library itself wrote of it (ids, claims, references to
items and blobs) stays, and so does a message in which nothing is taken out, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.sessions import codec
from agentstream.sessions.events import OWN_TYPES

if TYPE_CHECKING:
    from agentstream.sessions.redaction import Rules

_SAID: dict[str, dict[str, str]] = {
    "run": {"arguments": "arguments"},
    "step": {"input": "arguments"},
    "outcome": {"result": "result", "error": "error", "usage": "usage"},
    "error": {"text": "error", "args": "error", "fields": "error"},
    "delta": {"text": "delta"},
    "session": {"title": "session", "tags": "session"},
    "item": {"items": "item"},
    "claim": {},
    "status": {},
    "rewind": {},
}
"""Of types whose value is not all somebody's: the fields that are, and how paths into them begin."""


def taken_in(message: bytes, rules: Rules) -> bytes:
    """A message after the rules."""
    if not rules.active:
        return message
    try:
        change = codec.loads(message)
    except ValueError:
        return message
    kind, value = (change.get("type"), change.get("value")) if isinstance(change, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(value, dict):
        return message
    kept = _kept(kind, value, rules)
    return message if kept == value else codec.dumps({**change, "value": kept})


def _kept(kind: str, value: dict[str, Any], rules: Rules) -> dict[str, Any]:
    said = _SAID.get(kind)
    if said is not None:
        return {name: rules.form(part, said[name]) if name in said else part for name, part in value.items()}
    if kind in OWN_TYPES and kind != "custom":
        return rules.event(kind, value)
    return {name: rules.form(part, kind) if name == "data" else part for name, part in value.items()}
