"""A crash, seen from inside the process, after which the process's leases are free as if it were gone."""

from __future__ import annotations

from typing import Any

from failing import FailingBackend

from agentstream.backends.base import Backend, DropLease, TakeLease


class CrashingBackend(FailingBackend):
    """A `FailingBackend` that is told by `let_go` that its process is gone."""

    def __init__(self, inner: Backend, *, after: int) -> None:
        super().__init__(inner, after=after)
        self._leases: list[TakeLease] = []

    def _admit(self, operation: Any) -> None:
        super()._admit(operation)
        if isinstance(operation, TakeLease):
            self._leases.append(operation)

    def let_go(self) -> None:
        for lease in self._leases:
            self.inner.execute(DropLease(lease.path, lease.token))
