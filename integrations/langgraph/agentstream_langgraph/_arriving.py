"""Checkpoints on their way: with durability="async" LangGraph begins with tasks while their checkpoint waits to be put.

What such a task writes would come before it in the log, and be of nothing if it never came.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial

from langchain_core.runnables import RunnableConfig

from agentstream.adapters import Steps, Wait
from agentstream_langgraph._index import Place

RUNTIME, DURABILITY = "__pregel_runtime", "__pregel_durability"

_log = logging.getLogger("agentstream")

REMEMBERED = 1000
"""Checkpoints of one thread that are known to be on their way to the log."""

PATIENCE = 10.0
"""Seconds for which a checkpoint is waited for. LangGraph puts each before it begins with its tasks; another saver that
wraps this one may not."""


class Arrivals:
    """Those of one thread. Safe to use from any thread and loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: dict[Place, None] = {}
        self._queues: dict[Place, deque[Future[None]]] = {}
        self._expecting = self._in_loop = False

    def began(self, *, in_loop: bool) -> None:
        """A graph begins to work; `in_loop`: it puts its checkpoints in an event loop."""
        self._expecting, self._in_loop = True, in_loop

    def came(self, place: Place) -> None:
        """Handed to the writer: whatever is written from now on comes after it."""
        with self._lock:
            self._there[place] = None
            while len(self._there) > REMEMBERED:
                del self._there[next(iter(self._there))]
            first = next(iter(self._queues.get(place, ())), None)
        _go(first)

    def failed(self) -> None:
        """A checkpoint could not be put: LangGraph puts none after it, and says so when the graph has ended."""
        self._expecting = False
        with self._lock:
            left = [turn for queue in self._queues.values() for turn in queue]
        _go(*left)

    def turn(self, place: Place) -> Steps[Callable[[], None]]:
        """Returns when the checkpoint is on its way, or none is to be expected, and who asked before has written.

        What it gives is called, once or more, when the caller has. LangGraph asks in threads of its own: without an
        order, all that wait would write in whichever order they wake, a task after the one that has its result.
        """
        turn: Future[None] = Future()
        with self._lock:
            if place not in self._queues and (place in self._there or not self._expecting):
                return no_turn
            self._queues.setdefault(place, deque()).append(turn)
        gone = partial(self._gone, place, turn)
        try:
            yield Wait(turn, PATIENCE, by_loop=self._in_loop)
        except TimeoutError:
            if place not in self._there:
                told = "checkpoint %s was not put within %g s: what its tasks record may come before it"
                _log.warning(told, place[1], PATIENCE)
                self.came(place)  # it is not waited for again
        except BaseException:
            gone()
            raise
        return gone

    def _gone(self, place: Place, turn: Future[None]) -> None:
        with self._lock:
            queue = self._queues.get(place)
            if queue is None or turn not in queue:
                return
            queue.remove(turn)
            following = queue[0] if queue and (place in self._there or not self._expecting) else None
            if not queue:
                del self._queues[place]
        _go(following)


def _go(*turns: Future[None] | None) -> None:
    for turn in turns:
        with suppress(InvalidStateError):  # it goes already
            if turn is not None:
                turn.set_result(None)


def no_turn() -> None:
    """Nobody waits."""


def puts(config: RunnableConfig) -> bool:
    """Whether it is a graph at work that writes, and puts its checkpoints as it goes."""
    named = config.get("configurable") or {}
    return RUNTIME in named and named.get(DURABILITY) != "exit"
