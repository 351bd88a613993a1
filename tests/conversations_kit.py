"""Conversations drawn at random, and what is in one whichever SDK wrote it."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from agentstream import Messages
from agentstream.sessions.conversions.parts import arguments_object, is_kind, result_text, text_of
from agentstream.sessions.conversions.turns import turns

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)
ids = st.sampled_from(["call_1", "toolu_2", "c/3", "", "x" * 60, "ü", "call_4"])
names = st.sampled_from(["look_up", "refund"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
text_parts = st.builds(lambda text: {"type": "text", "text": text}, texts)
files = st.sampled_from(
    [
        {"type": "file", "url": "https://example.com/a.png"},
        {"type": "file", "url": "https://example.com/a.png", "media_type": "image/png"},
        {"type": "file", "data": PIXEL, "media_type": "image/png"},
        {"type": "file", "data": b"%PDF-1.4", "media_type": "application/pdf", "name": "order.pdf"},
        {"type": "file", "url": f"data:image/png;base64,{PIXEL}"},
    ]
)
thoughts = st.sampled_from(
    [
        {"type": "reasoning", "text": "unsigned"},
        {"type": "reasoning", "text": "signed", "signature": "c2lnbmVk"},
        {"type": "reasoning", "text": "", "redacted": "cmVkYWN0ZWQ="},
        {"type": "reasoning", "text": "summed up", "encrypted": "gAAAA", "id": "rs_1"},
        {"type": "reasoning", "text": "", "encrypted": "gAAAB", "id": "rs_2"},
    ]
)
arguments = st.dictionaries(texts, json_values, max_size=2)
calls = st.builds(
    lambda id, name, given, as_text: {
        "type": "tool_call",
        "id": id,
        "name": name,
        "arguments": json.dumps(given) if as_text else given,
    },
    ids,
    names,
    arguments,
    st.booleans(),
)
results = st.builds(
    lambda id, content, error: {"type": "tool_result", "id": id, "content": content, **error},
    ids,
    texts | json_values | st.lists(text_parts | files, min_size=1, max_size=2),
    st.sampled_from([{}, {"is_error": True}]),
)


def said(role: str, *parts: Any) -> Any:
    return st.builds(lambda found: {"role": role, "parts": found}, st.lists(st.one_of(*parts), min_size=1, max_size=3))


conversations = st.lists(
    st.one_of(
        said("user", text_parts, files),
        said("assistant", text_parts, thoughts, calls),
        said("assistant", calls),
        said("tool", results),
        said("system", text_parts),
    ),
    max_size=8,
)
"""Anything that may be recorded: calls without results, results without calls, the same id twice."""


def contents(messages: Any) -> dict[str, Any]:
    """What a conversation says, in order, without what only some SDK has a place for."""
    told: list[Any] = []
    system: list[str] = []
    for turn in turns(messages):
        for part in sorted(turn.parts, key=lambda part: is_kind(part, "tool_call")):  # some tell text and calls apart
            if is_kind(part, "tool_call"):
                told.append(("call", part["id"], part["name"], arguments_object(part)))
            elif is_kind(part, "tool_result"):
                text = re.sub(r"\[file [^\]]*\]", "[file]", result_text(part))  # not everybody has a place for its name
                told.append(("result", part["id"], _squeezed(text)))
            elif turn.role == "system":
                system.append(_squeezed(text_of(part)))
            elif is_kind(part, "text"):
                last = told[-1] if told else ("",)
                before = told.pop()[1] if last[0] == turn.role else ""
                told.append((turn.role, before + _squeezed(text_of(part))))
    return {"said": told, "system": sorted({word for text in system for word in text})}


def thoughts_in(messages: Any) -> list[tuple[str, str]]:
    """The signed and encrypted thoughts in a conversation."""
    parts = [part for message in messages for part in message["parts"] if is_kind(part, "reasoning")]
    names = ("signature", "redacted", "encrypted")
    return [(name, part[name]) for part in parts for name in names if part.get(name)]


def _squeezed(text: str) -> str:
    return "".join(text.split())


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": [_part(part) for part in parts]}


def assistant(*parts: Any) -> dict[str, Any]:
    return {"role": "assistant", "parts": [_part(part) for part in parts]}


def call(id: str, name: str = "look_up", arguments: Any = "{}") -> dict[str, Any]:
    return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}


def result(id: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "parts": [{"type": "tool_result", "id": id, "content": content, **more}]}


def _part(part: Any) -> Any:
    return {"type": "text", "text": part} if isinstance(part, str) else part


def of(*messages: Any) -> Messages:
    return Messages(messages)
