"""Asking again: an operation that is safe to repeat is repeated after each lost answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.backends.driving import Sleep
from agentstream.errors import Unavailable

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

RETRIES = (0.01, 0.03, 0.1)
"""Seconds to wait before each further try of an operation that got no answer."""


def patiently(operation: Any) -> Steps[tuple[Any, bool]]:
    """Executes an operation that is safe to repeat; returns its result, and whether it was repeated.

    What a repeated operation returns may speak of its first try (a stream that is there already,
    an append that is a duplicate). Raises Unavailable after the last try.
    """
    repeated = False
    for pause in RETRIES:
        try:
            return (yield operation), repeated
        except Unavailable:
            repeated = True
            yield Sleep(pause)
    return (yield operation), True


def asked(operation: Any) -> Steps[Any]:
    """As `patiently`, for what only reads: the result alone."""
    result, _ = yield from patiently(operation)
    return result
