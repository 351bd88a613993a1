"""Pydantic AI's messages: what `message_history=` takes.

Thinking names the provider that signed or encrypted it; Pydantic AI gives it back to that one alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentstream.errors import AgentStreamError
from agentstream.sessions.conversions.blocks import read_text
from agentstream.sessions.conversions.parts import (
    File,
    Message,
    Part,
    arguments_text,
    as_text,
    data_file,
    file_of,
    is_encrypted_by_openai,
    is_kind,
    kept_file,
    kind_of,
    listed,
    message,
    reasoning,
    result_parts,
    text_of,
    text_part,
    told,
    url_part,
)
from agentstream.sessions.conversions.turns import INTERRUPTED, Turn, tool_name, turns

_REDACTED = "redacted_thinking"
_SOME_TIME = "1970-01-01T00:00:00Z"
"""For messages whose time is not known: the same each time, or a model call made of them would be another."""

_URLS = {"image": "image-url", "audio": "audio-url", "video": "video-url"}
_CALLS = ("builtin-tool-call", "builtin-tool-return")
_FAILED = ("failed", "retried", "interrupted")


def write(messages: Iterable[Message], *, close: bool = True) -> list[Any]:
    """`ModelRequest`s and `ModelResponse`s. AgentStreamError where pydantic-ai is not installed."""
    return _adapter("as_pydantic_ai()").validate_python(dumped(messages, close=close))


def _adapter(asked: str) -> Any:
    try:
        from pydantic_ai.messages import ModelMessagesTypeAdapter
    except ModuleNotFoundError as missing:
        raise AgentStreamError(f"{asked} is about Pydantic AI's messages: pip install pydantic-ai-slim") from missing
    return ModelMessagesTypeAdapter


def dumped(messages: Iterable[Message], *, close: bool = True) -> list[dict[str, Any]]:
    """The same as `ModelMessagesTypeAdapter` writes it."""
    made: list[dict[str, Any]] = []
    for turn in turns(messages, close=close):
        at = turn.timestamp or _SOME_TIME
        if turn.role == "assistant":
            parts = [part for each in turn.parts if (part := _answered(each, made)) is not None]
            if parts:
                model = {"model_name": turn.model} if turn.model else {}
                made.append({"kind": "response", "parts": parts, "timestamp": at, **model})
            continue
        parts = [{**part, "timestamp": at} for part in _asked(turn)]
        if parts and made and made[-1]["kind"] == "request":
            made[-1]["parts"] += parts
        elif parts:
            made.append({"kind": "request", "parts": parts, "timestamp": at})
    return made


def _asked(turn: Turn) -> list[dict[str, Any]]:
    if turn.role == "system":
        return [{"part_kind": "system-prompt", "content": text} for part in turn.of("text") if (text := text_of(part))]
    if turn.role == "tool":
        return [_result(part) for part in turn.parts]
    content = [block for part in turn.parts if (block := _content(part)) is not None]
    if not content:
        return []
    alone = content[0] if len(content) == 1 and isinstance(content[0], str) else content
    return [{"part_kind": "user-prompt", "content": alone}]


def _result(part: Part) -> dict[str, Any]:
    content = part.get("content")
    given = result_parts(part)
    if any(is_kind(each, "file") for each in given):
        content = [block for each in given if (block := _content(each)) is not None]
    elif given is content:
        content = "".join(text_of(each) for each in given)
    outcome = "success"
    if part.get("is_error"):
        outcome = "interrupted" if content == INTERRUPTED else "failed"
    call = {"tool_name": tool_name(part), "tool_call_id": part["id"]}
    return {"part_kind": "tool-return", **call, "content": content, "outcome": outcome}


def _content(part: Part) -> str | dict[str, Any] | None:
    if is_kind(part, "text"):
        return text_of(part) or None
    if is_kind(part, "data"):
        return as_text(part.get("data"))
    file = file_of(part) if is_kind(part, "file") else None
    if file is None or file.id is not None:
        return told(part) or None
    return _file(file)


def _file(file: File) -> dict[str, Any]:
    if file.url is None:
        return {"kind": "binary", "data": file.base64(), "media_type": file.media_type}
    typed = {} if file.media_type.endswith("/*") else {"media_type": file.media_type}
    return {"kind": _URLS.get(file.kind, "document-url"), "url": file.url, **typed}


def _answered(part: Part, before: list[dict[str, Any]]) -> dict[str, Any] | None:
    kind = kind_of(part)
    if kind == "text":
        return {"part_kind": "text", "content": text_of(part)} if text_of(part) else None
    if kind == "reasoning":
        return _thinking(part)
    if kind == "tool_call":
        call = {"tool_name": tool_name(part), "tool_call_id": part["id"]}
        return {"part_kind": "tool-call", **call, "args": arguments_text(part)}
    file = file_of(part) if kind == "file" else None
    if file is not None:
        if file.url is not None or file.id is not None:
            return {"part_kind": "text", "content": told(part)}
        return {"part_kind": "file", "content": _file(file)}
    data = part.get("data")
    own = kind == "data" and isinstance(data, dict) and data.get("part_kind") in _CALLS
    return data if own else None


def _thinking(part: Part) -> dict[str, Any] | None:
    thought: dict[str, Any] = {"part_kind": "thinking", "content": text_of(part)}
    if is_encrypted_by_openai(part):
        named = {"id": part["id"]} if part.get("id") else {}
        return {**thought, **named, "signature": part["encrypted"], "provider_name": "openai"}
    if part.get("redacted"):
        return {**thought, "id": _REDACTED, "signature": part["redacted"], "provider_name": "anthropic"}
    if part.get("signature"):
        return {**thought, "signature": part["signature"], "provider_name": part.get("provider", "anthropic")}
    return thought if thought["content"] else None


# --- and back --------------------------------------------------------------------------------------------------------


def read(messages: Any) -> list[Message]:
    """Messages, or what `ModelMessagesTypeAdapter` writes of them. AgentStreamError where pydantic-ai is not installed
    (and messages, no plain JSON, were given)."""
    given = list(messages)
    if not all(isinstance(said, dict) for said in given):
        given = _adapter("from_pydantic_ai()").dump_python(given, mode="json")
    return [made for said in given for made in _read(said)]


def _read(said: dict[str, Any]) -> list[Message]:
    at = said.get("timestamp") if said.get("timestamp") != _SOME_TIME else None
    parts = listed(said.get("parts"))
    if said.get("kind") == "response":
        answer = [read for part in parts if (read := _answer_part(part)) is not None]
        return [message("assistant", answer, model=said.get("model_name"), timestamp=at)] if answer else []
    made: list[Message] = []
    instructions = said.get("instructions")
    if isinstance(instructions, str) and instructions:
        made.append(message("system", [text_part(instructions)]))
    for part in parts:
        role, some = _request_part(part)
        if some and made and made[-1]["role"] == role:
            made[-1]["parts"] += some
        elif some:
            made.append(message(role, some, timestamp=at))
    return made


def _request_part(part: dict[str, Any]) -> tuple[str, list[Part]]:
    kind, content = part.get("part_kind"), part.get("content")
    if kind == "system-prompt":
        return "system", [text_part(as_text(content))]
    if kind == "tool-return" or (kind == "retry-prompt" and part.get("tool_name")):
        error = {"is_error": True} if kind == "retry-prompt" or part.get("outcome") in _FAILED else {}
        name = {"name": part["tool_name"]} if part.get("tool_name") else {}
        given = _given(content)
        return "tool", [{"type": "tool_result", "id": str(part.get("tool_call_id")), "content": given, **error, **name}]
    if kind in ("user-prompt", "retry-prompt", "retry-feedback"):
        return "user", [made for each in _each(content) if (made := _content_part(each)) is not None]
    return "user", []


def _each(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [content]


def _given(content: Any) -> Any:
    """What a tool returned: JSON as it is, but files in it as parts."""
    listed = _each(content)
    if not any(isinstance(each, dict) and _is_file(each) for each in listed):
        return content
    return [part for each in listed if (part := _content_part(each)) is not None]


def _is_file(value: dict[str, Any]) -> bool:
    kind = value.get("kind")
    return kind in ("binary", "uploaded-file") or (isinstance(kind, str) and kind.endswith("-url") and "url" in value)


def _content_part(value: Any) -> Part | None:
    if isinstance(value, str):
        return text_part(value) if value else None
    if not isinstance(value, dict) or not _is_file(value):
        text = value.get("content") if isinstance(value, dict) and value.get("kind") == "text-content" else None
        if isinstance(value, dict) and value.get("kind") == "cache-point":
            return None
        return text_part(text) if isinstance(text, str) else text_part(as_text(value))
    kind: str = value["kind"]
    if kind == "binary":
        return data_file(str(value.get("data", "")).replace("-", "+").replace("_", "/"), value.get("media_type"))
    if kind == "uploaded-file":
        return kept_file(str(value.get("file_id")))
    family = kind.removesuffix("-url")
    media = value.get("media_type")
    return url_part(str(value["url"]), media or (f"{family}/*" if family in _URLS else None))


def _answer_part(part: dict[str, Any]) -> Part | None:
    kind, content = part.get("part_kind"), part.get("content")
    if kind == "text":
        return read_text(content)
    if kind == "thinking":
        return _thought(part)
    if kind == "tool-call":
        call = {"id": str(part.get("tool_call_id")), "name": part.get("tool_name")}
        return {"type": "tool_call", **call, "arguments": part.get("args")}
    if kind == "file" and isinstance(content, dict):
        return _content_part({"kind": "binary", **content})
    return {"type": "data", "data": part}


def _thought(part: dict[str, Any]) -> Part:
    text, provider, signature, id = (part.get(name) for name in ("content", "provider_name", "signature", "id"))
    if not signature:
        return reasoning(text)
    if provider == "openai":
        return reasoning(text, id=id, encrypted=signature)
    if provider == "anthropic":
        return reasoning("", redacted=signature) if id == _REDACTED else reasoning(text, signature=signature)
    return reasoning(text, signature=signature, provider=provider)
