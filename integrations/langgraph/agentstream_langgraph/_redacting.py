"""A client's rules in what the serializer made: its msgpack is taken apart, and put together without what they find.

What paths begin with is `state`, then the channel: `state.messages[*].content`, `state.user.password`; what a `@task`
returned is `result`, what stands in a checkpoint's metadata `metadata`. An object's fields are named as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ormsgpack

from agentstream import NotSerializable
from agentstream.adapters import decode, encode
from agentstream_langgraph._forms import Typed

Place = Sequence["str | int"]

_PACK = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_PASSTHROUGH_TUPLE
_OBJECT = 3
"""Of an object: its module, its class, what it is made of; more may follow."""


class _Ext(NamedTuple):
    """An extension: its number, and what is packed in it (bytes where it is nothing that we know)."""

    number: int
    content: Any


def redacted(typed: Typed, rules: Any, place: Place, *, pair: bool = False) -> Typed:
    """What the serializer made, without what the rules take out. `pair`: it is an entry of the dict at `place`.

    Raises NotSerializable for what nobody can look into.
    """
    kind, data = typed
    if kind == "msgpack":
        tree = _unpacked(data)
        made = _pair(tree, rules, place) if pair else _within(tree, rules, place)
        return typed if made is tree else (kind, _packed(made))
    if kind in ("pickle", "json"):
        raise NotSerializable(
            f"{'.'.join(map(str, place))}: the serializer made {kind} of it, which redact= cannot look into. Make it "
            "plain data, a dataclass or a pydantic model, or write with a client that has no rules"
        )
    return typed  # nothing, bytes, or encrypted by the serializer


def _pair(tree: Any, rules: Any, place: Place) -> Any:
    name, value = tree
    told = {name: value}
    made = _within(told, rules, place)
    return tree if made is told else [*next(iter(made.items()))]


def _within(tree: Any, rules: Any, place: Place) -> Any:
    plain = _plain(tree)
    before = encode(plain).data
    after = rules.within(before, place)
    return tree if after is before else _merged(tree, plain, decode(after))


def _plain(tree: Any) -> Any:
    """What rules look at: containers, texts and numbers, each part in its place; nothing for what they cannot read."""
    if isinstance(tree, _Ext):
        content = tree.content
        return _plain(content[_OBJECT - 1]) if _is_object(content) else None
    if isinstance(tree, dict):
        return {str(name): _plain(value) for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_plain(value) for value in tree]
    return tree if isinstance(tree, (str, int, float)) else None


def _merged(tree: Any, plain: Any, found: Any) -> Any:
    """`tree` with what the rules have put in the place of its parts."""
    if type(plain) is not type(found):
        return str(found) if isinstance(found, str) else found
    if isinstance(tree, _Ext):
        if not _is_object(tree.content):
            return tree
        made = [*tree.content]
        made[_OBJECT - 1] = _merged(made[_OBJECT - 1], plain, found)
        return _Ext(tree.number, made)
    if isinstance(tree, dict):
        entries: Any = tree
        return {
            (name if told == now else now): _merged(value, plain[told], found[now])
            for (name, value), told, now in zip(entries.items(), plain, found, strict=True)
        }
    if isinstance(tree, (list, tuple)):
        return [_merged(*parts) for parts in zip(tree, plain, found, strict=True)]
    return tree if plain == found else found


def _is_object(content: Any) -> bool:
    return isinstance(content, list) and len(content) >= _OBJECT and all(isinstance(name, str) for name in content[:2])


def _unpacked(data: bytes) -> Any:
    return ormsgpack.unpackb(data, option=ormsgpack.OPT_NON_STR_KEYS, ext_hook=_ext)


def _ext(number: int, content: bytes) -> _Ext:
    try:
        return _Ext(number, _unpacked(content))
    except ValueError:
        return _Ext(number, content)


def _packed(tree: Any) -> bytes:
    return ormsgpack.packb(tree, default=_extension, option=_PACK)


def _extension(made: Any) -> Any:
    if not isinstance(made, _Ext):
        return list(made)
    content = made.content
    return ormsgpack.Ext(made.number, content if isinstance(content, bytes) else _packed(content))
