"""Reading a session: finding its stream, its pages, and what a fork shares with its source.

A `Log` is what has been read so far of one incarnation. Reading goes on where it stopped
(`extend`), so a log is also the cursor of whoever follows a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentstream.errors import NotFound, StoreError
from agentstream.protocol.errors import ProtocolError, StreamGone, StreamNotFound
from agentstream.protocol.operations import START, Batch, Read
from agentstream.sessions.births import Birth, Lineage, birth_of, declared_birth
from agentstream.sessions.counting import Count, counted, rewound_to
from agentstream.sessions.events import Event, Origin, Page, placed, read_event, with_mark
from agentstream.sessions.history import Events, Head, name_hash
from agentstream.sessions.ids import path_of, pointer_path, spare_path
from agentstream.sessions.patience import asked
from agentstream.sessions.snapshots import Chained, digest, live_chain, read_chain, told_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.history import Reader

FIRST = 256
"""Events of the first page: a session that has more may have a snapshot."""

DEEPEST = 64
"""Stitched forks of stitched forks, at most: a guard against lineages that name each other."""


class Log(msgspec.Struct):
    """The events read of one incarnation, in order and marked; `offset` is where reading goes on."""

    session: str
    path: str
    origin: Origin
    count: Count = msgspec.field(default_factory=Count)
    offset: str = START
    closed: bool = False
    stitched: int = 0
    """How many of the first events were read from the source's stream, because this one does not hold them."""
    depth: int = 0
    """How many streams are stitched in front of this one."""
    life: str | None = None
    """What the keeper of the stream told it by, as long as every page said the same."""
    mark: str | None = None
    """A producer of ours that the stream knew before it was read: while it knows that, it is the same stream."""
    head: Head | None = None
    """What stands for the first events, where a snapshot told them."""
    saved: Saved | None = None
    """The snapshots that there are of it."""

    @property
    def events(self) -> Sequence[Event]:
        return self.count.events if self.head is None else Events(self.head, self.count.events)

    @property
    def size(self) -> int:
        return self.count.base + len(self.count.events)

    @property
    def unsaved(self) -> int:
        """How many events came since the last snapshot."""
        return self.size - (self.saved.size if self.saved is not None else 0)

    @property
    def incarnation(self) -> str:
        return self.origin.incarnation

    @property
    def births(self) -> list[tuple[int, Birth]]:
        """Where each incarnation in this history began, the present one's last."""
        return self.count.births

    @property
    def lineage(self) -> Lineage | None:
        births = self.count.births
        return births[-1][1].lineage if births else None

    @property
    def inherited(self) -> int:
        """How many of the first events are shared with the session this one was forked from."""
        return self.lineage.count if self.lineage is not None else 0

    @property
    def encrypted(self) -> str | None:
        """The id of the key that the session is sealed with."""
        births = self.count.births
        return births[-1][1].encrypted if births else None

    def copy(self) -> Log:
        return msgspec.structs.replace(self, count=self.count.copy())

    def add(self, batch: Batch) -> None:
        """Takes the page that was read at `offset`."""
        count, births = self.count, len(self.count.births)
        for event in self.read(batch):
            count.add(event)
        if len(count.births) > births:
            self.origin.incarnation = count.births[-1][1].incarnation
        if self.offset == START or self.life != batch.life:
            self.life = batch.life if self.offset == START else None
        self.offset, self.closed = batch.offset, batch.closed

    def read(self, batch: Batch) -> Iterator[Event]:
        """The events of the page that was read at `offset`, unmarked."""
        page, size = Page(self.origin, self.offset, batch.offset, len(batch.messages)), self.size
        return (read_event(message, size + place, page, place) for place, message in enumerate(batch.messages))


class Saved(msgspec.Struct, frozen=True):
    """The snapshots of a log: up to where they go, what the next one knows the last by, and how much they are."""

    size: int
    crc: int
    bytes: int
    records: int


class NeedsWhole(Exception):
    """What came changes what a snapshot told: the log must be read whole."""


def taking(log: Log, batch: Batch) -> Steps[None]:
    """Has a log take the page that was read at its `offset`; reads it whole if what a snapshot told is not enough."""
    try:
        yield from expecting(log, batch)
    except NeedsWhole:
        yield from whole(log)
    log.add(batch)


def expecting(log: Log, batch: Batch) -> Steps[None]:
    """Finds out which keys of a page the log's head holds. Raises NeedsWhole for a rewind into the head."""
    head = log.head
    if head is None or not batch.messages:
        return
    names: dict[int, list[Event]] = {}
    for event in log.read(batch):
        if event.type == "rewind" and rewound_to(event) < head.size:
            raise NeedsWhole
        if event.operation == "insert" and event.key:
            names.setdefault(name_hash(event.type, event.key), []).append(event)
    for name, events in names.items():
        for place in head.names.places(name):
            there = yield from head.reading_one(place)
            log.count.take({(there.type, there.key)} & {(event.type, event.key) for event in events})


def whole(log: Log) -> Steps[None]:
    """Reads what a log's head stands for; it has none then. The log is the caller's own."""
    if log.head is not None:
        yield from log.head.reading(0)
        log.count, log.head = counted(log.events), None


def missing(session: str) -> NotFound:
    return NotFound(f"there is no session {session!r} here; session.run(…) or session.append(…) makes it")


# --- where a session is ----------------------------------------------------------------------------------------------


def locate(session: str) -> Steps[tuple[str, Batch] | None]:
    """The path that holds the session's present incarnation and its first page; None if there is none."""
    path = path_of(session)
    first = yield from _first_page(path, FIRST)
    if first is None or _moved(first):
        target = yield from pointed_at(session)
        if target is None:
            return None
        path = target
        first = yield from _first_page(path, FIRST)
    return None if first is None else (path, first)


def _first_page(path: str, limit: int | None = None) -> Steps[Batch | None]:
    try:
        return (yield from asked(Read(path, limit=limit)))
    except (StreamNotFound, StreamGone):
        return None


def _moved(first: Batch) -> bool:
    """Whether the session was taken elsewhere, as the first event of what was left here says."""
    event = read_event(first.messages[0], 0) if first.messages else None
    return (
        event is not None
        and event.type == "session"
        and isinstance(event.value, dict)
        and event.value.get("moved") is True
    )


def pointed_at(session: str) -> Steps[str | None]:
    """The path that the session's pointer names.

    An event of the pointer counts if it replaces what was named before it: of two that point
    at once the first in the log wins, and both see it.
    """
    path, target = pointer_path(session), None
    page = yield from _first_page(path)
    while page is not None:
        for message in page.messages:
            value = read_event(message, 0).value
            if isinstance(value, dict) and isinstance(value.get("path"), str) and value.get("replaces") == target:
                target = value["path"]
        page = None if page.up_to_date or page.closed else (yield from asked(Read(path, page.offset)))
    return target


# --- reading it ------------------------------------------------------------------------------------------------------


def open_log(session: str, *, depth: int = 0, backend: Backend | None = None) -> Steps[Log | None]:
    """The session as it is now; None if there is none. Read whole, or from its snapshot on where a `backend` is given
    (which reads what that stands for when it is asked for)."""
    found = yield from locate(session)
    if found is None:
        return None
    path, first = found
    return (yield from read_log(session, path, first, depth=depth, backend=backend))


def read_log(session: str, path: str, first: Batch, *, depth: int = 0, backend: Backend | None = None) -> Steps[Log]:
    """Reads the incarnation at `path`, its first page being read already."""
    if backend is not None and not first.up_to_date and not first.closed:
        told = yield from _from_snapshot(session, path, first, backend)
        if told is not None:
            return told
    log = Log(session, path, Origin(session))
    lineage = _lineage_in_front(first)
    if lineage is not None:
        yield from _stitch(log, lineage, depth)
    log.add(first)
    yield from _read_on(log, first)
    return log


def extend(log: Log, *, wait: float | None = None) -> Steps[Sequence[Event]]:
    """Reads what came since; returns the new events. With `wait` (seconds) waits for the first of them."""
    before = log.size
    batch = yield from asked(Read(log.path, log.offset, wait=wait))
    yield from taking(log, batch)
    yield from _read_on(log, batch)
    return log.events[before:]


def _read_on(log: Log, batch: Batch) -> Steps[None]:
    while not batch.up_to_date and not batch.closed:
        batch = yield from asked(Read(log.path, log.offset))
        yield from taking(log, batch)


# --- from a snapshot on ----------------------------------------------------------------------------------------------


def _from_snapshot(session: str, path: str, first: Batch, backend: Backend) -> Steps[Log | None]:
    """The log from its newest snapshot on, or from one of what it was forked from; None where none fits."""
    event = read_event(first.messages[0], 0) if first.messages else None
    birth = declared_birth(event) if event is not None else None
    if birth is None or event is None:
        return None
    try:
        chain = live_chain((yield from read_chain(path, event)))
        if chain:
            offset = yield from _fitting(path, birth.incarnation, chain, backend)
            if offset is not None:
                return (yield from _log_from(session, path, chain, offset, first, backend, own=True))
        if backend.traits.skips and birth.lineage is None and birth.session not in (None, session):
            assert birth.session is not None
            shared = live_chain((yield from read_chain(path_of(birth.session), event)))
            shared, offset = yield from _shared(path, birth.incarnation, shared)
            if offset is not None:
                return (yield from _log_from(session, path, shared, offset, first, backend, own=False))
    except (ProtocolError, NeedsWhole):
        pass  # it does not fit: without it all takes longer, and nothing else
    return None


def _fitting(path: str, first: str, chain: list[Chained], backend: Backend) -> Steps[str | None]:
    """Where reading goes on after a chain, if it tells of what is at the path now."""
    live, stop = chain[-1].record.live, chain[-1].record.stop
    assert live is not None
    births = [(index, raw) for index, raw in live.kept if birth_of(read_event(raw, index)) is not None]
    born = births[-1][0] - live.stitched if births else -1
    if born == 0 and live.incarnation != first:
        return None
    if not backend.traits.skips:
        return live.offset if born == 0 else None
    if born < 0 or stop <= live.stitched:
        return None
    if born > 0 and (yield from _event_at(path, born))[0] != digest(births[-1][1]):
        return None
    last, offset = yield from _event_at(path, stop - 1 - live.stitched)
    return offset if last == live.last and offset == live.offset else None


def _shared(path: str, first: str, chain: list[Chained]) -> Steps[tuple[list[Chained], str | None]]:
    """As much of a source's chain as is in a fork too, and where reading the fork goes on after that."""
    offset: str | None = None
    low, high = 0, len(chain)
    while low < high:
        middle = (low + high + 1) // 2
        record = chain[middle - 1].record
        if record.live is None or record.live.incarnation != first or record.live.stitched:
            high = middle - 1
            continue
        last, after = yield from _event_at(path, record.stop - 1)
        if last == record.live.last:
            low, offset = middle, after
        else:
            high = middle - 1
    return chain[:low], offset if low else None


def _event_at(path: str, place: int) -> Steps[tuple[bytes, str]]:
    """What the event at a place of a stream is known by, and the offset after it."""
    batch = yield from asked(Read(path, START, skip=place, limit=1))
    return (digest(batch.messages[0]) if batch.messages else b"", batch.offset)


def _log_from(
    session: str, path: str, chain: list[Chained], offset: str, first: Batch, backend: Backend, *, own: bool
) -> Steps[Log | None]:
    live, last = chain[-1].record.live, chain[-1]
    assert live is not None
    log = Log(session, path, Origin(session, live.incarnation), offset=offset, life=first.life)
    log.stitched, log.depth = live.stitched, live.depth
    told = told_by([each.record for each in chain], log.origin, _reader(log, backend, chain), backend)
    if told is None:
        return None
    log.head, log.count = told
    log.saved = Saved(last.record.stop, last.crc, last.bytes, len(chain)) if own else None
    batch = yield from asked(Read(path, offset))
    yield from expecting(log, batch)
    log.add(batch)
    while not batch.up_to_date and not batch.closed:
        batch = yield from asked(Read(log.path, log.offset))
        yield from expecting(log, batch)
        log.add(batch)
    if own:
        return log
    begun = [birth.lineage for index, birth in log.count.births if index >= log.head.size]
    fork = begun[0] if begun else None
    return log if fork is not None and fork.incarnation == live.incarnation else None


def _reader(log: Log, backend: Backend, chain: list[Chained]) -> Reader:
    """Reads events of the incarnation that a log was opened on."""
    anchors = [(each.record.stop, each.record.live.offset) for each in chain if each.record.live is not None]

    def read(start: int, stop: int) -> Steps[tuple[int, list[Event]]]:
        try:
            if start < log.stitched:
                return (yield from _read_all(log, stop))
            if backend.traits.skips:
                return start, (yield from _read_between(log, start, stop))
            known = [anchor for anchor in anchors if anchor[0] <= start]
            if not known:
                return (yield from _read_all(log, stop))
            return known[-1][0], (yield from _read_from(log, *known[-1], stop))
        except (StreamNotFound, StreamGone):
            raise missing(log.session) from None

    return read


def _read_all(log: Log, stop: int) -> Steps[tuple[int, list[Event]]]:
    fresh = yield from read_log(log.session, log.path, (yield from asked(Read(log.path))))
    fresh.origin.blobs = log.origin.blobs
    if fresh.incarnation != log.incarnation or fresh.size < stop:
        raise missing(log.session)
    return 0, [with_mark(event, None) for event in fresh.events[:stop]]


def _read_between(log: Log, start: int, stop: int) -> Steps[list[Event]]:
    events: list[Event] = []
    while (at := start + len(events)) < stop:
        batch = yield from asked(Read(log.path, START, skip=at - log.stitched, limit=stop - at))
        if not batch.messages or (log.life is not None and batch.life != log.life):
            raise missing(log.session)
        place = at - log.stitched
        page = Page(log.origin, START, batch.offset, place + len(batch.messages))
        events += (read_event(message, at + n, page, place + n) for n, message in enumerate(batch.messages))
    return events


def _read_from(log: Log, start: int, offset: str, stop: int) -> Steps[list[Event]]:
    """Reads from an offset on, where no events can be skipped."""
    first = yield from asked(Read(log.path, limit=1))
    birth = declared_birth(read_event(first.messages[0], 0)) if first.messages else None
    if birth is None or birth.incarnation != log.incarnation:
        raise missing(log.session)
    events: list[Event] = []
    while start + len(events) < stop:
        batch = yield from asked(Read(log.path, offset))
        if not batch.messages:
            raise missing(log.session)
        page, at = Page(log.origin, offset, batch.offset, len(batch.messages)), start + len(events)
        events += (read_event(message, at + n, page, n) for n, message in enumerate(batch.messages))
        offset = batch.offset
    return events[: stop - start]


def _lineage_in_front(first: Batch) -> Lineage | None:
    """The lineage with which a stitched fork's stream begins: the source holds what comes before it."""
    birth = declared_birth(read_event(first.messages[0], 0)) if first.messages else None
    return birth.lineage if birth is not None and birth.lineage is not None and birth.lineage.count > 0 else None


def _stitch(log: Log, lineage: Lineage, depth: int) -> Steps[None]:
    """Puts what a stitched fork shares with its source in front of it."""
    if depth >= DEEPEST:
        raise too_deep(log.session)
    source = yield from open_log(lineage.source, depth=depth + 1)
    for path in (lineage.path, spare_path(lineage.incarnation)):
        if source is not None and source.incarnation == lineage.incarnation:
            break
        # the id was used again, or compacted; the old incarnation may live on where it was, or was put
        first = (yield from _first_page(path)) if path is not None else None
        if first is not None and path is not None:
            source = yield from read_log(lineage.source, path, first, depth=depth + 1)
    if source is None or source.incarnation != lineage.incarnation or source.size < lineage.count:
        raise StoreError(
            f"session {log.session!r} is a stitched fork of {lineage.source!r} (incarnation {lineage.incarnation}), "
            "which is gone; its first events cannot be read. Restore the source, or fork with copy=True next time"
        )
    page = Page(log.origin)
    for event in source.events[: lineage.count]:
        log.count.add(placed(with_mark(event, None), page))
    log.stitched, log.depth = lineage.count, source.depth + 1


def too_deep(session: str) -> StoreError:
    return StoreError(
        f"the lineage of session {session!r} is more than {DEEPEST} stitched forks deep, or goes in a circle; "
        "fork with copy=True"
    )
