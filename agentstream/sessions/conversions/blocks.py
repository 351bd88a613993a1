"""Content as most providers' messages hold it: one text, or a list of blocks that each have a `type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentstream.sessions.conversions.parts import (
    File,
    Part,
    as_text,
    file_of,
    is_kind,
    kind_of,
    listed,
    text_of,
    text_part,
)

Block = dict[str, Any]


def write_content(parts: list[Part], write: Callable[[Part], Block | None], text: str = "text") -> str | list[Block]:
    """The blocks that `write` makes; where all are texts (of the type `text`) these as one, a paragraph each."""
    blocks = [block for part in parts if (block := write(part)) is not None]
    if all(kind_of(block) == text for block in blocks):
        return "\n\n".join(block["text"] for block in blocks)
    return blocks


def write_block(part: Part, text: str, file: Callable[[File], Block]) -> Block | None:
    """A user's or tool's part: a block of the type `text`, or what `file` makes; None where there is nothing to say."""
    if is_kind(part, "text"):
        return {"type": text, "text": text_of(part)} if text_of(part) else None
    if is_kind(part, "data"):
        return {"type": text, "text": as_text(part.get("data"))}
    found = file_of(part) if is_kind(part, "file") else None
    return file(found) if found is not None else None


def read_content(content: Any, read: Callable[[Block], Part | None]) -> list[Part]:
    """The parts that a text is, or that `read` finds in each block."""
    if isinstance(content, str):
        return [text_part(content)] if content else []
    return [part for block in listed(content) if (part := read(block)) is not None]


def read_text(text: Any) -> Part | None:
    """A text as a part; None where there is none."""
    return text_part(text) if isinstance(text, str) and text else None
