"""Messages as people read them, whichever framework wrote them: a role and parts of a few known types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.inspector.documents.cutting import Cutter, Limits
from agentstream.sessions import codec
from agentstream.sessions.conversions.conversation import placed_conversation
from agentstream.sessions.references import ref_in
from agentstream.sessions.secrets import TAG

if TYPE_CHECKING:
    from agentstream.sessions.state import State

Part = dict[str, Any]

_TEXTS = ("text", "reasoning")


LONGER = Limits(100_000, 500, 300_000)
"""How much of messages is given where the rest of an event's document is given as `SHOWN`: they are to be read."""


def conversation_document(state: State, last: int | None = None, limits: Limits = LONGER) -> dict[str, Any]:
    """The last messages of all that was said, by a message or in what a model was asked, each with its event."""
    found = placed_conversation(state)
    shown = found[max(len(found) - last, 0) :] if last is not None else found
    cutter = Cutter(limits)
    # the latest are what is looked at: they are not those that are cut where there is too much
    told = [{"index": index, **cut_message(_stored(said), cutter)} for index, said in reversed(shown)]
    return {"at": state.index, "total": len(found), "messages": told[::-1]}


def cut_message(value: Any, cutter: Cutter) -> dict[str, Any]:
    """A message's value as it is given; `cut` says whether that is all of it."""
    told, cuts = cutter.cut(value)
    return {**message_document(told), "cut": bool(cuts)}


def _stored(said: dict[str, Any]) -> Any:
    """A message as it is recorded: what was read of it may be bytes or an attachment."""
    return codec.encode({name: said[name] for name in ("role", "parts") if name in said}).data


def message_document(value: Any) -> dict[str, Any]:
    """A message's value (cut already) with its parts in the forms that the page knows."""
    if not isinstance(value, dict):
        return {"role": "", "parts": [{"type": "other", "value": value}]}
    parts = value.get("parts")
    if not isinstance(parts, list):
        content = value.get("text", value.get("content"))
        parts = content if isinstance(content, list) else [content if isinstance(content, str) else value]
    return {"role": str(value.get("role") or ""), "parts": [part_document(part) for part in parts]}


def part_document(part: Any) -> Part:
    """One part; of a type that is not known it is given as it is."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        return {"type": "other", "value": part}
    kind = part.get("type")
    if kind in _TEXTS and isinstance(part.get("text"), str):
        return {"type": kind, "text": part["text"]}
    if kind == "tool_call":
        return {
            "type": kind,
            "id": _name(part, "id", "tool_call_id"),
            "name": _name(part, "name"),
            "arguments": part.get("arguments"),
        }
    if kind == "tool_result":
        return {
            "type": kind,
            "id": _name(part, "id", "tool_call_id"),
            "name": _name(part, "name"),
            "result": next((part[name] for name in ("result", "content", "output", "value") if name in part), None),
            "error": bool(part.get("error") or part.get("is_error")),
        }
    if kind == "file":
        return _file(part)
    if kind == "data" and ("data" in part or "value" in part):
        return {"type": "data", "value": part.get("data", part.get("value"))}
    return {"type": "other", "value": part}


def _file(part: dict[str, Any]) -> Part:
    refs = [ref for ref in map(ref_in, part.values()) if ref is not None]
    ref = refs[0] if refs else None
    return {
        "type": "file",
        "name": _name(part, "name", "filename") or (ref.name if ref is not None and ref.name else ""),
        "media_type": _name(part, "media_type", "mime_type") or (ref.type if ref is not None else ""),
        "size": ref.size if ref is not None else None,
        "url": part["url"] if isinstance(part.get("url"), str) else None,
        "value": None if ref is not None else {name: each for name, each in part.items() if name != "type"},
    }


def _name(part: dict[str, Any], *names: str) -> str:
    return next((str(part[name]) for name in names if part.get(name) is not None), "")


def redacted_in(value: Any, path: str = "") -> list[str]:
    """The pointers to what was taken out of a value before it was recorded."""
    from agentstream.inspector.documents.cutting import pointer_part

    if isinstance(value, dict):
        if value.keys() == {TAG}:
            return [path]
        return [each for name, part in value.items() for each in redacted_in(part, f"{path}/{pointer_part(name)}")]
    if isinstance(value, list):
        return [each for place, part in enumerate(value) for each in redacted_in(part, f"{path}/{place}")]
    return [path] if isinstance(value, str) and "[redacted: " in value else []
