"""What a message says, as the event that every reader of a session knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from agentstream import Messages, NotSerializable
from agentstream.adapters import encode

_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}


def message_of(value: BaseMessage) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The values of the `message` event and of its `tool_call` events."""
    parts = _parts(value)
    calls = [
        {"id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")}
        for call in getattr(value, "tool_calls", None) or ()
    ]
    said: dict[str, Any] = {"role": _ROLES.get(value.type.lower().removesuffix("messagechunk"), value.type)}
    if value.id:
        said["id"] = value.id
    said["parts"] = [*parts, *({"type": "tool_call", **call} for call in calls)]
    usage = getattr(value, "usage_metadata", None)
    if usage:
        said["usage"] = {name: count for name, count in usage.items() if isinstance(count, int)}
    return said, calls


def _parts(message: BaseMessage) -> list[dict[str, Any]]:
    content: Any = message.content
    call = getattr(message, "tool_call_id", None)
    if call is None:
        return _read(content)
    found = _read(content)
    only_text = all(part["type"] == "text" for part in found)
    given = "".join(part["text"] for part in found) if only_text else found
    error = {"is_error": True} if getattr(message, "status", None) == "error" else {}
    return [{"type": "tool_result", "id": call, "content": given, **error}]


def _read(content: Any) -> list[dict[str, Any]]:
    """Content in the form that every conversion reads: texts, thoughts with what signs them, files, other blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    said = Messages.from_langchain([{"type": "human", "content": content}])
    return [_kept(part) for part in said[0]["parts"]] if said else []


def _kept(part: dict[str, Any]) -> dict[str, Any]:
    """A part that can be recorded: of a block that cannot be, what kind it is. The serializer keeps it whole."""
    try:
        encode(part, where="message")
    except NotSerializable:
        block = part.get("data")
        return {"type": "data", "data": {"type": str(block.get("type"))} if isinstance(block, dict) else None}
    return part


LONGEST = 8192
"""Of what is no text, no more than that is worth a place in a dictionary of 32 KB. Part of the stored format."""


class Words(NamedTuple):
    """What a message event says, which the stored form of the message does not say again."""

    text: bytes = b""
    """All text: the form is compressed against it."""
    long: tuple[bytes, ...] = ()
    """What is too long for that, images for example: it is cut out of the form."""


def words_of(said: dict[str, Any], *, short: bool = False) -> Words:
    """`short`: where it is known that no text in it is long."""
    if short:
        return Words(text_of(said).encode())
    long = {text for text in _strings(said.get("parts")) if len(text) > LONGEST}
    return Words(text_of(said).encode(), tuple(sorted(text.encode("utf-8", "surrogatepass") for text in long)))


def _strings(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, (dict, list)):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _strings(each)


def text_of(said: dict[str, Any]) -> str:
    """All text of a message event, and what signs it: what the stored form of the message is compressed against."""
    parts = said.get("parts")
    return "".join(text for part in parts or () if isinstance(part, dict) for text in _texts(part))


def _texts(part: dict[str, Any]) -> Iterator[str]:
    text = part.get("text", part.get("content"))
    if isinstance(text, str):
        yield text
    elif isinstance(text, list) and any(_has_text(each) for each in text):
        for each in text:  # without a text in it, a list stands there as it was told before files were
            if isinstance(each, dict):
                yield from _texts(each)
    for name in _BESIDE.get(str(part.get("type")), ()):
        found = part.get(name)
        if isinstance(found, str) and len(found) <= LONGEST:
            yield found


def _has_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str) and part["text"] != ""


_BESIDE = {"reasoning": ("signature", "redacted", "encrypted"), "file": ("data", "url")}


def name_of(said: dict[str, Any]) -> bytes:
    """The id of a message event, which its stored form is compressed against too."""
    name = said.get("id")
    return name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b""
