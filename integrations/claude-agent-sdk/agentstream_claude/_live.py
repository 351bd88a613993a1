"""What the model is saying, told to the session while it says it: deltas, which the transcript's line closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream import AgentStreamError
from agentstream_claude._entries import call_of

if TYPE_CHECKING:
    from agentstream.adapters import Deltas, Hold

# a delta's type: the field of its text, and what kind of delta it is here
_TEXTS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "reasoning"),
    "input_json_delta": ("partial_json", "args"),
}


class Saying:
    """Reads the raw events of one conversation's stream, in order."""

    def __init__(self) -> None:
        self._message = ""
        self._tools: dict[int, tuple[str, str]] = {}
        self._hold: Hold | None = None
        self._deltas: Deltas | None = None

    def tells(self, event: dict[str, Any]) -> bool:
        """Whether an event says something; notes what it begins."""
        kind = event.get("type")
        if kind == "message_start":
            self.end()
            self._message = str(event["message"].get("id") or "")
            self._tools = {}
        elif kind == "content_block_start" and event["content_block"].get("type") == "tool_use":
            block = event["content_block"]
            self._tools[event["index"]] = (str(block.get("id")), str(block.get("name") or ""))
        elif kind == "message_stop":
            self.end()
        return kind == "content_block_delta" and event["delta"].get("type") in _TEXTS

    def feed(self, event: dict[str, Any], hold: Hold) -> None:
        """Writes what an event says, soon. What cannot be written is in the transcript later."""
        name, kind = _TEXTS[event["delta"]["type"]]
        target, tool = self._tools.get(event["index"], (self._message, "")) if kind == "args" else (self._message, "")
        if self._deltas is None or self._hold is not hold:
            self._hold, self._deltas = hold, hold.deltas(call_of(self._message))
        try:
            self._deltas.feed(target, str(event["delta"].get(name) or ""), kind, tool or None, self._message)
        except AgentStreamError:
            self._deltas = None

    def end(self) -> None:
        """Nothing more of it comes."""
        deltas, self._deltas = self._deltas, None
        if deltas is not None:
            try:
                deltas.end()
            except AgentStreamError:
                return
