"""One transcript, written into its session by this process.

The writer holds a claim, as every worker does, but no lease: nothing says when a transcript is at its end. Who is
overtaken by another process that mirrors the same one (a session that is resumed elsewhere) claims again and writes
what is not there yet; lines refer to each other by uuid, so their order between processes does not matter.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentstream import AgentStreamError, Fenced
from agentstream.adapters import Hold, Sleep, Steps, recorder
from agentstream_claude._entries import events_of

if TYPE_CHECKING:
    from agentstream import AsyncClient
    from agentstream.adapters import Log

TRIES = 50
"""Claims made for one append while others claim too."""


class Mirror:
    """Used by one task at a time."""

    def __init__(self, client: AsyncClient, session: str) -> None:
        self.session = session
        self._recorder = recorder(client, session)
        self._log: Log | None = None
        self._there: set[tuple[str, str]] = set()
        """Types and keys of the events that are in the session, as far as this process knows."""

    def append(self, entries: Sequence[Any]) -> Steps[None]:
        """Appends the lines that are not there yet; durable when it returns. Raises NotSerializable, StoreError."""
        told = [event for entry in entries for event in events_of(entry)]
        for _ in range(TRIES):
            hold = yield from self.held()
            try:
                yield from self._put(hold, told)
                yield from hold.durable()
                return
            except Fenced:
                self._recorder.drop(hold)
                yield Sleep(random.uniform(0, 0.02))
            except BaseException:
                self._recorder.drop(hold)  # whether it was applied is unknown: the log says
                raise
        raise AgentStreamError(
            f"session {self.session!r}: other processes write to it without a pause, nothing gets through. Try again"
        )

    def held(self) -> Steps[Hold]:
        """The claim in use, or a new one."""
        hold = self._recorder.hold
        return hold if hold is not None else (yield from self._recorder.take(self._noted))

    def _put(self, hold: Hold, told: list[tuple[str, str, dict[str, Any]]]) -> Steps[None]:
        assert self._log is not None
        changes: list[tuple[str, str, dict[str, Any]]] = []
        for kind, key, value in told:
            if (kind, key) not in self._there:
                changes.append((kind, key, (yield from self._recorder.form(kind, value, self._log))))
                self._there.add((kind, key))
        hold.put(*changes)

    def _noted(self, log: Log) -> dict[str, Any]:
        self._log = log
        self._there = {(event.type, event.key) for event in log.events if event.mark is None}
        return {}
