"""A conversation's items: the fold of a session's events, and what writes them.

What the SDK adds within a run is a step (its items are stored once, shared with what the model was asked); what it
adds outside of one is a `message` event an item. What takes items away is an event of the type `items` or a step too.
What was said in the session before its first item, by whatever SDK, comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream import adapters

if TYPE_CHECKING:
    from agentstream import Event, State

Items = list[Any]

ADD, POP, CLEAR, REPLACE, KEEP = "add_items", "pop_item", "clear_session", "replace_items", "keep_items"
"""What can happen to a conversation; `keep` leaves the first so many."""

KIND = "session"
"""The kind of the steps."""

TYPE = "items"
"""The type of the events."""


@dataclass(frozen=True)
class Change:
    """One thing that happened. `value` are items, or a number."""

    name: str
    value: Any = None
    index: int = 0
    """Of its event; of a step's outcome."""
    begun: int = 0
    """Of its event; of the run whose step it is."""


def applied(items: Items, change: Change) -> Items:
    """The items after a change."""
    if change.name == ADD:
        return [*items, *change.value]
    if change.name == POP:
        return items[:-1]
    if change.name == REPLACE:
        return list(change.value)
    if change.name == KEEP:
        return items[: change.value]
    return [] if change.name == CLEAR else items


def items_of(state: State) -> Items:
    """The conversation as a session's state has it."""
    *_, (_, items) = history(state)
    return items


def history(state: State) -> Iterator[tuple[int, Items]]:
    """The conversation at each cut where it changed, from its beginning on."""
    changes = list(changes_in(state))
    begun = changes[0].begun if changes else state.index
    items = list(state.cut(begun).messages.as_openai_responses())  # what was said here before
    yield begun, items
    for change in changes:
        items = applied(items, change)
        yield change.index + 1, items


def changes_in(state: State) -> Iterator[Change]:
    """All that happened, in order."""
    found: list[Change] = []
    for event in state.of_type("message", TYPE):
        change = _by_event(event)
        if change is not None:
            found.append(change)
    runs = {run.key: run.start.index for run in state.runs.values()}
    for step in state.steps:
        if step.kind == KIND and step.status == "finished" and step.outcome is not None:
            value = step.input.get("value") if isinstance(step.input, dict) else None
            index = step.outcome.index
            found.append(Change(step.name, value, index, runs.get(step.run, index)))
    return iter(sorted(found, key=lambda change: change.index))


def _by_event(event: Event) -> Change | None:
    said = adapters.whole(event)
    if not isinstance(said, dict):
        return None
    if event.type == TYPE:
        return Change(str(said.get("change")), said.get("value"), event.index, event.index)
    item = said.get("item")
    if item is None:
        return None
    if item is True:
        item = {"role": said.get("role"), "content": "".join(part.get("text", "") for part in said.get("parts") or ())}
    return Change(ADD, [item], event.index, event.index)


# --- as events -------------------------------------------------------------------------------------------------------


def events_of(change: Change) -> Iterable[tuple[str, Any]]:
    """What is appended for a change outside a run."""
    if change.name == ADD:
        return [("message", message_of(item)) for item in change.value]
    return [(TYPE, {"change": change.name, **({} if change.value is None else {"value": change.value})})]


def message_of(item: Any) -> dict[str, Any]:
    """An item as the event that every reader of a session knows; the item itself stands in it where it says more."""
    kind = item.get("type", "message")
    if set(item) == {"role", "content"} and isinstance(item["content"], str):
        return {"role": item["role"], "parts": [_text(item["content"])], "item": True}
    if kind == "message":
        content = item.get("content")
        parts = [_text(content)] if isinstance(content, str) else [_part(part) for part in content or ()]
        return {"role": str(item.get("role", "assistant")), "parts": parts, "item": item}
    if kind == "function_call":
        call = {"id": item.get("call_id"), "name": item.get("name"), "arguments": item.get("arguments")}
        return {"role": "assistant", "parts": [{"type": "tool_call", **call}], "item": item}
    if kind == "function_call_output":
        result = {"type": "tool_result", "id": item.get("call_id"), "content": item.get("output")}
        return {"role": "tool", "parts": [result], "item": item}
    if kind == "reasoning":
        texts = [part.get("text", "") for name in ("summary", "content") for part in item.get(name) or ()]
        return {"role": "assistant", "parts": [{"type": "reasoning", "text": text} for text in texts], "item": item}
    told = {name: item[name] for name in ("type", "id", "status") if name in item}
    return {"role": "assistant", "parts": [{"type": "data", "data": told}], "item": item}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _part(part: Any) -> dict[str, Any]:
    text = part.get("text") or part.get("refusal") if isinstance(part, dict) else None
    if isinstance(text, str):
        return _text(text)
    if isinstance(part, dict) and isinstance(part.get("image_url") or part.get("file_url"), str):
        url = part.get("image_url") or part["file_url"]
        if not url.startswith("data:"):  # what is inline stands in the item, once
            return {"type": "file", "url": url}
    return {"type": "data", "data": {"type": part.get("type") if isinstance(part, dict) else None}}
