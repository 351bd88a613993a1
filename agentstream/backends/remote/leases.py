"""Leases on a server: a sidecar stream with a time to live, made by who takes one, renewed by POST, looked at by HEAD.

A GET would renew it too, so nobody reads it. A holder that dies stops renewing, and the server
forgets the stream. A lease is a hint and never fences, so one that lapses while its holder
lives (a machine that slept, a server long out of reach) costs nothing but that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agentstream.backends.base import DropLease, LeaseHeld, TakeLease
from agentstream.backends.threads import at_work
from agentstream.errors import AgentStreamError, SessionBusy
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Append, Create, Delete, Head

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

TTL = 20
"""Seconds that a lease outlives its holder; it is renewed three times as often."""

TYPE = "text/plain"


class Leases:
    """The leases that one backend holds. `told` executes an operation (`exchange.told`), `submit` starts one."""

    def __init__(self, told: Callable[[Any], Steps[tuple[Any, bool]]], submit: Callable[[Any], Any], ttl: int) -> None:
        self._told = told
        self._submit = submit
        self._ttl = ttl
        self.reset()

    def reset(self) -> None:
        """Anew in a forked child: the parent's leases stay the parent's."""
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._renewing: threading.Thread | None = None

    def steps(self, operation: TakeLease | DropLease | LeaseHeld) -> Steps[bool | None]:
        path = f"~lease/{operation.token}"
        if isinstance(operation, LeaseHeld):
            return self._looked_at(path)
        return self._taken(operation, path) if isinstance(operation, TakeLease) else self._dropped(path)

    def _taken(self, operation: TakeLease, path: str) -> Steps[None]:
        created, doubtful = yield from self._told(Create(path, content_type=TYPE, ttl=self._ttl))
        with self._lock:
            if path in self._held or not (created.new or doubtful):
                raise SessionBusy(f"the lease {operation.token!r} of {operation.path!r} is held by a living worker")
            self._held.add(path)
            if not at_work(self._renewing):
                self._renewing = threading.Thread(target=self._renew, name="agentstream-leases", daemon=True)
                self._renewing.start()

    def _dropped(self, path: str) -> Steps[None]:
        with self._lock:
            mine = path in self._held
            self._held.discard(path)
        if mine:
            with suppress(StreamNotFound, StreamGone):
                yield from self._told(Delete(path))

    def _looked_at(self, path: str) -> Steps[bool]:
        if path in self._held:
            return True
        try:
            yield from self._told(Head(path))
        except (StreamNotFound, StreamGone):
            return False
        return True

    def _renew(self) -> None:
        over = self._over
        while not over.wait(self._ttl / 3):
            for path in tuple(self._held):
                self._submit(Append(path, (b".",), TYPE)).add_done_callback(self._renewed(path))

    def _renewed(self, path: str) -> Callable[[Any], None]:
        def done(future: Any) -> None:
            if isinstance(future.exception(), (StreamNotFound, StreamGone)) and path in self._held:
                self._submit(Create(path, content_type=TYPE, ttl=self._ttl))  # it lapsed, and its holder lives

        return done

    def released(self) -> Steps[None]:
        """Lets go of all, as far as the server answers."""
        self._over.set()
        for path in tuple(self._held):
            self._held.discard(path)
            with suppress(AgentStreamError):
                yield from self._told(Delete(path))
