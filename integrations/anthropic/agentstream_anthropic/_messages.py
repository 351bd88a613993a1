"""The Messages API: a stream that builds a message block by block, or one message object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentstream.adapters.http import (
    Answer,
    Delta,
    counts,
    data_part,
    message,
    reasoning_part,
    text_part,
    tool_call_part,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# a delta's type: what it grows in its block, and what kind of delta it is here
_TEXTS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "reasoning")}
_TOOL_USES = frozenset(("tool_use", "toolset_tool_use"))


class Messages:
    """Reads a message. Its content blocks are the parts; a signature and a redacted thought are kept as they came."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, str] = {}
        self._usage: dict[str, Any] = {}
        self.done = False
        self._failure: str | None = None

    def event(self, name: str, data: str, value: Any) -> Iterator[Delta]:
        """The deltas in one event of a stream; `value` is its data parsed, None where it is no JSON."""
        kind = name or (value.get("type") if isinstance(value, dict) else "")
        if kind == "error":
            said = value.get("error") if isinstance(value, dict) else None
            self._failure = str(said or data)
            self.done = True  # the SDK raises at it, and reads no more
        elif kind == "message_stop":
            self.done = True
        elif isinstance(value, dict):
            yield from self._take(str(kind), value)

    def body(self, value: Any) -> None:
        """Takes a message that came whole."""
        if not isinstance(value, dict) or value.get("type") != "message":
            return
        self._begin(value)
        self.done = True

    def answer(self) -> Answer:
        """What came so far."""
        model = str(self._message.get("model") or "")
        reason = self._message.get("stop_reason")
        parts = [part for _, part in sorted((index, self._part(index)) for index in self._blocks) if part]
        made = message(self._id, parts, model=model, finish_reason=reason)
        return Answer([made] if parts or reason else [], usage(self._usage, model), self._failure)

    @property
    def _id(self) -> str:
        return str(self._message.get("id") or "")

    def _begin(self, said: dict[str, Any]) -> None:
        self._message = dict(said)
        self._count(said.get("usage"))
        for index, block in enumerate(said.get("content") or ()):
            self._blocks[index] = dict(block)

    def _count(self, said: Any) -> None:
        """Takes counts, of which each is the last said: they are of the whole message so far."""
        self._usage.update({name: count for name, count in (said or {}).items() if count is not None})

    def _take(self, kind: str, value: dict[str, Any]) -> Iterator[Delta]:
        if kind == "message_start":
            self._begin(value["message"])
        elif kind == "content_block_start":
            self._blocks[value["index"]] = dict(value["content_block"])
        elif kind == "content_block_delta":
            yield from self._grow(value["index"], value["delta"])
        elif kind == "message_delta":
            self._message.update(value.get("delta") or {})
            self._count(value.get("usage"))

    def _grow(self, index: int, delta: dict[str, Any]) -> Iterator[Delta]:
        block, kind = self._blocks[index], str(delta.get("type"))
        if kind in _TEXTS:
            grown, told = _TEXTS[kind]
            text = delta.get(grown) or ""
            block[grown] = (block.get(grown) or "") + text
            if text:
                yield Delta(self._id, text, told)
        elif kind == "signature_delta":
            block["signature"] = (block.get("signature") or "") + delta["signature"]
        elif kind == "input_json_delta":
            text = delta.get("partial_json") or ""
            self._arguments[index] = self._arguments.get(index, "") + text
            if text and block.get("type") in _TOOL_USES:
                yield Delta(str(block.get("id")), text, "args", block.get("name"), self._id)

    def _part(self, index: int) -> dict[str, Any] | None:
        block = self._blocks[index]
        kind = str(block.get("type"))
        if kind == "text":
            return text_part(block["text"]) if block.get("text") else None
        if kind == "thinking":
            signature = {"signature": block["signature"]} if block.get("signature") else {}
            return reasoning_part(str(block.get("thinking") or ""), **signature)
        if kind == "redacted_thinking":
            return reasoning_part("", redacted=block.get("data"))
        if kind in _TOOL_USES:
            arguments = self._arguments.get(index) or json.dumps(block.get("input") or {})
            return tool_call_part(str(block.get("id")), str(block.get("name")), arguments)
        # what the provider's own tools did, and what came of it: that it was so, not what it carried
        named = ("type", "id", "name", "server_name", "tool_use_id", "file_id")
        return data_part(**{name: block[name] for name in named if name in block})


def usage(said: Any, model: str) -> dict[str, Any] | None:
    """What an answer's `usage` says: there, `input_tokens` are only those that no cache was asked about."""
    if not isinstance(said, dict):
        return None
    read, written = said.get("cache_read_input_tokens"), said.get("cache_creation_input_tokens")
    fresh = said.get("input_tokens")
    everything = sum(count for count in (fresh, read, written) if isinstance(count, int))
    details = said.get("output_tokens_details") or {}
    return counts(
        model,
        input_tokens=everything if isinstance(fresh, int) else None,
        output_tokens=said.get("output_tokens"),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens", details.get("reasoning_tokens")),
    )
