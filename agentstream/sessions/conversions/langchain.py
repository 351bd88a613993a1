"""LangChain's messages: what chat models, LangGraph's `messages` and `create_agent` take.

Content is in LangChain's standard blocks (langchain-core 1). Signed thinking and encrypted reasoning stand in the form
of the provider that they are from, which the message names; LangChain leaves them out for any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentstream.errors import AgentStreamError
from agentstream.sessions.conversions import anthropic, openai_chat, openai_responses
from agentstream.sessions.conversions.blocks import write_block, write_content
from agentstream.sessions.conversions.parts import (
    File,
    Message,
    Part,
    arguments_object,
    arguments_text,
    as_text,
    data_file,
    is_encrypted_by_openai,
    is_kind,
    is_signed_by_anthropic,
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

UNSIGNED = "reasoning_content"
"""Where reasoning stands that no provider asks to be given back."""

_MEDIA = ("image", "audio", "video")
_FILES = (*_MEDIA, "file", "text-plain")


def write(messages: Iterable[Message], *, close: bool = True) -> list[Any]:
    """`BaseMessage`s. AgentStreamError where langchain-core is not installed."""
    try:
        from langchain_core import messages as kinds
    except ModuleNotFoundError as missing:
        raise AgentStreamError("as_langchain() makes LangChain's messages: pip install langchain-core") from missing

    made: list[Any] = []
    for turn in turns(messages, close=close):
        named = {"id": turn.id} if turn.id else {}
        if turn.role == "system":
            if text := joined(turn.parts):
                made.append(kinds.SystemMessage(text, **named))
        elif turn.role == "user":
            if content := _content(turn.parts):
                made.append(kinds.HumanMessage(content, **named))
        elif turn.role == "tool":
            made += [kinds.ToolMessage(**_result(part)) for part in turn.parts]
        else:
            made.append(kinds.AIMessage(**named, **_answer(turn)))
    return made


def _answer(turn: Turn) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    invalid: list[dict[str, Any]] = []
    unsigned: list[str] = []
    provider: str | None = None
    for part in turn.parts:
        kind = kind_of(part)
        if kind == "tool_call":
            arguments, call = arguments_object(part), {"id": part["id"], "name": tool_name(part)}
            if arguments is None:
                invalid.append({**call, "args": arguments_text(part), "error": "the arguments are no JSON object"})
            else:
                calls.append({**call, "args": arguments})
        elif kind == "reasoning":
            thought = _thinking(part)
            if thought is None:
                unsigned.append(text_of(part))
            else:
                blocks.append(thought)
                provider = "openai" if is_encrypted_by_openai(part) else "anthropic"
        elif block := _block(part):
            blocks.append(block)
    plain = len(blocks) == 1 and blocks[0]["type"] == "text" and len(blocks[0]) == 2
    content: Any = "" if not blocks else blocks[0]["text"] if plain else blocks
    metadata = {"model_provider": provider, "model_name": turn.model}
    return {
        "content": content,
        "tool_calls": calls,
        "invalid_tool_calls": invalid,
        "additional_kwargs": {UNSIGNED: "\n\n".join(unsigned)} if any(unsigned) else {},
        "response_metadata": {name: value for name, value in metadata.items() if value},
    }


def _thinking(part: Part) -> dict[str, Any] | None:
    if is_encrypted_by_openai(part):
        return openai_responses.item(part)
    return anthropic.thinking(part) if is_signed_by_anthropic(part) else None


def _result(part: Part) -> dict[str, Any]:
    status = {"status": "error"} if part.get("is_error") else {}
    content = _content(result_parts(part))
    return {"content": content, "tool_call_id": part["id"], "name": tool_name(part), **status}


def _content(parts: list[Part]) -> str | list[Any]:
    return write_content(parts, _block)


def _block(part: Part) -> dict[str, Any] | None:
    return _data(part.get("data")) if is_kind(part, "data") else write_block(part, "text", _file)


def _data(data: Any) -> dict[str, Any] | None:
    """A provider's own block as it is where it is whole (LangChain hands on what it does not know); else as text."""
    if isinstance(data, dict) and isinstance(data.get("type"), str):
        return data if not data.keys() <= {"type", "id", "status"} else None
    return {"type": "text", "text": as_text(data)} if data is not None else None


def _file(file: File) -> dict[str, Any]:
    kind = file.kind if file.kind in _MEDIA else "file"
    if file.id is not None:
        return {"type": kind, "file_id": file.id}
    typed = {} if file.media_type.endswith("/*") else {"mime_type": file.media_type}
    named = {"filename": file.name} if file.name else {}
    place = {"url": file.url} if file.url is not None else {"base64": file.base64()}
    return {"type": kind, **place, **typed, **named}


# --- and back --------------------------------------------------------------------------------------------------------


def read(messages: Iterable[Any]) -> list[Message]:
    """LangChain's messages, or what `model_dump()` or `messages_to_dict()` makes of them."""
    return [made for said in messages if (made := _read(_plain(said))) is not None]


def _plain(said: Any) -> dict[str, Any]:
    dumped = said.model_dump() if hasattr(said, "model_dump") else said
    if not isinstance(dumped, dict):
        return {}
    inner = dumped.get("data")
    return {"type": dumped.get("type"), **inner} if isinstance(inner, dict) and "type" in dumped else dumped


def _read(said: dict[str, Any]) -> Message | None:
    kind = said.get("type")
    role = role_of({"role": kind.lower().removesuffix("messagechunk") if isinstance(kind, str) else "user"})
    id = said["id"] if isinstance(said.get("id"), str) else None
    parts = _parts(said.get("content"))
    if role == "tool":
        content = said.get("content")
        content = content if isinstance(content, str) else parts
        result = {"type": "tool_result", "id": str(said.get("tool_call_id")), "content": content}
        error = {"is_error": True} if said.get("status") == "error" else {}
        named = {"name": said["name"]} if said.get("name") else {}
        return message("tool", [{**result, **error, **named}], id=id)
    if role == "assistant":
        extra, told_of = said.get("additional_kwargs"), said.get("response_metadata")
        thought = extra.get(UNSIGNED) if isinstance(extra, dict) else None
        if isinstance(thought, str) and thought:
            parts.insert(0, reasoning(thought))
        calls = [*listed(said.get("tool_calls")), *listed(said.get("invalid_tool_calls"))]
        parts += [
            {"type": "tool_call", "id": str(call.get("id")), "name": call.get("name"), "arguments": call.get("args")}
            for call in calls
        ]
        model = told_of.get("model_name") if isinstance(told_of, dict) else None
        return message(role, parts, id=id, model=model) if parts else None
    return message(role, parts, id=id) if parts else None


def _parts(content: Any) -> list[Part]:
    blocks = [content] if isinstance(content, str) else content if isinstance(content, list) else []
    return [part for block in blocks if block and (part := read_block(block)) is not None]


_IN_TOOL_CALLS = frozenset(("tool_use", "tool_call", "function_call", "input_json_delta", "custom_tool_call"))


def read_block(block: Any) -> Part | None:
    """A block of content, in LangChain's form or a provider's; None for a call, which stands in `tool_calls`."""
    if isinstance(block, str):
        return text_part(block)
    if not isinstance(block, dict):
        return None
    kind = kind_of(block)
    if kind in _IN_TOOL_CALLS:
        return None
    if kind == "reasoning":
        return _reasoning(block)
    if kind in _FILES and any(name in block for name in ("url", "base64", "file_id", "data", "text")):
        return _file_part(kind, block)
    if kind in ("image_url", "input_audio", "file"):
        return next((part for said in openai_chat.read([{"content": [block]}]) for part in said["parts"]), None)
    return next((part for said in anthropic.read([{"content": [block]}]) for part in said["parts"]), None)


def _reasoning(block: dict[str, Any]) -> Part | None:
    if block.get("summary") or block.get("encrypted_content"):
        encrypted = openai_responses.read([{**block, "content": None}])[0]["parts"][0]
        return {**encrypted, "text": encrypted["text"] or text_of({"text": block.get("reasoning")})}
    extras = block.get("extras")
    signature = extras.get("signature") if isinstance(extras, dict) else None
    return reasoning(block.get("reasoning") or block.get("text"), signature=signature)


def _file_part(kind: str, block: dict[str, Any]) -> Part | None:
    media, name = (block[key] if isinstance(block.get(key), str) else None for key in ("mime_type", "filename"))
    if isinstance(block.get("url"), str):
        return url_part(block["url"], media or (f"{kind}/*" if kind in _MEDIA else None), name)
    if isinstance(block.get("file_id"), str):
        kept = kept_file(block["file_id"], name)
        return {**kept, "media_type": f"{kind}/*"} if kind in _MEDIA else kept
    data = block.get("base64") or block.get("data")
    if isinstance(data, (str, bytes)):
        return data_file(data, media, name)
    text = block.get("text")
    return text_part(text) if isinstance(text, str) else text_part(told(block))
