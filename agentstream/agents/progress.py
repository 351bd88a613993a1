"""Whether a run still moves: how long to wait for something that may never come.

A lane that was recorded and has not come may be late or may be gone; nobody can ask the
code. So what waits for it waits as long as the run moves, or a step is being made, or
something is about that may still become the missing lane, and gives up only after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from agentstream.backends.driving import Wait

if TYPE_CHECKING:
    from agentstream.agents.context import Caller
    from agentstream.backends.driving import Steps

STALLED = 2.0
"""Seconds without any progress of the run after which something that was waited for is taken not to come."""

ALONE = 0.3
"""The same where it can be seen that nobody else is about."""

STALLED_BY_STRANGERS = 20.0
"""The same while tasks or threads are about that may still turn out to be the missing lane."""


class Progress:
    """What is known of the movement of one run. Safe to use from any thread."""

    def __init__(self, is_ours: Callable[[contextvars.Context], bool]) -> None:
        """`is_ours` tells of a context whether it holds the run."""
        self._is_ours = is_ours
        self.alone: Callable[[], bool] | None = None
        """Tells whether nothing else can come, where that can be seen."""
        self.moves = 0
        self.flying = 0
        """Steps being made."""
        self._members: weakref.WeakSet[Any] = weakref.WeakSet()
        self._expected: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def moved(self) -> None:
        self.moves += 1

    def took_off(self) -> None:
        with self._lock:
            self.flying += 1

    def landed(self) -> None:
        with self._lock:
            self.flying -= 1
            self.moves += 1

    def member(self, caller: Caller) -> None:
        """This task or thread is known: it is a lane already, or waits for one."""
        if isinstance(caller, threading.Thread):
            self._expected.discard(caller)
        else:
            self._members.add(caller)

    @contextlib.contextmanager
    def expecting(self, thread: threading.Thread) -> Iterator[None]:
        """While a function runs in `thread` that was handed the run and may make steps."""
        self._expected.add(thread)
        try:
            yield
        finally:
            self._expected.discard(thread)

    def patience(self, awaited: Future[None], *, at_most: float | None = None) -> Steps[bool]:
        """Waits until `awaited`; False once nothing has moved for so long that nothing will."""
        quiet = 0.0
        enough = STALLED if at_most is None else at_most
        seconds = enough if self.alone is None else min(ALONE, enough)
        while True:
            before = self.moves
            try:
                yield Wait(awaited, seconds)
                return True
            except TimeoutError:
                quiet = quiet + seconds if self.moves == before and not self.flying else 0.0
                if quiet >= STALLED_BY_STRANGERS or (
                    quiet >= enough and (at_most is not None or not self._strangers())
                ):
                    return False
                if quiet and self.alone is not None and self.alone():
                    return False

    def _strangers(self) -> bool:
        if self._expected:
            return True
        try:
            return any(task not in self._members and self._handed_the_run(task) for task in asyncio.all_tasks())
        except RuntimeError:
            return False

    def _handed_the_run(self, task: asyncio.Task[Any]) -> bool:
        """Whether the run is in the task's context (before Python 3.12 there is no telling)."""
        context = task.get_context() if sys.version_info >= (3, 12) else None
        return context is None or self._is_ours(context)
