"""What every face of one client shares: the backend, logs read before, producers in use.

The logs are a cache: each is checked against the stream before it is used (an id may have
been deleted and made again), and without it everything is read anew, no more.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from agentstream.backends.driving import drive
from agentstream.protocol.errors import ProtocolError, SequenceGap, StreamGone
from agentstream.protocol.operations import START, Append, Producer, Read
from agentstream.sessions.births import declared_birth
from agentstream.sessions.blobs import Blobs
from agentstream.sessions.encryption.refusals import no_key, refusal
from agentstream.sessions.events import Event, read_event
from agentstream.sessions.history import name_hash
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.log import Log, NeedsWhole, expecting, extend, missing, open_log, whole
from agentstream.sessions.patience import asked
from agentstream.sessions.redaction import Rules
from agentstream.sessions.snapshots import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.births import Birth
    from agentstream.sessions.log import Saved
    from agentstream.sessions.redaction import Redact
    from agentstream.sessions.saving import Saver

KEPT_LOGS = 32
KEPT_EVENTS = 200_000
KEPT_PRODUCERS = 256

FARTHEST = 2**53 - 1
"""The last number that a producer's request can have."""
PROBE = b'{"type":"probe","key":"probe","headers":{"operation":"delete"}}'


class Core:
    """One per client; safe to share between threads and loops."""

    def __init__(self, backend: Backend, redact: Redact | bool | None = None) -> None:
        self.backend = backend
        self.rules = Rules(redact, backend)
        self._owns: Callable[[str, str | None], None] | None = getattr(backend, "owns", None)
        self.blobs = Blobs(backend)
        self.steering: Any = None
        """What gives the steps of this client's runs their outcomes (`agents/steering.py`): nothing, in a program."""
        self.observer: Any = None
        """Who watches its runs (`agents/observing.py`)."""
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_resetting(weakref.ref(self)))

    def _reset(self) -> None:
        """Anew in a forked child: another thread may have held the lock, and a producer has one owner."""
        self._lock = threading.Lock()
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._producers: OrderedDict[str, list[Producer]] = OrderedDict()
        self._saver: Saver | None = None
        self._tried: dict[str, int] = {}
        """How many events each log had when a snapshot of it was asked for last, by path."""

    # --- logs --------------------------------------------------------------------------------------------------------

    def open(self, session: str) -> Steps[Log | None]:
        """The whole log of a session as it is now, the caller's own; None if there is no such session."""
        log = yield from self.refresh(session)
        return self.own(log) if log is not None else None

    def own(self, log: Log) -> Log:
        """A copy of a shared log, the caller's own."""
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
        log = yield from self.refreshed(session)
        if log is not None and log.unsaved >= EVERY:
            self._save_soon(log)
        return log

    def refreshed(self, session: str) -> Steps[Log | None]:
        """As `refresh`, and no snapshot is written."""
        with self._lock:
            log = self._logs.get(session)
        if log is not None:
            try:
                if (yield from self.still(log)):
                    yield from self._catch_up(log)
                    self._own(log)
                    self._keep(log)
                    return log
            except ProtocolError:
                pass  # it is not what it was; what it is now is read anew
            except NeedsWhole:
                return (yield from self._whole(log))
            self.forget(session)
        known = self._established()
        log = yield from open_log(session, backend=self.backend)
        if log is not None:
            log.origin.blobs = self.blobs
            log.mark = known.get(log.path)
            self._own(log)
        if log is not None and self._can_tell(log):
            self._keep(log)
        return log

    def _catch_up(self, log: Log) -> Steps[None]:
        while True:
            offset = log.offset
            batch = yield from asked(Read(log.path, offset))
            if log.life is not None and batch.life != log.life:
                raise StreamGone(f"stream {log.path!r} was deleted and made again")
            if log.life is None and log.mark is not None:
                yield from self._recognise(log.path, log.mark)
            yield from expecting(log, batch)
            with self._lock:
                if log.offset != offset:
                    continue  # somebody else was faster; what they read need not be all
                log.add(batch)
            if batch.up_to_date or batch.closed:
                return

    def _whole(self, log: Log) -> Steps[Log]:
        """The same log, read whole: what came changes what its snapshot told."""
        with self._lock:
            own = log.copy()
        yield from whole(own)
        yield from extend(own)
        if self._can_tell(own):
            self._keep(own)
        return own

    def _can_tell(self, log: Log) -> bool:
        """Whether it can be told cheaply that the log is still what is there; without, every reading is a new one."""
        return self.backend.traits.skips or log.life is not None or log.mark is not None

    def _established(self) -> dict[str, str]:
        """A producer that the stream knows, by path, where nothing else tells one life of a path from the next."""
        if self.backend.traits.skips:
            return {}
        with self._lock:
            return {path: each[0].id for path, each in self._producers.items() if each}

    def _recognise(self, path: str, producer: str) -> Steps[None]:
        """Raises StreamGone if the stream does not know a producer of ours any more: it is another one, or may be.

        Asked by an append so far ahead that no server takes it: it answers which number it expects.
        """
        try:
            yield from asked(Append(path, (PROBE,), producer=Producer(producer, 0, FARTHEST)))
        except SequenceGap as gap:
            if gap.expected > 0:
                return
        raise StreamGone(f"stream {path!r} was deleted and made again, or has forgotten who wrote to it")

    def still(self, log: Log) -> Steps[bool]:
        """Whether the stream at the log's path is still the incarnation the log was read from.

        Where reads cannot skip this is too dear to ask, and taken to be so.
        """
        if not self.backend.traits.skips:
            return True
        batch = yield from asked(Read(log.path, START, skip=log.inherited - log.stitched, limit=1))
        birth = declared_birth(read_event(batch.messages[0], 0)) if batch.messages else None
        return birth is not None and birth.incarnation == log.incarnation and birth.erased is None

    def _own(self, log: Log) -> None:
        """Tells a backend that seals whose stream it is. Raises Erased."""
        if not log.births:
            return
        birth = log.births[-1][1]
        if birth.erased is not None:
            raise refusal({"reason": "erased", "at": birth.erased}, f"session {log.session!r}")
        if self._owns is not None:
            self._owns(log.path, birth.encrypted)

    def writable(self, log: Log) -> None:
        """Raises Locked for an encrypted session where there is no key: what is written into it would not be sealed."""
        if log.births and not self.can_write(log.births[-1][1]):
            raise no_key(f"session {log.session!r}")

    def can_write(self, birth: Birth) -> bool:
        """Whether what is written into the session of this birth will be sealed, if it is to be."""
        return self._owns is not None or birth.encrypted is None

    def address(self, key_id: str | None, digest: str) -> str:
        """What a content of this SHA-256 is called: in a session encrypted with a key its hash keyed with that."""
        if key_id is None:
            return digest
        address: Callable[[str, str], str] | None = getattr(self.backend, "address", None)
        if address is None:
            raise no_key(f"content {digest[:12]}…")
        return address(key_id, digest)

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

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def _save_soon(self, log: Log) -> None:
        """Has a snapshot written in the background; nobody waits for it."""
        from agentstream.sessions.saving import Saver, save  # most sessions are short

        with self._lock:
            if log.size < self._tried.get(log.path, -EVERY) + EVERY:
                return
            self._tried[log.path] = log.size
            if self._saver is None:
                self._saver = Saver()
        session = log.session
        self._saver.soon(log.path, lambda: drive(save(self, session), self.backend))

    def grew(self, session: str, size: int) -> None:
        """A worker left a session with about so many events: it may be worth a snapshot."""
        with self._lock:
            log = self._logs.get(session)
        if log is not None and size - (log.size - log.unsaved) >= EVERY:
            self._save_soon(log)

    def saved(self, session: str, incarnation: str, saved: Saved) -> None:
        """A snapshot was written: the log that is kept here knows where the next one goes on."""
        with self._lock:
            log = self._logs.get(session)
            if log is not None and log.incarnation == incarnation:
                log.saved = saved

    def finish(self) -> None:
        """Gives what is being written in the background a moment to be done; before the backend is closed."""
        saver = self._saver
        if saver is not None:
            saver.finish()

    def find(self, session: str, kind: str, key: str) -> Steps[Event | None]:
        """The last event of this type and key, None if there is none. Costs what came since, not the whole log."""
        log = yield from self.refresh(session)
        if log is None:
            raise missing(session)
        for event in reversed(log.count.events):
            if event.key == key and event.type == kind:
                return event
        if log.head is None:
            return None
        for place in reversed(log.head.names.places(name_hash(kind, key))):
            event = yield from log.head.reading_one(place)
            if event.key == key and event.type == kind:
                return event
        return next((e for e in reversed(log.events) if e.key == key and e.type == kind), None)

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
