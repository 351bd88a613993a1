"""What differs between two JSON values, in the operations of JSON Patch (RFC 6902).

Dicts are compared by key. Lists first lose what they have in common at their start and end; what is left is compared
element by element, and the rest was inserted or removed there: not the shortest patch, but one that reads as a person
would say it. `true` and `1` differ, as they do in JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentstream.sessions.codec import canonical

_Path = tuple[str | int, ...]


def diff(before: Any, after: Any) -> list[dict[str, Any]]:
    """Operations that make `after` of `before`, in order: `{"op", "path", "value"}`, and for a replace or remove also
    `"was"`, the value that was there (RFC 6902 lets a reader ignore further members). Equal values: none.
    """
    return [_operation(*change) for change in _changes(before, after, ())]


def first_path(before: Any, after: Any) -> str:
    """Where the first difference is, as a person writes it: `args.amount`, `messages[2].content`.

    Empty if the values are equal or differ as a whole.
    """
    for _, path, _, _ in _changes(before, after, ()):
        return _dotted(path)
    return ""


_NOTHING = object()

_Change = tuple[str, _Path, Any, Any]
"""Operation, path, value before, value after."""


def _changes(before: Any, after: Any, path: _Path) -> Iterator[_Change]:
    if type(before) is dict and type(after) is dict:
        yield from _dict_changes(before, after, path)
    elif type(before) is list and type(after) is list:
        yield from _list_changes(before, after, path)
    elif canonical(before) != canonical(after):
        yield "replace", path, before, after


def _dict_changes(before: dict[str, Any], after: dict[str, Any], path: _Path) -> Iterator[_Change]:
    for key, was in before.items():
        if key in after:
            yield from _changes(was, after[key], (*path, key))
        else:
            yield "remove", (*path, key), was, _NOTHING
    for key, value in after.items():
        if key not in before:
            yield "add", (*path, key), _NOTHING, value


def _list_changes(before: list[Any], after: list[Any], path: _Path) -> Iterator[_Change]:
    start, end = _common_ends(list(map(canonical, before)), list(map(canonical, after)))
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    both = min(len(old), len(new))
    for at in range(both):
        yield from _changes(old[at], new[at], (*path, start + at))
    for value in old[both:]:
        yield "remove", (*path, start + both), value, _NOTHING  # each time the next one has moved up to that place
    for at in range(both, len(new)):
        yield "add", (*path, start + at), _NOTHING, new[at]


def _common_ends(before: list[bytes], after: list[bytes]) -> tuple[int, int]:
    """How many elements are equal at the start, and of the others at the end."""
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, end


def _operation(op: str, path: _Path, before: Any, after: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"op": op, "path": _pointer(path)}
    if after is not _NOTHING:
        made["value"] = after
    if before is not _NOTHING:
        made["was"] = before
    return made


def _pointer(path: _Path) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _dotted(path: _Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, str) and part.isidentifier():
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text
