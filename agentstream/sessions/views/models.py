"""What a step of kind "model" is about: the model, what it was asked last, what it said.

The step's name may be the request's (`POST /v1/responses`), its input the whole conversation and its result the bytes
of the answer: none of them tells a reader anything in one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions.items import parse_range, ranges_in
from agentstream.sessions.views.values import message_text, with_content_named

if TYPE_CHECKING:
    from agentstream.sessions.items import Items

KIND = "model"

_LISTS = ("messages", "input", "items", "history", "contents")


def model_asked(value: dict[str, Any]) -> str:
    """The model that a step asks, by its event's value; "" where that does not say."""
    model = _body(value).get("model")
    return model if isinstance(model, str) else ""


def asked_last(value: dict[str, Any], items: Items) -> str | None:
    """The last message of what a model's step asks, and who said it; None where that is no conversation."""
    body = _body(value)
    name = next((name for name in _LISTS if body.get(name)), None)
    if name is None:
        return None
    element = _last(body[name], items)
    if element is None:
        return None
    from agentstream.sessions.conversions.requests import read_element

    said = read_element(with_content_named(element), name)
    return f"{said[-1].get('role')}: {message_text(said[-1])}" if said else None


def _body(value: dict[str, Any]) -> dict[str, Any]:
    """What was sent to the model: the input, or in a recorded HTTP call its body."""
    asked = value.get("input")
    body = asked.get("body", asked) if isinstance(asked, dict) else None
    return body if isinstance(body, dict) else {}


def _last(stored: Any, items: Items) -> Any:
    """The last element of a list, which may stand in the session's items; no other one is looked at."""
    if isinstance(stored, (str, list)):
        found = stored[-1] if isinstance(stored, list) else stored
    else:
        ranges = ranges_in(stored) if isinstance(stored, dict) else None
        if not ranges:
            return None
        try:
            claim, _, last = parse_range(ranges[-1])
            found = next(items.range(f"{claim}.{last}"), None)
        except NotFound:
            return None
    try:
        return items.resolve(found)
    except NotFound:
        return found
