"""Checkpoints on their way: with durability="async" LangGraph begins with tasks while their checkpoint waits to be put.

What such a task writes would come before it in the log, and be of nothing if it never came.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

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
        self._awaited: dict[Place, Future[None]] = {}
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
            future = self._awaited.pop(place, None)
        if future is not None:
            future.set_result(None)

    def failed(self) -> None:
        """A checkpoint could not be put: LangGraph puts none after it, and says so when the graph has ended."""
        self._expecting = False
        with self._lock:
            left = list(self._awaited.values())
            self._awaited.clear()
        for future in left:
            future.set_result(None)

    def until(self, place: Place) -> Steps[None]:
        """Returns when the checkpoint is on its way, or none is to be expected."""
        with self._lock:
            if place in self._there or not self._expecting:
                return
            future = self._awaited.setdefault(place, Future())
        try:
            yield Wait(future, PATIENCE, by_loop=self._in_loop)
        except TimeoutError:
            told = "checkpoint %s was not put within %g s: what its tasks record may come before it"
            _log.warning(told, place[1], PATIENCE)
            self.came(place)  # it is not waited for again


def puts(config: RunnableConfig) -> bool:
    """Whether it is a graph at work that writes, and puts its checkpoints as it goes."""
    named = config.get("configurable") or {}
    return RUNTIME in named and named.get(DURABILITY) != "exit"
