"""Reading a session: finding its stream, its pages, and what a fork shares with its source.

A `Log` is what has been read so far of one incarnation. Reading goes on where it stopped
(`extend`), so a log is also the cursor of whoever follows a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentstream.errors import NotFound, StoreError
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import START, Batch, Read
from agentstream.sessions.births import Lineage, declared_birth
from agentstream.sessions.counting import Count
from agentstream.sessions.events import Event, Origin, Page, placed, read_event, with_mark
from agentstream.sessions.ids import path_of, pointer_path
from agentstream.sessions.patience import asked

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

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

    @property
    def events(self) -> list[Event]:
        return self.count.events

    @property
    def size(self) -> int:
        return len(self.count.events)

    @property
    def incarnation(self) -> str:
        return self.origin.incarnation

    @property
    def lineage(self) -> Lineage | None:
        births = self.count.births
        return births[-1][1].lineage if births else None

    @property
    def inherited(self) -> int:
        """How many of the first events are shared with the session this one was forked from."""
        return self.lineage.count if self.lineage is not None else 0

    def copy(self) -> Log:
        return msgspec.structs.replace(self, count=self.count.copy())

    def add(self, batch: Batch) -> None:
        """Takes the page that was read at `offset`."""
        page = Page(self.origin, self.offset, batch.offset, len(batch.messages))
        count, size, births = self.count, self.size, len(self.count.births)
        for place, message in enumerate(batch.messages):
            count.add(read_event(message, size + place, page, place))
        if len(count.births) > births:
            self.origin.incarnation = count.births[-1][1].incarnation
        if self.offset == START or self.life != batch.life:
            self.life = batch.life if self.offset == START else None
        self.offset, self.closed = batch.offset, batch.closed


def missing(session: str) -> NotFound:
    return NotFound(f"there is no session {session!r} here; session.run(…) or session.append(…) makes it")


# --- where a session is ----------------------------------------------------------------------------------------------


def locate(session: str) -> Steps[tuple[str, Batch] | None]:
    """The path that holds the session's present incarnation and its first page; None if there is none."""
    path = path_of(session)
    first = yield from _first_page(path)
    if first is None or _moved(first):
        target = yield from pointed_at(session)
        if target is None:
            return None
        path = target
        first = yield from _first_page(path)
    return None if first is None else (path, first)


def _first_page(path: str) -> Steps[Batch | None]:
    try:
        return (yield from asked(Read(path)))
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


def open_log(session: str, *, depth: int = 0) -> Steps[Log | None]:
    """Reads the whole session as it is now; None if there is none."""
    found = yield from locate(session)
    if found is None:
        return None
    path, first = found
    return (yield from read_log(session, path, first, depth=depth))


def read_log(session: str, path: str, first: Batch, *, depth: int = 0) -> Steps[Log]:
    """Reads the incarnation at `path` whole, its first page being read already."""
    log = Log(session, path, Origin(session))
    lineage = _lineage_in_front(first)
    if lineage is not None:
        yield from _stitch(log, lineage, depth)
    log.add(first)
    yield from _read_on(log, first)
    return log


def extend(log: Log, *, wait: float | None = None) -> Steps[list[Event]]:
    """Reads what came since; returns the new events. With `wait` (seconds) waits for the first of them."""
    before = log.size
    batch = yield from asked(Read(log.path, log.offset, wait=wait))
    log.add(batch)
    yield from _read_on(log, batch)
    return log.events[before:]


def _read_on(log: Log, batch: Batch) -> Steps[None]:
    while not batch.up_to_date and not batch.closed:
        batch = yield from asked(Read(log.path, log.offset))
        log.add(batch)


def _lineage_in_front(first: Batch) -> Lineage | None:
    """The lineage with which a stitched fork's stream begins: the source holds what comes before it."""
    birth = declared_birth(read_event(first.messages[0], 0)) if first.messages else None
    return birth.lineage if birth is not None and birth.lineage is not None and birth.lineage.count > 0 else None


def _stitch(log: Log, lineage: Lineage, depth: int) -> Steps[None]:
    """Puts what a stitched fork shares with its source in front of it."""
    if depth >= DEEPEST:
        raise too_deep(log.session)
    source = yield from open_log(lineage.source, depth=depth + 1)
    if source is None or source.incarnation != lineage.incarnation:
        # the id was used again; the old incarnation may live on where it was
        first = (yield from _first_page(lineage.path)) if lineage.path is not None else None
        if first is not None and lineage.path is not None:
            source = yield from read_log(lineage.source, lineage.path, first, depth=depth + 1)
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
