"""What every face of one client shares: the backend, and logs read before.

The logs are a cache: each is checked against the stream before it is used (an id may have
been deleted and made again), and without it everything is read anew, no more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import START, Read
from agentstream.sessions.events import read_event
from agentstream.sessions.log import Log, extend, is_birth, missing, open_log

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

KEPT_LOGS = 32
KEPT_EVENTS = 200_000


class Core:
    """One per client; safe to share between threads and loops."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, session: str) -> Steps[Log | None]:
        """The whole log of a session as it is now, None if there is no such session. The caller may extend it."""
        log = yield from self._cached(session)
        if log is None:
            log = yield from open_log(session)
        if log is not None:
            self.keep(log)
        return log

    def require(self, session: str) -> Steps[Log]:
        """As `open`; NotFound if there is no such session."""
        log = yield from self.open(session)
        if log is None:
            raise missing(session)
        return log

    def keep(self, log: Log) -> None:
        """Remembers how far a log was read."""
        if not self.backend.traits.skips:
            return
        with self._lock:
            kept = self._logs.get(log.session)
            if kept is None or kept.incarnation != log.incarnation or kept.size <= log.size:
                self._logs[log.session] = replace(log, events=list(log.events))
            self._logs.move_to_end(log.session)
            while len(self._logs) > KEPT_LOGS or (
                len(self._logs) > 1 and sum(kept.size for kept in self._logs.values()) > KEPT_EVENTS
            ):
                self._logs.popitem(last=False)

    def forget(self, session: str) -> None:
        with self._lock:
            self._logs.pop(session, None)

    def _cached(self, session: str) -> Steps[Log | None]:
        with self._lock:
            kept = self._logs.get(session)
        if kept is None:
            return None
        try:
            if (yield from self.still(kept)):
                log = replace(kept, events=list(kept.events))
                yield from extend(log)
                return log
        except ProtocolError:
            pass
        self.forget(session)
        return None

    def still(self, log: Log) -> Steps[bool]:
        """Whether the stream at the log's path is still the incarnation the log was read from."""
        batch = yield Read(log.path, START, skip=log.inherited - log.stitched, limit=1)
        if not batch.messages:
            return False
        event = read_event(batch.messages[0], log.inherited)
        return event.type == "session" and is_birth(event) and event.value["incarnation"] == log.incarnation

    def last_read(self, session: str) -> Log | None:
        """The log last read of this session, unchecked."""
        with self._lock:
            return self._logs.get(session)
