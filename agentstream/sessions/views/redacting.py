"""A session without what is to leave nowhere: the rules of redaction, on what was recorded before they were.

The record stays as it is. What is read from it here is a copy whose events say the same with what the
rules find taken out, as they would have been written; every document that is made of it is without that too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from agentstream.errors import AgentStreamError
from agentstream.sessions import codec
from agentstream.sessions.births import birth_of
from agentstream.sessions.events import OWN_TYPES, Event
from agentstream.sessions.state import State

if TYPE_CHECKING:
    from agentstream.sessions.redaction import Rules

_PARTS: Mapping[str, tuple[str, ...]] = {
    "run": ("arguments",),
    "step": ("input",),
    "outcome": ("result", "error"),
    "error": ("text", "args", "fields"),
}
"""What of an own type the user's values are; the rest names and numbers of ours."""

_KEPT = frozenset(("claim", "rewind", "status"))


def redacted(state: State, rules: Rules, *, alive: bool = True) -> State:
    """The session as far as the rules let it be seen."""
    pieces = _pieces(state.events, rules)
    events = [_redacted(event, rules, pieces) for event in state.events]
    return State(state.session, state.incarnation, events, alive=alive)


def _redacted(event: Event, rules: Rules, pieces: Mapping[int, str]) -> Event:
    if event.type in _KEPT or (event.type == "session" and birth_of(event) is not None):
        return event
    try:
        stored = codec.loads(event.raw)
    except (ValueError, AgentStreamError):
        return _without(event, {"$redacted": "unreadable"})
    value = stored.get("value") if isinstance(stored, dict) and event.type else stored
    found = _value(event, value, rules, pieces)
    if found is value:
        return event
    return _without(event, {**stored, "value": found} if isinstance(stored, dict) and event.type else found)


def _value(event: Event, value: Any, rules: Rules, pieces: Mapping[int, str]) -> Any:
    if event.type == "delta" and event.index in pieces:
        return {**value, "text": pieces[event.index]}
    if not isinstance(value, dict):
        return rules.form(value, event.type)
    if event.type in _PARTS:
        parts = {name: rules.form(value[name], name) for name in _PARTS[event.type] if name in value}
        return {**value, **parts} if any(part is not value[name] for name, part in parts.items()) else value
    if event.type in OWN_TYPES or value.keys() == {"data"}:
        return rules.event(event.type, value)
    return rules.form(value, event.type)


def _without(event: Event, message: Any) -> Event:
    raw = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return replace(event, _raw=raw, _value=msgspec.UNSET if event.type else message)


def _pieces(events: Iterable[Event], rules: Rules) -> dict[int, str]:
    """The texts of deltas: a secret may stand in several of them that were one text."""
    texts: dict[tuple[Any, Any], dict[int, str]] = {}
    for event in events:
        value = event.value if event.type == "delta" and isinstance(event.value, dict) else {}
        if isinstance(value.get("text"), str):
            said = (str(value.get("target")), str(value.get("kind")))
            texts.setdefault(said, {})[event.index] = value["text"]
    return {
        index: text
        for said in texts.values()
        for index, text in zip(said, rules.pieces(list(said.values())), strict=True)
    }
