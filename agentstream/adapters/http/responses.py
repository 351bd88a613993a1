"""OpenAI's Responses API: a stream of typed events, or one response object; and the token counts of OpenAI's answers.

More than one SDK speaks it: the provider's own, and frameworks whose model interface is made of its types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.adapters.http.answer import (
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

_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "args",
    "response.custom_tool_call_input.delta": "args",
}
_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed"))


class Responses:
    """Reads a response. It is one message, whose id is the response's; its output items are the parts."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._items: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, str] = {}
        self.done = False
        self._failure: str | None = None

    def event(self, name: str, data: str, value: Any) -> Iterator[Delta]:
        """The deltas in one event of a stream; `value` is its data parsed, None where it is no JSON."""
        if not isinstance(value, dict):
            return
        kind = str(value.get("type") or name)
        if kind == "error" or value.get("error"):
            self._failure = str(value.get("error") or value.get("message") or value)
            self.done = bool(value.get("error"))  # the SDK raises at that one, and reads no more
        elif kind in _ENDS:
            self.body(value.get("response"))
            self.done = True
        elif isinstance(value.get("response"), dict):
            self._response = value["response"]
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._items[_place(value)] = value["item"]
        elif kind in _DELTAS and value.get("delta"):
            yield self._delta(_DELTAS[kind], _place(value), value["delta"])

    def body(self, value: Any) -> None:
        """Takes a response object."""
        if not isinstance(value, dict) or value.get("object") != "response":
            return
        self._response = value
        self.done = value.get("status") not in ("queued", "in_progress")
        if value.get("status") == "failed":
            self._failure = str(value.get("error") or "the response failed")

    @property
    def again(self) -> str | None:
        """A background response goes on without us, and can be streamed anew from its beginning."""
        return f"{self._id}?stream=true" if self._response.get("background") and self._id else None

    def answer(self) -> Answer:
        """What came so far."""
        response = self._response
        if not response and not self._items:
            return Answer([], None, self._failure)
        items = response.get("output") if self.done else None
        found = enumerate(items) if items else self._items.items()
        parts = [part for place, item in found for part in self._parts(item, self._texts.get(str(place), ""))]
        reason = (response.get("incomplete_details") or {}).get("reason") or response.get("status")
        made = message(self._id, parts, model=self._model, finish_reason=reason if self.done else None)
        return Answer([made] if parts else [], usage(response.get("usage"), self._model), self._failure)

    @property
    def _id(self) -> str:
        return str(self._response.get("id") or "")

    @property
    def _model(self) -> str:
        return str(self._response.get("model") or "")

    def _delta(self, kind: str, item: str, text: str) -> Delta:
        self._texts[item] = self._texts.get(item, "") + text
        known = self._items.get(item, {})
        call = known.get("call_id") or known.get("id") or item
        return Delta(call, text, kind, known.get("name"), self._id) if kind == "args" else Delta(self._id, text, kind)

    def _parts(self, item: dict[str, Any], so_far: str) -> list[dict[str, Any]]:
        """An output item's parts. One that did not come to its end has the text of its deltas."""
        kind = item.get("type")
        if kind == "message":
            texts = [part.get("text") or part.get("refusal") or "" for part in item.get("content") or ()]
            return [text_part(text) for text in texts or [so_far] if text]
        if kind == "reasoning":
            return self._reasoning(item, so_far)
        if kind in ("function_call", "custom_tool_call"):
            arguments = item.get("arguments") or item.get("input") or so_far
            return [tool_call_part(str(item.get("call_id") or item.get("id")), str(item.get("name")), arguments)]
        # a provider's own tool (web search, image generation, …): that it was used, not what it carried
        return [data_part(**{key: item[key] for key in ("type", "id", "status") if key in item})]

    @staticmethod
    def _reasoning(item: dict[str, Any], so_far: str) -> list[dict[str, Any]]:
        """Its texts; the first carries what the provider asks for when it is given its reasoning back."""
        texts = [part.get("text", "") for key in ("summary", "content") for part in item.get(key) or ()]
        parts = [reasoning_part(text) for text in texts or [so_far] if text]
        encrypted = item.get("encrypted_content")
        if encrypted:
            parts = parts or [reasoning_part("")]
            parts[0].update(id=item.get("id"), encrypted=encrypted)
        return parts


def _place(value: dict[str, Any]) -> str:
    """Which output item an event is about; ids are not always there, and not always different."""
    index = value.get("output_index")
    return str(index if index is not None else value.get("item_id") or value.get("item", {}).get("id"))


def usage(said: Any, model: str) -> dict[str, Any] | None:
    """What an answer's `usage` says."""
    if not isinstance(said, dict):
        return None
    inside = said.get("input_tokens_details") or said.get("prompt_tokens_details") or {}
    outside = said.get("output_tokens_details") or said.get("completion_tokens_details") or {}
    return counts(
        model,
        input_tokens=said.get("input_tokens", said.get("prompt_tokens")),
        output_tokens=said.get("output_tokens", said.get("completion_tokens")),
        cached_tokens=inside.get("cached_tokens"),
        cache_write_tokens=inside.get("cache_write_tokens"),
        reasoning_tokens=outside.get("reasoning_tokens"),
    )
