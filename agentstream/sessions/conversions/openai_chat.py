"""OpenAI's Chat Completions: `messages=` of `client.chat.completions.create`.

Its assistant messages hold text and calls, so reasoning has no place in them. A tool's result is text: files in one
follow in a message of the user's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentstream.sessions.conversions.blocks import read_content, read_text, write_block, write_content
from agentstream.sessions.conversions.parts import (
    File,
    Message,
    Part,
    arguments_text,
    data_file,
    is_kind,
    kept_file,
    kind_of,
    listed,
    message,
    reasoning,
    result_parts,
    role_of,
    text_of,
    text_part,
    told,
    url_part,
)
from agentstream.sessions.conversions.turns import Turn, joined, tool_name, turns

_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def write(messages: Iterable[Message], *, close: bool = True) -> list[dict[str, Any]]:
    return [made for turn in turns(messages, close=close) for made in _written(turn)]


def _written(turn: Turn) -> list[dict[str, Any]]:
    if turn.role == "system":
        text = joined(turn.parts)
        return [{"role": "system", "content": text}] if text else []
    if turn.role == "user":
        content = _content(turn.parts)
        return [{"role": "user", "content": content}] if content else []
    if turn.role == "tool":
        return _results(turn)
    texts = [text_of(part) or told(part) for part in turn.of("text", "file")]
    made: dict[str, Any] = {"role": "assistant", "content": "\n\n".join(filter(None, texts)) or None}
    calls = [_call(part) for part in turn.of("tool_call")]
    if calls:
        made["tool_calls"] = calls
    return [made] if calls or made["content"] else []


def _call(part: Part) -> dict[str, Any]:
    if part.get("custom"):
        return {"id": part["id"], "type": "custom", "custom": {"name": tool_name(part), "input": arguments_text(part)}}
    function = {"name": tool_name(part), "arguments": arguments_text(part)}
    return {"id": part["id"], "type": "function", "function": function}


def _results(turn: Turn) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    files: list[Part] = []
    for part in turn.parts:
        given = result_parts(part)
        text = "".join(text_of(each) if is_kind(each, "text") else told(each) for each in given)
        made.append({"role": "tool", "tool_call_id": part["id"], "content": text})
        files += [each for each in given if is_kind(each, "file")]
    content = _content(files)
    if files and content:
        made.append({"role": "user", "content": content})
    return made


def _content(parts: list[Part]) -> str | list[dict[str, Any]]:
    return write_content(parts, _block)


def _block(part: Part) -> dict[str, Any] | None:
    return write_block(part, "text", lambda file: _file(file, part))


def _file(file: File, part: Part) -> dict[str, Any]:
    if file.id is not None:
        return {"type": "file", "file": {"file_id": file.id}}
    if file.kind == "image":
        return {"type": "image_url", "image_url": {"url": file.url or file.data_url()}}
    if file.url is not None:
        return {"type": "text", "text": told(part)}
    if file.media_type in _AUDIO:
        return {"type": "input_audio", "input_audio": {"data": file.base64(), "format": _AUDIO[file.media_type]}}
    if file.is_text:
        return {"type": "text", "text": file.read().decode("utf-8", "replace")}
    if file.media_type == "application/pdf":
        return {"type": "file", "file": {"filename": file.name or "file.pdf", "file_data": file.data_url()}}
    return {"type": "text", "text": told(part)}


# --- and back --------------------------------------------------------------------------------------------------------


def read(messages: Iterable[Any]) -> list[Message]:
    return [made for said in messages if isinstance(said, dict) and (made := _read(said)) is not None]


def _read(said: dict[str, Any]) -> Message | None:
    role = role_of(said)
    parts = _parts(said.get("content"))
    if role == "tool":
        call = said.get("tool_call_id") or said.get("name")
        content = said.get("content") if isinstance(said.get("content"), str) else parts
        return message("tool", [{"type": "tool_result", "id": str(call), "content": content}])
    if role == "assistant":
        thought = said.get("reasoning_content") or said.get("reasoning")
        if isinstance(thought, str) and thought:
            parts.insert(0, reasoning(thought))
        if isinstance(said.get("refusal"), str) and said["refusal"]:
            parts.append(text_part(said["refusal"]))
        parts += [call for each in listed(said.get("tool_calls")) if (call := read_call(each)) is not None]
    return message(role, parts) if parts else None


def read_call(call: dict[str, Any]) -> Part | None:
    """A tool call of a message; None for what is none."""
    function, custom = call.get("function"), call.get("custom")
    if isinstance(custom, dict):
        made = {"name": custom.get("name"), "arguments": custom.get("input"), "custom": True}
    elif isinstance(function, dict):
        made = {"name": function.get("name"), "arguments": function.get("arguments")}
    else:
        return None
    return {"type": "tool_call", "id": str(call.get("id")), **made}


def _parts(content: Any) -> list[Part]:
    return read_content(content, _part)


def _part(block: dict[str, Any]) -> Part | None:
    kind = kind_of(block)
    inner: dict[str, Any] = block[kind] if isinstance(block.get(kind), dict) else {}
    if kind in ("text", "refusal"):
        return read_text(block.get(kind))
    if kind == "image_url":
        url = block["image_url"] if isinstance(block.get("image_url"), str) else inner.get("url")
        return url_part(url, None if url.startswith("data:") else "image/*") if isinstance(url, str) and url else None
    if kind == "input_audio":
        return data_file(str(inner.get("data") or ""), "audio/wav" if inner.get("format") == "wav" else "audio/mpeg")
    if kind == "file":
        name = inner["filename"] if isinstance(inner.get("filename"), str) else None
        if inner.get("file_id"):
            return kept_file(str(inner["file_id"]), name)
        return url_part(str(inner["file_data"]), None, name) if inner.get("file_data") else None
    return {"type": "data", "data": block}
