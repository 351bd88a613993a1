"""The content of a message, as blocks of the Messages API and as parts of a `message` event: one form for the other.

A block that has no part of its own kind is a `data` part as it is. What is converted comes back equal to what it was;
`_entries.py` makes sure of that before it counts on it.
"""

from __future__ import annotations

from typing import Any

# a block's type and the part's; of its fields those that have another name there
_NAMES: dict[str, tuple[str, dict[str, str]]] = {
    "text": ("text", {}),
    "thinking": ("reasoning", {"thinking": "text"}),
    "tool_use": ("tool_call", {"input": "arguments"}),
    "tool_result": ("tool_result", {"tool_use_id": "id"}),
}
_BLOCKS = {kind: (block, {part: name for name, part in names.items()}) for block, (kind, names) in _NAMES.items()}
_REDACTED = "redacted_thinking"


def parts_of(content: Any) -> list[Any]:
    """The parts that say what a message's content says."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(block) for block in content]


def content_of(parts: list[Any]) -> list[Any]:
    """The blocks that `parts_of` made these parts of."""
    return [_block(part) for part in parts]


def _part(block: Any) -> dict[str, Any]:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == _REDACTED:
        rest = {name: value for name, value in block.items() if name not in ("type", "data")}
        return {"type": "reasoning", "text": "", "redacted": block.get("data"), **rest}
    if not isinstance(kind, str) or kind not in _NAMES:
        return {"type": "data", "data": block}
    return _renamed(block, *_NAMES[kind])


def _block(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "data" and "data" in part:
        return part["data"]
    if not isinstance(kind, str) or kind not in _BLOCKS:
        return part  # somebody else's: as it is
    if kind == "reasoning" and "redacted" in part:
        rest = {name: value for name, value in part.items() if name not in ("type", "text", "redacted")}
        return {"type": _REDACTED, "data": part["redacted"], **rest}
    return _renamed(part, *_BLOCKS[kind])


def _renamed(source: dict[str, Any], kind: str, names: dict[str, str]) -> dict[str, Any]:
    return {"type": kind, **{names.get(name, name): value for name, value in source.items() if name != "type"}}
