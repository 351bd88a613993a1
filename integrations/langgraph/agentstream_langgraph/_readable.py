"""What a message says, as the event that every reader of a session knows."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage

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
    blocks = [content] if isinstance(content, str) else list(content)
    call = getattr(message, "tool_call_id", None)
    if call is not None:
        return [{"type": "tool_result", "id": call, "content": "".join(map(_text, blocks)) or content}]
    return [_part(block) for block in blocks if block != ""]


def _part(block: Any) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    if kind in ("reasoning", "thinking"):
        text = block.get("reasoning") or block.get("thinking") or block.get("text")
        if isinstance(text, str):
            return {"type": "reasoning", "text": text}
    return {"type": "data", "data": {"type": kind} if kind else None}


def _text(block: Any) -> str:
    text = block if isinstance(block, str) else block.get("text") if isinstance(block, dict) else None
    return text if isinstance(text, str) else ""


def text_of(said: dict[str, Any]) -> str:
    """All text of a message event: what the stored form of the message is compressed against."""
    parts = said.get("parts")
    texts = [part.get("text", part.get("content")) for part in parts or () if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def name_of(said: dict[str, Any]) -> bytes:
    """The id of a message event, which its stored form is compressed against too."""
    name = said.get("id")
    return name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b""
