"""What a model was asked, as a step recorded it: told apart by its shape, whichever SDK wrote it.

A conversation's users' messages and results of tools often stand nowhere else. Lists are looked at as they are stored:
an element that was there before is known by its id and not read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentstream.sessions import codec
from agentstream.sessions.conversions import anthropic, langchain, openai_chat, openai_responses, pydantic_ai
from agentstream.sessions.conversions.parts import Message
from agentstream.sessions.items import parse_range, ranges_in
from agentstream.sessions.large import decoded, put_back
from agentstream.sessions.steps import field

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.items import Items

_LISTS = ("messages", "input", "items", "history")
_SYSTEM = ("system", "instructions", "system_instructions", "system_prompt")
_LANGCHAIN = frozenset(("human", "ai", "system", "tool", "function"))
_ANTHROPIC = frozenset(("tool_use", "tool_result", "thinking", "redacted_thinking", "image", "document"))


class Request:
    """What one step asked: a system prompt beside the list, and the list's elements, each by a name of its own."""

    def __init__(self, system: list[Message], elements: list[tuple[Any, Any]], reader: Reader, name: str) -> None:
        self.system = system
        self.names = [name for name, _ in elements]
        self._elements = elements
        self._reader = reader
        self._name = name

    def messages(self, place: int) -> list[Message]:
        """What the element at a place says."""
        name, element = self._elements[place]
        return self._reader.read(name, element, self._name)


class Reader:
    """Reads the elements of a session's requests, each once."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._known: dict[Any, list[Message]] = {}
        self._event: Event | None = None

    def request(self, event: Event) -> Request | None:
        """What the step that begins with this event asked; None where that is no conversation."""
        self._event = event
        body = self._items.resolve_same(field(event, "input"))
        if isinstance(body, dict) and isinstance(body.get("body"), dict):
            body = body["body"]
        if isinstance(body, list) or (isinstance(body, dict) and ranges_in(body) is not None):
            body = {"messages": body}
        if not isinstance(body, dict):
            return None
        name = next((name for name in _LISTS if body.get(name)), None)
        if name is None:
            return None
        system = [self._plain(body[each]) for each in _SYSTEM if body.get(each)]
        said = anthropic.read((), system[0]) if system else []
        return Request(said, list(self._elements(body[name])), self, name)

    def _elements(self, stored: Any) -> Iterator[tuple[Any, Any]]:
        ranges = ranges_in(stored) if isinstance(stored, dict) else None
        if ranges is None:
            for element in stored if isinstance(stored, list) else [stored]:
                yield codec.dumps(element), element
            return
        for part in ranges:
            claim, first, last = parse_range(part)
            for number in range(first, last + 1):
                yield self._items.origin((claim, number)), None

    def read(self, name: Any, element: Any, field: str) -> list[Message]:
        found = self._known.get((name, field))
        if found is None:
            if isinstance(name, tuple):
                element = next(self._items.range(f"{name[0]}.{name[1]}"))
            found = self._known[name, field] = read_element(self._plain(element), field)
        return found

    def _plain(self, stored: Any) -> Any:
        return decoded(put_back(self._items.resolve(stored), self._event), self._event)


def read_element(element: Any, field: str) -> list[Message]:
    """The messages that an element of a request is, told by its shape and the field that it stood in."""
    if isinstance(element, str):
        return openai_responses.read(element)
    if not isinstance(element, dict):
        return []
    if element.get("kind") in ("request", "response") and "parts" in element:
        return pydantic_ai.read([element])
    if "role" not in element and str(element.get("type")).lower().removesuffix("messagechunk") in _LANGCHAIN:
        return langchain.read([element])
    if field == "input" or "role" not in element:
        return openai_responses.read([element])
    blocks = element.get("content")
    kinds = {block.get("type") for block in blocks if isinstance(block, dict)} if isinstance(blocks, list) else set()
    return anthropic.read([element]) if kinds & _ANTHROPIC or _is_anthropic(kinds) else openai_chat.read([element])


def _is_anthropic(kinds: set[Any]) -> bool:
    return any(isinstance(kind, str) and kind.endswith(("_tool_use", "_tool_result")) for kind in kinds)
