"""What an event says, as JSON and in one line of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.events import OWN_TYPES, Event
from agentstream.sessions.items import count_of, map_dict, map_list
from agentstream.sessions.references import Ref, ref_in
from agentstream.sessions.views.text import escaped_json

if TYPE_CHECKING:
    from agentstream.sessions.items import Items


def stored_value(event: Event) -> Any:
    """The value as JSON: what a user appended without its wrapping, types of ours without their claim."""
    if (event.type in OWN_TYPES and event.type != "custom") or not event.raw:
        return event.value
    try:
        raw = codec.loads(event.raw)
    except ValueError:
        return event.value
    value = raw.get("value") if isinstance(raw, dict) and event.type else raw
    return value["data"] if isinstance(value, dict) and value.keys() - {"claim"} == {"data"} else value


def resolved_value(event: Event, items: Items) -> Any:
    """The value with the lists it refers to put in; as it is where the record lacks one of them."""
    value = stored_value(event)
    try:
        return items.resolve(value)
    except NotFound:
        return value


def value_text(event: Event, value: Any) -> str:
    """What a reader wants to see of a value first, in one line; nothing cut, of large content what it is."""
    value = with_content_named(value)
    if not isinstance(value, dict):
        return compact(value)
    kind = event.type
    if kind == "message":
        return message_text(value)
    if kind == "delta":
        return plain(value.get("text"))
    if kind == "tool_call":
        return plain(value.get("arguments"))
    if kind == "step":
        return compact(value["input"]) if "input" in value else _outcome_text(value)
    if kind == "run":
        return compact(value["arguments"]) if "arguments" in value else compact(value)
    if kind == "outcome":
        return _outcome_text(value)
    if kind == "error":
        return _error_text(value)
    if kind == "session":
        return _session_text(value)
    if kind == "claim":
        return f"claim {event.claim}"
    if kind == "answer" and "value" in value:
        return f"{compact(value['value'])} by {plain(value['by'])}" if value.get("by") else compact(value["value"])
    if kind in ("checkpoint", "write"):
        return _graph_text(value)
    if kind == "rewind":
        return f"back to {compact(value.get('to'))}"
    if kind == "item" and (count := count_of(value.get("items"))) is not None:
        return f"{count} items, {event.key}"
    if kind == "status":
        rest = {name: part for name, part in value.items() if name != "status"}
        return compact(rest) if rest else ""
    return compact(value)


def with_content_named(value: Any) -> Any:
    """The value with name, type and size in the place of each reference to large content (`sessions/references.py`)."""
    if isinstance(value, dict):
        ref = ref_in(value)
        return map_dict(value, with_content_named) if ref is None else content_text(ref)
    return map_list(value, with_content_named) if isinstance(value, list) else value


def content_text(ref: Ref) -> str:
    """`<report.pdf, application/pdf, 1.2 MB>`"""
    return f"<{ref.name or ref.encoding}, {ref.type.partition(';')[0]}, {size_text(ref.size)}>"


def size_text(size: int) -> str:
    """Bytes as people read them: 999 B, 1.2 MB."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def message_text(value: dict[str, Any]) -> str:
    """What a message says, in one text."""
    parts = value.get("parts")
    if not isinstance(parts, list):
        content = value.get("text", value.get("content"))
        return content if isinstance(content, str) else compact(value)
    return " ".join(_part_text(part) for part in parts)


def _part_text(part: Any) -> str:
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            return part["text"]
        if part.get("type") == "file" and isinstance(part.get("file"), str):
            return part["file"]
        if part.get("type") == "tool_call":
            return f"{plain(part.get('name'))}({plain(part.get('arguments'))})"
        if part.get("type") == "tool_result":
            return plain(next((part[name] for name in ("content", "result") if name in part), part))
    return compact(part)


def _outcome_text(value: dict[str, Any]) -> str:
    if isinstance(value.get("error"), dict):
        return _error_text(value["error"])
    return compact(value["result"]) if "result" in value else compact(value)


def _error_text(value: dict[str, Any]) -> str:
    return f"{plain(value.get('name'))}: {plain(value.get('text'))}"


def _graph_text(value: dict[str, Any]) -> str:
    """What a graph's checkpoint or write says that people can read: the rest is packed for the graph alone."""
    told = [f"{name} {plain(value[name])}" for name in ("step", "source", "ns") if value.get(name) not in (None, "")]
    values = value.get("values")
    for name, form in values.items() if isinstance(values, dict) else ():
        if isinstance(form, dict) and "v" in form:
            told.append(compact(form["v"]) if name.isdecimal() else f"{name}: {compact(form['v'])}")
    return ", ".join(told)


def _session_text(value: dict[str, Any]) -> str:
    lineage = value.get("lineage")
    if isinstance(lineage, dict):
        return f"fork of {plain(lineage.get('source'))}@{compact(lineage.get('count'))}"
    rest = {name: part for name, part in value.items() if name not in ("schema", "incarnation")}
    return compact(rest) if rest else f"incarnation {plain(value.get('incarnation'))}"


def compact(value: Any) -> str:
    """JSON in one line."""
    return to_json(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text that a terminal can be given. What is nested too deeply to be written is said to be so."""
    separators = (", ", ": ") if indent is None else (",", ": ")
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=str)
    except (RecursionError, ValueError):
        return '"(nested too deeply to be shown)"'
    return escaped_json(text)


def plain(value: Any) -> str:
    """A text as it is, nothing for nothing, anything else as JSON."""
    return value if isinstance(value, str) else "" if value is None else compact(value)
