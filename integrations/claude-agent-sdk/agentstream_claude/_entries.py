"""One line of a Claude Code transcript as events of a session, and back.

What somebody said is a `message` event, so that every reader of the session knows it; what the transcript says besides
stands in its field `claude`, and nothing is written twice. All other lines are events of the type `claude`. Both have
the line's uuid as their key: a line that comes again is a duplicate by the log's own rules.

Beside a message stand, for readers alone, a `tool_call` for each tool that it asks for, and a `step` with its `outcome`
for the call of the model that it came from: its name and what it used. A title is the session's title.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.adapters import fresh_id, whole
from agentstream.adapters.http import counts
from agentstream_claude._blocks import content_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentstream import Event

ENTRY = "claude"
"""The type of events that hold a line as it is, and the field of a message that holds the rest of its line."""

HOLDING = frozenset(("message", ENTRY))
"""Types of events that a line comes back from."""

BESIDE = frozenset(("tool_call", "step", "outcome", "session"))
"""Types of events that are written behind a line, for readers."""

_ROLES = ("user", "assistant")
_TITLES = {"custom-title": "customTitle", "ai-title": "aiTitle"}
# of the message in a line: what a `message` event says itself, and how it calls it
_SAID = {"role": "role", "id": "id", "model": "model", "stop_reason": "finish_reason"}

Told = tuple[str, str, dict[str, Any]]
"""An event to be written: type, key, value."""


def events_of(entry: Mapping[str, Any]) -> Iterator[Told]:
    """The events that a line is written as: first the one that holds it."""
    uuid = entry.get("uuid")
    key = uuid if isinstance(uuid, str) and _is_key(uuid) else None
    message = entry.get("message")
    if key is None or not isinstance(message, dict) or not _is_said(entry, message):
        yield ENTRY, key or fresh_id(), dict(entry)
        title = entry.get(_TITLES.get(str(entry.get("type")), ""))
        if isinstance(title, str):
            yield "session", fresh_id(), {"title": title}
        return
    yield "message", key, _message(entry, message)
    yield from _calls(message)
    yield from _usage(message)


def entry_of(event: Event) -> dict[str, Any] | None:
    """The line that an event holds; None where it holds none. Reads what is large of it."""
    if event.mark is not None or event.type not in HOLDING:
        return None
    value = whole(event)
    if event.type == ENTRY:
        return value if isinstance(value, dict) else None
    rest = value.get(ENTRY)
    if not isinstance(rest, dict):
        return None
    message = rest.get("message")
    message = dict(message) if isinstance(message, dict) else {}
    as_text = message.pop("text", False)
    message.update({name: value[told] for name, told in _SAID.items() if told in value})
    if "content" not in message:
        blocks = content_of(value.get("parts") or [])
        message["content"] = blocks[0].get("text") if as_text and len(blocks) == 1 else blocks
    return {**rest, "uuid": event.key, "message": message}


def call_of(message: str) -> str:
    """The key of the step that stands for the model call which gave a message."""
    return f"{message}/0/0#1"


def _is_key(uuid: str) -> bool:
    return 0 < len(uuid) <= 256 and uuid.isprintable()


def _is_said(entry: Mapping[str, Any], message: dict[str, Any]) -> bool:
    """Whether a line is something that somebody said, in a form that comes back whole."""
    return (
        entry.get("type") in _ROLES
        and message.get("role") in _ROLES
        and isinstance(message.get("content"), (str, list))
        and "text" not in message
    )


def _message(entry: Mapping[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    parts = parts_of(content)
    rest = {name: value for name, value in message.items() if name not in _SAID and name != "content"}
    if isinstance(content, str):
        rest["text"] = True
    elif content_of(parts) != content:
        rest["content"] = content  # said in a way that the parts do not keep
    said = {told: message[name] for name, told in _SAID.items() if name in message}
    line = {name: value for name, value in entry.items() if name not in ("uuid", "message")}
    return {**said, "parts": parts, ENTRY: {**line, "message": rest}}


def _calls(message: dict[str, Any]) -> Iterator[Told]:
    for block in message["content"]:
        if isinstance(block, dict) and block.get("type") == "tool_use" and isinstance(block.get("id"), str):
            arguments = block.get("input")
            yield "tool_call", block["id"], {"id": block["id"], "name": block.get("name"), "arguments": arguments}


def _usage(message: dict[str, Any]) -> Iterator[Told]:
    """The call of the model, once it has come to its end: every line of one message says the same of it."""
    name, said, model = message.get("id"), message.get("usage"), message.get("model")
    if message.get("stop_reason") is None or not isinstance(name, str) or not isinstance(said, dict):
        return
    key = call_of(name)
    yield "step", key, {"kind": "model", "name": str(model or "model"), "input": {}, "fingerprint": ""}
    used = _counted(said, str(model or ""))
    yield "outcome", key, {"result": None, **({"usage": used} if used else {})}


def _counted(said: dict[str, Any], model: str) -> dict[str, Any] | None:
    """Token counts in the words of agentstream: the API's `input_tokens` leave out what a cache was asked about."""
    fresh, read, written = (
        said.get(name) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    details = said.get("output_tokens_details")
    return counts(
        model,
        input_tokens=sum(count for count in (fresh, read, written) if isinstance(count, int)),
        output_tokens=said.get("output_tokens"),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens") if isinstance(details, dict) else None,
    )
