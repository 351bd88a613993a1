"""Transcripts of Claude Code (`agentstream_claude`), whose lines are a tree: which of them are the conversation.

A `message` event that is such a line says in its field `claude` which line it follows (`parentUuid`). One message of
the API stands in several lines, a block in each. Who goes on from an earlier message begins a branch there; what
followed that message is no part of the conversation then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.sessions.codec import loads
from agentstream.sessions.conversions import anthropic
from agentstream.sessions.conversions.parts import Part, is_kind

if TYPE_CHECKING:
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import State

LINE = "claude"
"""The field of a `message` event with the rest of its line, and the type of events that are lines of another kind."""


class _Line(msgspec.Struct):
    index: int
    uuid: str
    parent: Any
    begins: bool
    """Whether it is something that a user said: another branch, where its parent was followed by something else."""
    beside: bool
    """Whether a subagent's."""
    message: bool


def is_line(value: Any) -> bool:
    """Whether a message is a line of a transcript."""
    return isinstance(value, dict) and isinstance(value.get(LINE), dict)


def parts_of_line(parts: list[Part]) -> list[Part]:
    """The parts of a line in the form of `parts.py`: there, what has no part of its own is a block of the API."""
    return [each for part in parts for each in _read(part)]


def _read(part: Part) -> list[Part]:
    if is_kind(part, "data") and isinstance(part.get("data"), dict):
        return _of_api([part["data"]])
    if is_kind(part, "tool_result") and isinstance(part.get("content"), list):
        return [{**part, "content": _of_api(part["content"])}]
    return [part]


def _of_api(blocks: list[Any]) -> list[Part]:
    return [part for said in anthropic.read([{"content": blocks}]) for part in said["parts"]]


def left_out(state: State) -> set[int]:
    """The indexes of messages that were left for another branch, or that subagents said in between."""
    if not state.of_type(LINE):  # every transcript that Claude Code went on with has lines beside its messages
        return set()
    lines = [line for event in state.of_type("message", LINE) if (line := _line(event)) is not None]
    if all(line.beside for line in lines if line.message):  # a subagent's own transcript
        left: set[int] = set()
    else:
        left = {line.index for line in lines if line.beside}
    kept: list[_Line] = []
    places: dict[Any, int] = {}
    for line in lines:
        if line.index in left:
            continue
        if line.begins and line.parent in places:
            left |= _cut(kept, places, line.parent)
        places[line.uuid] = len(kept)
        kept.append(line)
    return left


def _cut(kept: list[_Line], places: dict[Any, int], parent: str) -> set[int]:
    """Takes out what follows `parent`, at one remove or more; what follows another line (a parallel call) stays."""
    after = kept[places[parent] + 1 :]
    gone = {parent}
    for line in after:
        if line.parent in gone:
            gone.add(line.uuid)
    gone.remove(parent)
    del kept[places[parent] + 1 :]
    for line in after:
        del places[line.uuid]
    for line in after:
        if line.uuid not in gone:
            places[line.uuid] = len(kept)
            kept.append(line)
    return {line.index for line in after if line.uuid in gone}


def _line(event: Event) -> _Line | None:
    """The line that an event is; None for another one. Looks at the recorded form: a line may be large."""
    value: Any = loads(event.raw).get("value")
    rest = value.get("data" if event.type == LINE else LINE) if isinstance(value, dict) else None
    if not isinstance(rest, dict):
        return None
    parts = value.get("parts") if event.type == "message" else None
    answers = any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts or ())
    return _Line(
        event.index,
        event.key,
        rest.get("parentUuid"),
        begins=event.type == "message" and rest.get("type") == "user" and not answers,
        beside=rest.get("isSidechain") is True,
        message=event.type == "message",
    )
