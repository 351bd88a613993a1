"""Elements of lists: whether one is what it was when it was stored, without serializing it again.

A graph hands the same objects over and over, in a new list each time. An element is known by
its identity; that nobody changed it in place is seen by comparing what it holds with a copy
taken then. What holds more than plain data cannot be copied and is compared by identity alone
(`opaque`): such elements are serialized again where they are likely to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

ItemId = tuple[int, int]

_SCALARS = frozenset((str, int, float, bool, type(None), bytes))


class Element(NamedTuple):
    """An element as it was stored under `id`. `kept` is a copy of what it held."""

    value: Any
    id: ItemId
    kept: Any
    opaque: bool

    @classmethod
    def of(cls, value: Any, id: ItemId) -> Element:
        kind = type(value)
        if kind in _SCALARS:
            return cls(value, id, None, False)
        try:
            return cls(value, id, _held(value, kind), False)
        except _Opaque:
            return cls(value, id, None, True)

    def unchanged(self, exactly: bool) -> bool:
        """Whether it still holds what it held. `exactly`: False also where that cannot be seen."""
        value = self.value
        kind = type(value)
        if kind in _SCALARS:
            return True
        if self.opaque:
            return not exactly
        try:
            if kind is dict or kind is list:
                return bool(value == self.kept)
            fields, extra = self.kept
            return bool(value.__dict__ == fields) and getattr(value, "__pydantic_extra__", None) == extra
        except Exception:
            return False  # what stands there now cannot be compared (an array)


_now = attrgetter("__dict__", "__pydantic_extra__")


def all_unchanged(elements: Sequence[Element]) -> bool:
    """Whether all hold what they held, seen at once; False also where that takes a look at each (`unchanged`)."""
    try:
        return list(map(_now, [element.value for element in elements])) == [element.kept for element in elements]
    except Exception:  # one is no pydantic object, or holds what cannot be compared
        return False


class _Opaque(Exception):
    pass


def _held(value: Any, kind: type) -> Any:
    """A copy of all that an element holds; raises _Opaque where it holds more than plain data."""
    if kind is dict or kind is list:
        return _copy(value)
    fields = getattr(value, "__dict__", None)
    if type(fields) is not dict or (hasattr(kind, "__slots__") and not hasattr(value, "__pydantic_fields_set__")):
        raise _Opaque
    return _copy(fields), _copy(getattr(value, "__pydantic_extra__", None))


def _copy(data: Any) -> Any:
    kind = type(data)
    if kind in _SCALARS:
        return data
    if kind is dict:
        return {key: _copy(part) for key, part in data.items()}
    if kind is list:
        return [_copy(part) for part in data]
    raise _Opaque
