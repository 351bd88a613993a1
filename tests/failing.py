"""A backend that stops answering after the k-th append: a crash, seen from inside the process."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from agentstream.backends.base import Backend, Traits
from agentstream.errors import Unavailable
from agentstream.protocol.operations import Append


class FailingBackend:
    """Wraps `inner`: lets `after` appends through, then refuses everything with `Unavailable`, reads too.

    `appends` counts the `Append` operations that were let through. What was let through is
    applied by `inner`, which a fresh client can then open. Safe to share between threads.
    """

    def __init__(self, inner: Backend, *, after: int) -> None:
        self.inner = inner
        self.name = inner.name
        self.traits: Traits = inner.traits
        self.after = after
        self.appends = 0
        self.dead = False
        self._lock = threading.Lock()

    def execute(self, operation: Any) -> Any:
        self._admit(operation)
        return self.inner.execute(operation)

    async def aexecute(self, operation: Any) -> Any:
        self._admit(operation)
        return await self.inner.aexecute(operation)

    def submit(self, operation: Any) -> Future[Any]:
        try:
            self._admit(operation)
        except Unavailable as refused:
            future: Future[Any] = Future()
            future.set_exception(refused)
            return future
        return self.inner.submit(operation)

    def close(self) -> None:
        """Does nothing: a crashed process does not tidy up, and `inner` belongs to the test."""

    def _admit(self, operation: Any) -> None:
        with self._lock:
            if isinstance(operation, Append):
                self.dead = self.dead or self.appends >= self.after
                self.appends += not self.dead
            if self.dead:
                raise Unavailable(f"{self.name}: crashed on purpose after {self.after} appends")
