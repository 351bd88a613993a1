"""A value small enough to be sent and looked at, and what was left out of it.

Nothing is put into the value for what is missing, which could be taken for a part of it: a text
ends early, a list or an object has fewer members, and a list of cuts beside it says where.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentstream.sessions.references import ref_in

Cut = dict[str, Any]
"""`{"path": JSON pointer, "kind": "text", "list", "object", "deep" or "blob", "size", "shown"}`; `size` is characters,
members or bytes. Of a text or JSON that is kept apart ("blob") also `begins`, where `beginnings.py` was asked."""

DEEPEST = 100
"""Levels of nesting: a page, and the encoder of JSON, take no more than some hundreds."""


class Limits(msgspec.Struct, frozen=True):
    """How much of a value is given: characters of one text, members of one list or object, characters in all."""

    text: int = 20_000
    members: int = 500
    total: int = 200_000


SHOWN = Limits()
EXPORTED = Limits(1_000_000, 100_000, 8_000_000)


class Cutter:
    """Cuts the values of one document, which share its total."""

    def __init__(self, limits: Limits = SHOWN) -> None:
        self._limits = limits
        self._left = limits.total

    def cut(self, value: Any, path: str = "") -> tuple[Any, list[Cut]]:
        """The value as far as it is given; `path` is the pointer to it in the document."""
        cuts: list[Cut] = []
        return self._cut(value, path, cuts, 0), cuts

    def _cut(self, value: Any, path: str, cuts: list[Cut], depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, path, cuts)
        if isinstance(value, dict):
            ref = ref_in(value)
            if ref is not None:
                cuts.append({"path": path, "kind": "blob", "size": ref.size, "shown": 0})
                return value
            return self._members(value, path, cuts, depth)
        if isinstance(value, (list, tuple)):
            return self._members(value, path, cuts, depth)
        self._left -= 8
        return value

    def _text(self, value: str, path: str, cuts: list[Cut]) -> str:
        most = min(self._limits.text, max(self._left, 0))
        self._left -= min(len(value), most)
        if len(value) <= most:
            return value
        cuts.append({"path": path, "kind": "text", "size": len(value), "shown": most})
        return value[:most]

    def _members(self, value: Any, path: str, cuts: list[Cut], depth: int) -> Any:
        named = isinstance(value, dict)
        size = len(value)
        if depth >= DEEPEST:
            cuts.append({"path": path, "kind": "deep", "size": size, "shown": 0})
            return {} if named else []
        parts: dict[Any, Any] = value if named else dict(enumerate(value))
        found: dict[Any, Any] = {}
        for name, part in parts.items():
            if len(found) >= self._limits.members or self._left <= 0:
                cuts.append({"path": path, "kind": "object" if named else "list", "size": size, "shown": len(found)})
                break
            self._left -= 4 + (len(name) if named else 0)
            found[name] = self._cut(part, f"{path}/{pointer_part(name)}", cuts, depth + 1)
        return found if named else list(found.values())


def pointer_part(name: object) -> str:
    """A name or index as it stands in a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def at_pointer(value: Any, pointer: str) -> Any:
    """What a JSON pointer leads to. KeyError where there is nothing."""
    if pointer and not pointer.startswith("/"):
        raise KeyError(pointer)
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(name)] if isinstance(value, (list, tuple)) else value[name]
        except (ValueError, IndexError, TypeError) as error:
            raise KeyError(pointer) from error
    return value


def brief(value: Any, most: int) -> Any:
    """A value that looks the same in its first `most` characters and is never long: for one line of text."""
    return _brief(value, [most], 0)


def _brief(value: Any, left: list[int], depth: int) -> Any:
    kind = type(value)
    if kind is str:
        value = value[: max(left[0], 1)]
        left[0] -= len(value)
        return value
    left[0] -= 4
    if kind is dict:
        found: dict[str, Any] = {}
        for name, part in value.items():
            if left[0] <= 0 or depth > 20:
                break
            left[0] -= len(name)
            found[name] = _brief(part, left, depth + 1)
        return found
    if kind is list:
        several: list[Any] = []
        for part in value:
            if left[0] <= 0 or depth > 20:
                break
            several.append(_brief(part, left, depth + 1))
        return several
    return value
