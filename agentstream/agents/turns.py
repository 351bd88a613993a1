"""The turnstile: outcomes are handed on in the order of the log, one by one.

Code that runs several lanes in one event loop decides by who comes first. So that it
decides alike on resume and replay, a recorded outcome waits until everything that the log
holds before it has happened: starts of steps and outcomes. Outcomes that are made live take
their turns behind those, as they were written: also outcomes that one append made durable
together come one after the other, as they will when they are served.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.progress import Progress
from agentstream.backends.driving import Sleep

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

SETTLING = 12
"""Turns of the event loop that code gets to act on an outcome before one of another lane is handed on."""


BROKEN = 0.05
"""Seconds to wait for what is ahead, once something has not come: the order is not the recorded one any more."""


class Turn(msgspec.Struct, eq=False):
    """One place in the order: a step's start, or an outcome to be handed on."""

    place: int = -1
    done: bool = False
    waiting: Future[None] | None = None


class Turnstile:
    """The order of one run. `turns` is what the log holds; `check` raises where the run was stopped."""

    def __init__(self, turns: list[Turn], progress: Progress, check: Callable[[], None]) -> None:
        for place, turn in enumerate(turns):
            turn.place = place
        self._turns = turns
        self._next = 0
        self._last: Any = None
        self._handed = 0
        self._at_most: float | None = None
        self._progress = progress
        self._check = check
        self._lock = threading.Lock()

    def new(self) -> Turn:
        """A turn behind all there are."""
        with self._lock:
            turn = Turn(len(self._turns))
            self._turns.append(turn)
            return turn

    def happened(self, turn: Turn) -> None:
        """A start was made, or an outcome needs no turn (any more)."""
        with self._lock:
            turn.done = True
            self._advance()

    def taken(self, turn: Turn, owner: Any) -> Steps[None]:
        """Returns when it is this outcome's turn, and the code has had time to act on the one before."""
        settled = -1
        try:
            while True:
                self._check()
                with self._lock:
                    self._advance()
                    if self._next >= turn.place:
                        if self._last in (None, owner) or settled == self._handed:
                            return
                        settled, waiting = self._handed, None
                    else:
                        waiting = turn.waiting = turn.waiting or Future()
                if waiting is None:
                    for _ in range(SETTLING):
                        yield Sleep(0)
                elif not (yield from self._progress.patience(waiting, at_most=self._at_most)):
                    with self._lock:
                        self._next = max(self._next, turn.place)  # what is ahead is not coming
                    self._at_most = BROKEN
        finally:
            self.handed(turn, owner)

    def handed(self, turn: Turn, owner: Any) -> None:
        """The outcome goes to the code now."""
        self._progress.moved()
        with self._lock:
            turn.done = True
            self._last = owner
            self._handed += 1
            self._advance()

    def wake(self) -> None:
        """Lets all who wait look again: the run was stopped."""
        with self._lock:
            for turn in self._turns[self._next :]:
                _wake(turn)

    def _advance(self) -> None:
        turns = self._turns
        while self._next < len(turns) and turns[self._next].done:
            self._next += 1
        if self._next < len(turns):
            _wake(turns[self._next])


def _wake(turn: Turn) -> None:
    if turn.waiting is not None:
        waiting, turn.waiting = turn.waiting, None
        if not waiting.done():
            waiting.set_result(None)
