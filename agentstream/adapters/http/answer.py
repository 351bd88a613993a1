"""A model's answer in the words of agentstream: what every decoder gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


LONG = 200
"""Characters of a text below which its compressed form takes no more than a reference to it does."""

WINDOW = 24_000
"""Characters of texts, together, of which a compressor sees all: deflate looks back 32 KB."""


class Delta(NamedTuple):
    """A piece of an answer as it comes. `target` is the id of the message or tool call that it is of.

    Of a call's arguments `name` is the tool's, `message` the id of the message that the call is in.
    """

    target: str
    text: str
    kind: str = "text"
    name: str | None = None
    message: str | None = None


@dataclass(slots=True)
class Answer:
    """What is known of an answer so far; `failure` says what the provider says went wrong with it."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    failure: str | None = None

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The typed events that tell it: each message, and after it the tools it calls."""
        for message in self.messages:
            yield "message", message
            for part in message["parts"]:
                if part["type"] == "tool_call":
                    yield "tool_call", {name: part[name] for name in ("id", "name", "arguments")}

    def long_texts(self) -> list[str]:
        """The texts in its messages that are long enough for a reference to be shorter; none if they are too many."""
        texts = list(dict.fromkeys(_long_texts([message["parts"] for message in self.messages])))
        return texts if sum(map(len, texts)) <= WINDOW else []


def _long_texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        if len(part) >= LONG:
            yield part
    elif isinstance(part, (dict, list)):
        held: Any = part.values() if isinstance(part, dict) else part
        for each in held:
            yield from _long_texts(each)


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def reasoning_part(text: str, **more: Any) -> dict[str, Any]:
    """`more`: what the provider asks for when it is given its reasoning back (a signature, say)."""
    return {"type": "reasoning", "text": text, **more}


def tool_call_part(id: str, name: str, arguments: str) -> dict[str, Any]:
    """`arguments` is the text the model wrote, which need not be JSON."""
    return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}


def data_part(**data: Any) -> dict[str, Any]:
    return {"type": "data", "data": data}


def message(id: str, parts: list[dict[str, Any]], *, model: str, finish_reason: str | None) -> dict[str, Any]:
    """`finish_reason` is in the provider's words, None where the answer did not come to its end."""
    return {"id": id, "role": "assistant", "parts": parts, "model": model, "finish_reason": finish_reason}


def counts(model: str, **found: Any) -> dict[str, Any] | None:
    """Token counts by one set of names; those that are no numbers are left out, None where there are none.

    `input_tokens` are all that were read, with those from a cache (`cached_tokens`) and into one
    (`cache_write_tokens`); `output_tokens` are all that were written, `reasoning_tokens` among them.
    """
    named = {name: count for name, count in found.items() if isinstance(count, int)}
    return {**named, "model": model} if named else None
