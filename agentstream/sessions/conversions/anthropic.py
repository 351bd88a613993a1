"""Anthropic's Messages: `system=` and `messages=` of `client.messages.create`.

System messages are hoisted; results of tools stand first in the user's message after the calls; roles take turns.
Thinking goes along where Anthropic signed it, and only then (the API refuses any other).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentstream.sessions.conversions.blocks import read_content, read_text
from agentstream.sessions.conversions.parts import (
    File,
    Message,
    Part,
    arguments_object,
    arguments_text,
    as_text,
    data_file,
    file_of,
    is_kind,
    is_signed_by_anthropic,
    kept_file,
    kind_of,
    message,
    reasoning,
    result_parts,
    role_of,
    text_of,
    told,
    url_part,
)
from agentstream.sessions.conversions.turns import tool_name, turns

RAW = "_arguments"
"""The field that stands for arguments which are no object: the API takes nothing else."""

_IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_IDS = frozenset(("type", "id", "name", "server_name", "tool_use_id", "file_id"))
_CALLS = frozenset(("tool_use", "toolset_tool_use"))


def write(messages: Iterable[Message], *, close: bool = True) -> dict[str, Any]:
    """`{"messages": …}`, with `system` where there is one."""
    system: list[str] = []
    made: list[dict[str, Any]] = []
    for turn in turns(messages, close=close):
        if turn.role == "system":
            system += [text for part in turn.of("text") if (text := text_of(part)) and text not in system]
            continue
        role = "assistant" if turn.role == "assistant" else "user"
        blocks = [block for part in turn.parts if (block := _block(part, role)) is not None]
        if not blocks:
            continue
        if made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        else:
            made.append({"role": role, "content": blocks})
    return {**({"system": "\n\n".join(system)} if system else {}), "messages": made}


def _block(part: Part, role: str) -> dict[str, Any] | None:
    kind = kind_of(part)
    if kind == "text":
        return {"type": "text", "text": text_of(part)} if text_of(part).strip() else None
    if kind == "tool_result":
        error = {"is_error": True} if part.get("is_error") else {}
        return {"type": "tool_result", "tool_use_id": part["id"], "content": _given(part), **error}
    if kind == "file":
        file = file_of(part)
        return None if file is None else _file(file, part) if role == "user" else {"type": "text", "text": told(part)}
    if kind == "data":
        return _data(part.get("data"), role)
    if role != "assistant":
        return None
    if kind == "tool_call":
        arguments = arguments_object(part)
        arguments = {RAW: arguments_text(part)} if arguments is None else arguments
        return {"type": "tool_use", "id": part["id"], "name": tool_name(part), "input": arguments}
    return thinking(part) if kind == "reasoning" else None


def thinking(part: Part) -> dict[str, Any] | None:
    if not is_signed_by_anthropic(part):
        return None
    if part.get("redacted"):
        return {"type": "redacted_thinking", "data": part["redacted"]}
    return {"type": "thinking", "thinking": text_of(part), "signature": part["signature"]}


def _data(data: Any, role: str) -> dict[str, Any] | None:
    """A block of Anthropic's own tools where the record has it whole; of the user's, what it says."""
    if isinstance(data, dict) and isinstance(data.get("type"), str) and _is_own(data):
        return data if not data.keys() <= _IDS else None
    return {"type": "text", "text": as_text(data)} if role == "user" else None


def _is_own(block: dict[str, Any]) -> bool:
    kind: str = block["type"]
    return kind.endswith("_tool_use") or (kind.endswith("_tool_result") and "tool_use_id" in block)


def _given(part: Part) -> str | list[dict[str, Any]]:
    given = result_parts(part)
    if all(is_kind(each, "text") for each in given):
        return "".join(text_of(each) for each in given)
    return [block for each in given if (block := _block(each, "user")) is not None]


def _file(file: File, part: Part) -> dict[str, Any]:
    kind = "image" if file.kind == "image" else "document"
    if file.id is not None:
        return {"type": kind, "source": {"type": "file", "file_id": file.id}}
    if file.url is not None:
        usable = file.kind in ("image", "application")
        source = {"type": "url", "url": file.url}
        return {"type": kind, "source": source} if usable else {"type": "text", "text": told(part)}
    titled = {"title": file.name} if file.name and kind == "document" else {}
    if file.media_type in _IMAGES or file.media_type == "application/pdf":
        source = {"type": "base64", "media_type": file.media_type, "data": file.base64()}
        return {"type": kind, "source": source, **titled}
    if file.is_text:
        text = file.read().decode("utf-8", "replace")
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, **titled}
    return {"type": "text", "text": told(part)}


# --- and back --------------------------------------------------------------------------------------------------------


def read(messages: Iterable[Any], system: Any = None) -> list[Message]:
    """Messages and, where given, the system prompt. A user's message with results of tools becomes two."""
    made = [message("system", parts)] if (parts := _parts(system)) else []
    for said in messages:
        if not isinstance(said, dict):
            continue
        parts = _parts(said.get("content"))
        results = [part for part in parts if is_kind(part, "tool_result")]
        rest = [part for part in parts if not is_kind(part, "tool_result")]
        made += [message(role, some) for role, some in (("tool", results), (role_of(said), rest)) if some]
    return made


def _parts(content: Any) -> list[Part]:
    return read_content(content, _part)


def _part(block: dict[str, Any]) -> Part | None:
    kind = kind_of(block)
    if kind == "text":
        return read_text(block.get("text"))
    if kind == "thinking":
        return reasoning(block.get("thinking"), signature=block.get("signature"))
    if kind == "redacted_thinking":
        return reasoning("", redacted=block.get("data"))
    if kind in _CALLS:
        arguments = block.get("input")
        if isinstance(arguments, dict) and arguments.keys() == {RAW}:
            arguments = arguments[RAW]
        return {"type": "tool_call", "id": str(block.get("id")), "name": block.get("name"), "arguments": arguments}
    if kind == "tool_result":
        content = block.get("content")
        given = _parts(content) if isinstance(content, list) else content
        error = {"is_error": True} if block.get("is_error") else {}
        return {"type": "tool_result", "id": str(block.get("tool_use_id")), "content": given or "", **error}
    source = block.get("source")
    if kind in ("image", "document") and isinstance(source, dict):
        return _source(kind, source, block.get("title"))
    return {"type": "data", "data": block}


def _source(kind: str, source: dict[str, Any], title: Any) -> Part | None:
    name = title if isinstance(title, str) else None
    way, data = source.get("type"), source.get("data")
    if way == "url":
        return url_part(str(source.get("url")), "image/*" if kind == "image" else "application/pdf", name)
    if way == "file":
        kept = kept_file(str(source.get("file_id")), name)
        return {**kept, "media_type": "image/*"} if kind == "image" else kept
    if not isinstance(data, str):
        return {"type": "data", "data": {"type": kind, "source": source}}
    if way == "text":
        return data_file(data.encode("utf-8", "surrogatepass"), "text/plain", name)
    return data_file(data, source.get("media_type"), name)
