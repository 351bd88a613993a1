"""Chat completions (and legacy ones): streamed as differences of choices, or whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentstream.adapters.http import Answer, Delta, message, reasoning_part, text_part, tool_call_part
from agentstream.adapters.http.responses import usage

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Choice:
    reasoning: str = ""
    text: str = ""
    calls: dict[int, _Call] = field(default_factory=dict)
    finish_reason: str | None = None

    def parts(self) -> list[dict[str, Any]]:
        reasoning = [reasoning_part(self.reasoning)] if self.reasoning else []
        text = [text_part(self.text)] if self.text else []
        return reasoning + text + [tool_call_part(call.id, call.name, call.arguments) for call in self.calls.values()]


class Chat:
    """Reads a chat completion. Each choice is a message; those after the first have `/1`, `/2` … behind their id."""

    def __init__(self) -> None:
        self._id = ""
        self._model = ""
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None
        self.done = False
        self._failure: str | None = None

    def event(self, name: str, data: str, value: Any) -> Iterator[Delta]:
        """The deltas in one event of a stream; `value` is its data parsed, None where it is no JSON."""
        if data.startswith("[DONE]"):
            self.done = True
        elif isinstance(value, dict):
            if name == "error" or value.get("error"):
                self._failure = str(value.get("error") or value)
                self.done = True  # the SDK raises at it, and reads no more
            self._about(value)
            for choice in value.get("choices") or ():
                yield from self._grow(choice, choice.get("delta") or {"content": choice.get("text")})

    def body(self, value: Any) -> None:
        """Takes a response that came whole."""
        if not isinstance(value, dict) or not isinstance(value.get("choices"), list):
            return
        self._about(value)
        for choice in value["choices"]:
            for _ in self._grow(choice, choice.get("message") or {"content": choice.get("text")}):
                pass
        self.done = True

    def answer(self) -> Answer:
        """What came so far."""
        messages = [
            message(self._target(index), choice.parts(), model=self._model, finish_reason=choice.finish_reason)
            for index, choice in sorted(self._choices.items())
            if choice.parts() or choice.finish_reason
        ]
        return Answer(messages, usage(self._usage, self._model), self._failure)

    def _about(self, value: dict[str, Any]) -> None:
        self._id = self._id or str(value.get("id") or "")
        self._model = str(value.get("model") or self._model)
        self._usage = value.get("usage") or self._usage

    def _target(self, index: int) -> str:
        return f"{self._id}/{index}" if index else self._id

    def _grow(self, choice: dict[str, Any], more: dict[str, Any]) -> Iterator[Delta]:
        index = int(choice.get("index") or 0)
        known = self._choices.setdefault(index, _Choice())
        known.finish_reason = choice.get("finish_reason") or known.finish_reason
        # "reasoning" and "reasoning_content" are not OpenAI's, but what servers of this shape send
        if reasoning := more.get("reasoning_content") or more.get("reasoning"):
            known.reasoning += reasoning
            yield Delta(self._target(index), reasoning, "reasoning")
        if text := more.get("content") or more.get("refusal"):
            known.text += text
            yield Delta(self._target(index), text)
        for place, part in enumerate(more.get("tool_calls") or ()):
            call = known.calls.setdefault(part.get("index", place), _Call())
            function = part.get("function") or part.get("custom") or {}
            call.id = call.id or part.get("id") or f"{self._target(index)}/call/{len(known.calls) - 1}"
            call.name += function.get("name") or ""
            if arguments := function.get("arguments") or function.get("input"):
                call.arguments += arguments
                yield Delta(call.id, arguments, "args", call.name, self._target(index))
