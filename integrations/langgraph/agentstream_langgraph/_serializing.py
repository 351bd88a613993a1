"""Calling the serializer: what it refuses is told by its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentstream import NotSerializable

Dumps = Callable[[Any], tuple[str, bytes]]


def dumped(dumps: Dumps, value: Any, where: str) -> tuple[str, bytes]:
    """`dumps(value)`. Raises NotSerializable, which names the innermost part that has no form."""
    try:
        return dumps(value)
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        path, part, reason = _culprit(dumps, value, where, error)
        raise NotSerializable(
            f"{path} cannot be written to a checkpoint: {type(part).__module__}.{type(part).__qualname__}: {reason}. "
            "Keep it out of the graph's state, or make it plain data, a dataclass or a pydantic model"
        ) from error


def _culprit(dumps: Dumps, value: Any, where: str, error: Exception, depth: int = 0) -> tuple[str, Any, Exception]:
    """The innermost part that cannot be written, by trying each."""
    for step, part in _parts(value) if depth < 40 else ():
        try:
            dumps(part)
        except Exception as inner:
            return _culprit(dumps, part, where + step, inner, depth + 1)
    return where, value, error


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{place}]", part) for place, part in enumerate(value)]
    fields = getattr(value, "__dict__", None)
    return [(f".{name}", part) for name, part in fields.items()] if isinstance(fields, dict) else []
