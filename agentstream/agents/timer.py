"""One thread that does small things a little later: flushing what nobody waits for.

Many writers flush at once, and what is due at almost the same time is done together, so
that its appends share an fsync. All that waits equally long is due in the order in which it
came: such a line needs no sorting, and no object for each that stands in it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from agentstream.backends.threads import at_work

TICK = 0.005
"""Seconds: what is due within them is done together, a little early."""

EACH = 0.00003
"""Seconds that each in a line makes the next one wait longer: about what an append takes, so that with thousands of
writers each of them writes more at once, and they do not wait for the processor instead."""

_log = logging.getLogger("agentstream")


_Line = deque[Any]
"""What waits equally long: when it is due and what is then called, in turn. Both are added as one: between two lines an
interrupt may come."""


class Timer:
    """Calls functions at given times on a daemon thread of its own, started when first needed."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lines: dict[float, _Line] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._awake_at = float("inf")
        self._thread: threading.Thread | None = None

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Calls `function()` after `seconds`; it must be quick and raise nothing."""
        when = time.monotonic() + seconds
        with self._wake:
            heapq.heappush(self._due, (when, next(self._order), function))
            self._expect(when)

    def in_line(self, seconds: float, function: Callable[[], None]) -> None:
        """As `later`, for one of a few lengths of time that many ask for; a little later where very many do."""
        with self._wake:
            line = self._lines.get(seconds)
            if line is None:
                line = self._lines[seconds] = deque()
            when = time.monotonic() + seconds + len(line) // 2 * EACH
            line.extend((when, function))
            self._expect(when)

    def _expect(self, when: float) -> None:
        if not at_work(self._thread):
            self._thread = threading.Thread(target=self._run, name="agentstream-timer", daemon=True)
            self._thread.start()
        elif when < self._awake_at:
            self._wake.notify()

    def _run(self) -> None:
        while True:
            for function in self._next():
                try:
                    function()
                except Exception:
                    _log.exception("a delayed flush failed")

    def _next(self) -> list[Callable[[], None]]:
        """Waits for what is due next, and gives it with what is due at almost the same time."""
        with self._wake:
            while True:
                first = min(self._times(), default=None)
                now = time.monotonic()
                if first is not None and first <= now:
                    self._awake_at = 0.0
                    return self._taken(now + TICK)
                self._awake_at = float("inf") if first is None else first
                self._wake.wait(None if first is None else first - now)

    def _times(self) -> Iterator[float]:
        """When the first of each is due."""
        if self._due:
            yield self._due[0][0]
        for line in self._lines.values():
            if line:
                yield line[0]

    def _taken(self, until: float) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        for line in self._lines.values():
            while line and line[0] <= until:
                line.popleft()
                found.append(line.popleft())
        while self._due and self._due[0][0] <= until:
            found.append(heapq.heappop(self._due)[2])
        return found


timer = Timer()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=timer._reset)  # pyright: ignore[reportPrivateUsage]
