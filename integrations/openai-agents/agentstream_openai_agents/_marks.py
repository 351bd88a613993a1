"""Which functions are ours already: what is instrumented twice is still recorded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "_agentstream_recorded"


def marked(function: F) -> F:
    """The function, known for ours from here on (a copy of the object that holds it has it too)."""
    setattr(function, _MARK, True)
    return function


def is_marked(function: Any) -> bool:
    return bool(getattr(function, _MARK, False))
