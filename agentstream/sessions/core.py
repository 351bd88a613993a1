"""What every face of one client shares: the backend, logs read before, producers in use.

The logs are a cache: each is checked against the stream before it is used (an id may have
been deleted and made again), and without it everything is read anew, no more.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import START, Producer, Read
from agentstream.sessions.births import declared_birth
from agentstream.sessions.events import Event, read_event
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.log import Log, missing, open_log
from agentstream.sessions.patience import asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

KEPT_LOGS = 32
KEPT_EVENTS = 200_000
KEPT_PRODUCERS = 256


class Core:
    """One per client; safe to share between threads and loops."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_resetting(weakref.ref(self)))

    def _reset(self) -> None:
        """Anew in a forked child: another thread may have held the lock, and a producer has one owner."""
        self._lock = threading.Lock()
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._producers: OrderedDict[str, list[Producer]] = OrderedDict()

    # --- logs --------------------------------------------------------------------------------------------------------

    def open(self, session: str) -> Steps[Log | None]:
        """The whole log of a session as it is now, the caller's own; None if there is no such session."""
        log = yield from self.refresh(session)
        if log is None:
            return None
        with self._lock:
            return log.copy()

    def require(self, session: str) -> Steps[Log]:
        """As `open`; NotFound if there is no such session."""
        log = yield from self.open(session)
        if log is None:
            raise missing(session)
        return log

    def refresh(self, session: str) -> Steps[Log | None]:
        """As `open`, but the log is shared: look at what it has, and change nothing."""
        with self._lock:
            log = self._logs.get(session)
        if log is not None:
            try:
                if (yield from self.still(log)):
                    yield from self._catch_up(log)
                    self._keep(log)
                    return log
            except ProtocolError:
                pass  # it is not what it was; what it is now is read anew
            self.forget(session)
        log = yield from open_log(session)
        if log is not None and self.backend.traits.skips:
            self._keep(log)
        return log

    def _catch_up(self, log: Log) -> Steps[None]:
        while True:
            offset = log.offset
            batch = yield from asked(Read(log.path, offset))
            with self._lock:
                if log.offset != offset:
                    continue  # somebody else was faster; what they read need not be all
                log.add(batch)
            if batch.up_to_date or batch.closed:
                return

    def still(self, log: Log) -> Steps[bool]:
        """Whether the stream at the log's path is still the incarnation the log was read from.

        Where reads cannot skip this is too dear to ask, and taken to be so.
        """
        if not self.backend.traits.skips:
            return True
        batch = yield from asked(Read(log.path, START, skip=log.inherited - log.stitched, limit=1))
        birth = declared_birth(read_event(batch.messages[0], 0)) if batch.messages else None
        return birth is not None and birth.incarnation == log.incarnation

    def _keep(self, log: Log) -> None:
        with self._lock:
            self._logs[log.session] = log
            self._logs.move_to_end(log.session)
            while len(self._logs) > KEPT_LOGS or (
                len(self._logs) > 1 and sum(kept.size for kept in self._logs.values()) > KEPT_EVENTS
            ):
                self._logs.popitem(last=False)

    def forget(self, session: str) -> None:
        with self._lock:
            self._logs.pop(session, None)

    def find(self, session: str, kind: str, key: str) -> Steps[Event | None]:
        """The last event of this type and key, None if there is none. Costs what came since, not the whole log."""
        log = yield from self.refresh(session)
        if log is None:
            raise missing(session)
        for place in range(log.size - 1, -1, -1):
            event = log.events[place]
            if event.key == key and event.type == kind:
                return event
        return None

    # --- producers ---------------------------------------------------------------------------------------------------

    def take_producer(self, path: str) -> Producer:
        """A producer of this client's for a stream, nobody else's until it is given back."""
        with self._lock:
            free = self._producers.get(path)
            return free.pop() if free else Producer(fresh_id(), 0, 0)

    def give_back(self, path: str, producer: Producer) -> None:
        """After an append that was surely applied: the next one is the producer's next."""
        with self._lock:
            self._producers.setdefault(path, []).append(Producer(producer.id, producer.epoch, producer.seq + 1))
            self._producers.move_to_end(path)
            while len(self._producers) > KEPT_PRODUCERS:
                self._producers.popitem(last=False)


def _resetting(core: weakref.ref[Core]) -> Callable[[], None]:
    def in_child() -> None:
        found = core()
        if found is not None:
            found._reset()

    return in_child
