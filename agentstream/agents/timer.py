"""One thread that does small things a little later: flushing what nobody waits for."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("agentstream")


class Timer:
    """Calls functions at given times on a daemon thread of its own, started when first needed."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._running = False

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Calls `function()` after `seconds`; it must be quick and raise nothing."""
        when = time.monotonic() + seconds
        with self._wake:
            heapq.heappush(self._due, (when, next(self._order), function))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="agentstream-timer", daemon=True).start()
            elif self._due[0][0] == when:
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._wake.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, _, function = heapq.heappop(self._due)
            try:
                function()
            except Exception:
                _log.exception("a delayed flush failed")


timer = Timer()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=timer._reset)  # pyright: ignore[reportPrivateUsage]
