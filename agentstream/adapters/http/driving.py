"""The two drivers: the only code here that knows sync from async.

Everything else is generators that yield functions and are sent what these return (or what
the awaitables that these return give), as in the core.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[Callable[[], Any], Any, T]
"""A generator that yields functions to be called (and awaited) and returns a T."""


def drive(steps: Steps[T]) -> T:
    """Runs `steps` to the end in this thread and returns its value."""
    try:
        act = next(steps)
        while True:
            try:
                value = act()
            except BaseException as error:
                act = steps.throw(error)
            else:
                act = steps.send(value)
    except StopIteration as stop:
        return stop.value


async def adrive(steps: Steps[T]) -> T:
    """Runs `steps` to the end in the running event loop and returns its value."""
    try:
        act = next(steps)
        while True:
            try:
                value = await act()
            except BaseException as error:
                act = steps.throw(error)
            else:
                act = steps.send(value)
    except StopIteration as stop:
        return stop.value
