"""OpenAI's Responses: `input=` of `client.responses.create`, a list of items.

Reasoning goes along where OpenAI encrypted it (`include=["reasoning.encrypted_content"]` when it was made); what its
own tools did goes along where the record has it whole.
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
    is_encrypted_by_openai,
    is_kind,
    kept_file,
    kind_of,
    listed,
    message,
    reasoning,
    result_parts,
    result_text,
    role_of,
    text_of,
    text_part,
    told,
    url_part,
)
from agentstream.sessions.conversions.turns import Turn, joined, tool_name, turns

_OUTPUTS = {"function_call_output": False, "custom_tool_call_output": True}
_REFERRED = frozenset(("item_reference",))


def write(messages: Iterable[Message], *, close: bool = True) -> list[dict[str, Any]]:
    return [made for turn in turns(messages, close=close) for made in _written(turn)]


def _written(turn: Turn) -> list[dict[str, Any]]:
    if turn.role == "system":
        text = joined(turn.parts)
        return [{"type": "message", "role": "system", "content": text}] if text else []
    if turn.role == "user":
        content = _content(turn.parts)
        return [{"type": "message", "role": "user", "content": content}] if content else []
    if turn.role == "tool":
        return [_output(part) for part in turn.parts]
    return [made for part in turn.parts if (made := item(part)) is not None]


def item(part: Part) -> dict[str, Any] | None:
    kind = kind_of(part)
    if kind == "text":
        phase = {"phase": part["phase"]} if part.get("phase") else {}
        text = text_of(part)
        return {"type": "message", "role": "assistant", "content": text, **phase} if text else None
    if kind == "file":
        return {"type": "message", "role": "assistant", "content": told(part)} if told(part) else None
    if kind == "reasoning" and is_encrypted_by_openai(part):
        summary = [{"type": "summary_text", "text": part["text"]}] if part.get("text") else []
        named = {"id": part["id"]} if part.get("id") else {}
        return {"type": "reasoning", **named, "summary": summary, "encrypted_content": part["encrypted"]}
    if kind == "tool_call":
        call = {"call_id": part["id"], "name": tool_name(part)}
        if part.get("custom"):
            return {"type": "custom_tool_call", **call, "input": arguments_text(part)}
        return {"type": "function_call", **call, "arguments": arguments_text(part)}
    return part["data"] if kind == "data" and _is_whole(part.get("data")) else None


def _is_whole(item: Any) -> bool:
    """Whether an item of a tool of OpenAI's own has all that it had: a record may only tell that there was one."""
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind in _REFERRED:
        return False
    return (kind.endswith("_call") or kind in ("mcp_list_tools", "compaction")) and not item.keys() <= {
        "type",
        "id",
        "status",
    }


def _output(part: Part) -> dict[str, Any]:
    if part.get("custom"):
        return {"type": "custom_tool_call_output", "call_id": part["id"], "output": result_text(part)}
    given = result_parts(part)
    output = result_text(part) if all(is_kind(each, "text") for each in given) else _content(given)
    return {"type": "function_call_output", "call_id": part["id"], "output": output}


def _content(parts: list[Part]) -> str | list[dict[str, Any]]:
    return write_content(parts, _block, "input_text")


def _block(part: Part) -> dict[str, Any] | None:
    return write_block(part, "input_text", lambda file: _file(file, part))


def _file(file: File, part: Part) -> dict[str, Any]:
    if file.kind == "image":
        place = {"file_id": file.id} if file.id is not None else {"image_url": file.url or file.data_url()}
        return {"type": "input_image", "detail": "auto", **place}
    if file.id is not None:
        return {"type": "input_file", "file_id": file.id}
    if file.url is not None:
        return {"type": "input_file", "file_url": file.url}
    if file.is_text:
        return {"type": "input_text", "text": file.read().decode("utf-8", "replace")}
    if file.media_type == "application/pdf":
        return {"type": "input_file", "filename": file.name or "file.pdf", "file_data": file.data_url()}
    return {"type": "input_text", "text": told(part)}


# --- and back --------------------------------------------------------------------------------------------------------


def read(items: Any) -> list[Message]:
    """Items, or the text that `input=` may be. Neighbours that a model said are one message: one answer."""
    if isinstance(items, str):
        return [message("user", [text_part(items)])] if items else []
    made: list[Message] = []
    for item in items:
        said = _read(item) if isinstance(item, dict) else None
        if said is not None and made and said["role"] == made[-1]["role"] != "user":
            made[-1]["parts"] += said["parts"]
        elif said is not None:
            made.append(said)
    return made


def _read(item: dict[str, Any]) -> Message | None:
    kind = kind_of(item) or ("message" if "role" in item else "")
    if kind in _REFERRED:
        return None
    if kind == "message":
        role = role_of(item)
        parts = _parts(item.get("content"))
        if item.get("phase"):
            parts = [{**part, "phase": item["phase"]} if is_kind(part, "text") else part for part in parts]
        return message(role, parts) if parts else None
    if kind == "reasoning":
        texts = [part.get("text") for name in ("summary", "content") for part in listed(item.get(name))]
        text = "\n\n".join(text for text in texts if isinstance(text, str))
        return message("assistant", [reasoning(text, id=item.get("id"), encrypted=item.get("encrypted_content"))])
    if kind in ("function_call", "custom_tool_call"):
        custom = {"custom": True} if kind == "custom_tool_call" else {}
        arguments = item.get("input") if custom else item.get("arguments")
        call = {"id": str(item.get("call_id") or item.get("id")), "name": item.get("name"), "arguments": arguments}
        return message("assistant", [{"type": "tool_call", **call, **custom}])
    if kind in _OUTPUTS:
        output = item.get("output")
        content = _parts(output) if isinstance(output, list) else output
        return message("tool", [{"type": "tool_result", "id": str(item.get("call_id")), "content": content}])
    return message("assistant", [{"type": "data", "data": item}])


def _parts(content: Any) -> list[Part]:
    return read_content(content, _part)


def _part(block: dict[str, Any]) -> Part | None:
    kind = kind_of(block)
    if kind in ("input_text", "output_text", "text", "refusal"):
        return read_text(block.get("refusal" if kind == "refusal" else "text"))
    if kind in ("input_image", "input_file"):
        media = "image/*" if kind == "input_image" else None
        url, name = block.get("image_url") or block.get("file_url"), block.get("filename")
        name = name if isinstance(name, str) else None
        if isinstance(url, str):
            return url_part(url, None if url.startswith("data:") else media, name)
        if isinstance(block.get("file_data"), str):
            data = block["file_data"]
            return url_part(data, None, name) if data.startswith("data:") else data_file(data, None, name)
        if isinstance(block.get("file_id"), str):
            return {**kept_file(block["file_id"], name), **({"media_type": media} if media else {})}
        return None
    return {"type": "data", "data": block}
