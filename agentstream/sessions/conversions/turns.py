"""A conversation put in order: what every provider asks of one.

After a message with tool calls stand their results, one for each, in the order of the calls. A call without a
result is closed by one that says that it was interrupted; a result whose call is gone is told as a text. Neighbours of
one role are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import msgspec

from agentstream.sessions.conversions.parts import (
    Message,
    Part,
    is_kind,
    kind_of,
    parts_of,
    result_text,
    role_of,
    text_part,
)

INTERRUPTED = "The call was interrupted before it gave a result. It may or may not have taken effect."
"""What stands for the result of a call that has none."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}", re.ASCII)
"""Ids of tool calls that every provider takes (Chat Completions: at most 40 characters)."""

_ROLES = frozenset(("system", "user", "assistant", "tool"))


class Turn(msgspec.Struct):
    """A message of a tidy conversation. Of role `tool`: the results of the calls in the turn before it."""

    role: str
    parts: list[Part]
    id: str | None = None
    model: str | None = None
    timestamp: str | None = None

    def of(self, *kinds: str) -> list[Part]:
        return [part for part in self.parts if is_kind(part, *kinds)]


def turns(messages: Iterable[Message], *, close: bool = True) -> list[Turn]:
    """The conversation in order. Not `close`: calls at its end that have no result stay open.

    Ids of calls that some provider refuses are replaced, the same by the same each time; so is one that comes again.
    """
    said: list[Turn] = []
    for each in messages:
        turn = _turn(each)
        _add(said, turn, apart=turn.role == "assistant" and bool(turn.of("text", "file", "data")))
    calls = _Calls(said)
    end = max((number for number, turn in enumerate(said) if turn.role != "tool"), default=0)
    made: list[Turn] = []
    for number, turn in enumerate(said):
        parts: list[Part] = []
        closed: list[Part] = []
        for part in turn.parts:
            if is_kind(part, "tool_call"):
                name, given = calls.next(part["id"])
                parts.append({**part, "id": name})
                if given is not None or close or number < end:
                    closed.append(_result(part, name, given))
            elif not is_kind(part, "tool_result"):
                parts.append(part)
            elif not calls.asked(part["id"]):
                parts.append(text_part(f"Result of the tool call {part['id']}: {result_text(part)}"))
        role = "user" if turn.role == "tool" else turn.role
        _add(made, msgspec.structs.replace(turn, role=role, parts=parts))
        _add(made, Turn("tool", closed, timestamp=turn.timestamp))
    return made


def _turn(said: Message) -> Turn:
    role = role_of(said) if isinstance(said, dict) else "user"
    role = role if role in _ROLES else "user"
    parts = [_named(part) for part in parts_of(said) if role == "assistant" or not is_kind(part, "tool_call")]
    found = {name: said[name] for name in ("id", "model", "timestamp") if parts and isinstance(said.get(name), str)}
    return Turn(role, parts, **found)


def _named(part: Part) -> Part:
    """A call or result whose id is a text, as all that follows counts on."""
    if kind_of(part) not in ("tool_call", "tool_result") or isinstance(part.get("id"), str):
        return part
    return {**part, "id": "" if part.get("id") is None else str(part["id"])}


def _add(made: list[Turn], turn: Turn, *, apart: bool = False) -> None:
    """Adds a turn, to the one before it if that is of its role. `apart`: not behind calls, whose results come first."""
    if not turn.parts:
        return
    if made and made[-1].role == turn.role and not (apart and made[-1].of("tool_call")):
        made[-1] = msgspec.structs.replace(made[-1], parts=[*made[-1].parts, *turn.parts])
    else:
        made.append(turn)


_END = 2**62


class _Calls:
    """The calls of a conversation and their results. Some servers use an id again: the result of a call is the last
    that comes before the next call of its id."""

    def __init__(self, said: list[Turn]) -> None:
        self._asked: dict[str, list[int]] = {}
        self._given: dict[str, list[tuple[int, Part]]] = {}
        self._seen: dict[str, int] = {}
        for number, turn in enumerate(said):
            for part in turn.of("tool_call"):
                self._asked.setdefault(part["id"], []).append(number)
            for part in turn.of("tool_result"):
                self._given.setdefault(part["id"], []).append((number, part))

    def asked(self, id: str) -> bool:
        return id in self._asked

    def next(self, id: str) -> tuple[str, Part | None]:
        """Of the next call of this id: what it is to be called, and its result."""
        again = self._seen[id] = self._seen.get(id, -1) + 1
        places = self._asked[id]
        low = places[again] if again else -1
        high = places[again + 1] if again + 1 < len(places) else _END
        given = [part for place, part in self._given.get(id, ()) if low < place < high]
        return _valid(id, again), given[-1] if given else None


def _valid(id: str, again: int) -> str:
    if not again and _ID.fullmatch(id):
        return id
    return f"call_{sha256(f'{again}/{id}'.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _result(call: Part, id: str, given: Part | None) -> Part:
    if given is None:
        given = {"type": "tool_result", "content": INTERRUPTED, "is_error": True}
    named = {"name": call.get("name")} if not given.get("name") else {}
    return {**given, **named, "id": id, **({"custom": True} if call.get("custom") else {})}


def joined(parts: Iterable[Part]) -> str:
    """The texts among parts, one paragraph after the other."""
    return "\n\n".join(part["text"] for part in parts if is_kind(part, "text") and part.get("text"))


def tool_name(part: Part) -> str:
    name: Any = part.get("name")
    return name if isinstance(name, str) and name else "unknown"
