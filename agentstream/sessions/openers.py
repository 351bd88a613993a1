"""What integrations record in a form of their own (compressed, serialized) can be looked into by them alone.

A distribution has an `Opener` as an entry point of the group `agentstream.records`, under the name of the field by
which such a result is known (`zlib/1`), or of the type of its events (`checkpoint`). It is loaded when something is to
be taken out of a record that holds one and leaves the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.errors import NotSerializable
from agentstream.sessions import codec
from agentstream.sessions.items import map_dict, map_list
from agentstream.sessions.secrets import Hidden

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from agentstream.sessions.events import Event
    from agentstream.sessions.redaction import Rules

GROUP = "agentstream.records"


class Looked:
    """The rules, for what stands in a result in a form of its own."""

    redacts = True

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def redacted(self, value: Any) -> Any:
        """A result or a part of one, without what is taken out. Raises NotSerializable."""
        return codec.decode(self.rules.encode(value, where="result", at="result").data)

    def redacted_pieces(self, pieces: list[str]) -> list[str]:
        """The pieces of one text, as many, without what is taken out of the whole."""
        return self.rules.pieces(pieces)


class Opener(msgspec.Struct, frozen=True):
    """What one integration can look into.

    `result`: of a step's recorded result, and the rules, the result to record in its place; None for what is not its
    own. `thread`: of all events of a session, and the rules, by index the values of those that it has written in a form
    of its own, after the rules.
    """

    result: Callable[[Any, Looked], Any] | None = None
    thread: Callable[[Sequence[Event], Rules], Mapping[int, dict[str, Any]]] | None = None


def opened_result(result: Any, rules: Rules) -> Any:
    """A step's result (its form) with what the rules find taken out, where an integration has recorded it in a form of
    its own; None where it has not. What is compressed and nobody can open is left out."""
    if type(result) is not dict:
        return None
    looked, value = Looked(rules), None
    for opener in openers(result.keys()):
        value = codec.decode(result) if value is None else value
        made = opener.result(value, looked) if opener.result is not None else None
        if made is not None:
            return result if made is value else rules.encode(made, where="result", at="result").data
    left = _without_compressed(result)
    return None if left is result else rules.marked(left, "result")


def opened_threads(events: Sequence[Event], rules: Rules) -> dict[int, dict[str, Any]]:
    """Of events that an engine wrote in forms of its own, by their index, the values after the rules.

    Raises NotSerializable where there are any and no integration is here that can look into them.
    """
    types = {event.type for event in events} & ENGINES
    if not types:
        return {}
    for opener in openers(types):
        if opener.thread is not None:
            return dict(opener.thread(events, rules))
    raise NotSerializable(
        "the session holds checkpoints of a graph, which only the integration that wrote them can look into to take "
        "something out: pip install agentstream-langgraph"
    )


ENGINES = frozenset(("checkpoint", "write"))
"""Types of events whose values are an integration's own."""

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")


def _is_compressed(form: Any) -> bool:
    if type(form) is not dict or len(form) != 1 or type(form.get("$bytes")) is not str:
        return False
    content = codec.decode(form)
    if not isinstance(content, bytes) or len(content) < 2:
        return False
    return content.startswith(_COMPRESSED) or (content[0] & 0x8F == 0x08 and (content[0] << 8 | content[1]) % 31 == 0)


def _without_compressed(form: Any) -> Any:
    if _is_compressed(form):
        return Hidden("compressed", form)
    if type(form) is dict:
        return map_dict(form, _without_compressed)
    return map_list(form, _without_compressed) if type(form) is list else form


def openers(names: Collection[str]) -> list[Opener]:
    """Those that know one of these names; nothing else is imported."""
    found = [named.load() for named in _named() if named.name in names]
    return [each for each in found if isinstance(each, Opener)]


@lru_cache(maxsize=1)
def _named() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)))
