"""Reading a session: finding its stream, its pages, and what a fork shares with its source.

A `Log` is what has been read so far of one incarnation. Reading goes on where it stopped
(`extend`), so a log is also the cursor of whoever follows a session.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound, StoreError
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import START, Batch, Read
from agentstream.sessions.events import Event, Page, read_event
from agentstream.sessions.ids import path_of, pointer_path

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

DEEPEST = 64
"""Stitched forks of stitched forks, at most: a guard against lineages that name each other."""


@dataclass(slots=True)
class Log:
    """The events read of one incarnation, in order; `offset` is where reading goes on."""

    session: str
    path: str
    incarnation: str = ""
    events: list[Event] = field(default_factory=list)
    offset: str = START
    closed: bool = False
    lineage: Event | None = None
    stitched: int = 0
    """How many of the first events were read from the source's stream, because this one does not hold them."""

    @property
    def size(self) -> int:
        return len(self.events)

    @property
    def inherited(self) -> int:
        """How many of the first events are shared with the session this one was forked from."""
        return self.lineage.index if self.lineage is not None else 0


def missing(session: str) -> NotFound:
    return NotFound(f"there is no session {session!r} here; session.run(…) or session.append(…) makes it")


def locate(session: str) -> Steps[tuple[str, Batch] | None]:
    """The path that holds the session's present incarnation and its first page; None if there is none."""
    path = path_of(session)
    first = yield from _first_page(path)
    if first is None:
        pointer = yield from _first_page(pointer_path(session))
        while pointer is not None and not pointer.up_to_date:
            pointer = yield Read(pointer_path(session), pointer.offset)
        target = _pointed(pointer)
        if target is None:
            return None
        path = target
        first = yield from _first_page(path)
    return None if first is None else (path, first)


def _first_page(path: str) -> Steps[Batch | None]:
    try:
        return (yield Read(path))
    except (StreamNotFound, StreamGone):
        return None


def _pointed(pointer: Batch | None) -> str | None:
    if pointer is None or not pointer.messages:
        return None
    value = read_event(pointer.messages[-1], 0).value
    path = value.get("path") if isinstance(value, dict) else None
    return path if isinstance(path, str) else None


def open_log(session: str, *, depth: int = 0) -> Steps[Log | None]:
    """Reads the whole session as it is now; None if there is none."""
    found = yield from locate(session)
    if found is None:
        return None
    path, first = found
    return (yield from read_log(session, path, first, depth=depth))


def read_log(session: str, path: str, first: Batch, *, depth: int = 0) -> Steps[Log]:
    """Reads the incarnation at `path` whole, its first page being read already."""
    log = Log(session, path)
    inherited = yield from _stitched_prefix(session, first, depth)
    if inherited is not None:
        log.events.extend(inherited)
        log.stitched = len(inherited)
    add_page(log, first)
    yield from _read_on(log, first)
    return log


def require_log(session: str) -> Steps[Log]:
    """As `open_log`; NotFound if there is no such session."""
    log = yield from open_log(session)
    if log is None:
        raise missing(session)
    return log


def extend(log: Log, *, wait: float | None = None) -> Steps[list[Event]]:
    """Reads what came since; returns the new events. With `wait` (seconds) waits for the first of them."""
    before = log.size
    batch = yield Read(log.path, log.offset, wait=wait)
    add_page(log, batch)
    yield from _read_on(log, batch)
    return log.events[before:]


def _read_on(log: Log, batch: Batch) -> Steps[None]:
    while not batch.up_to_date and not batch.closed:
        batch = yield Read(log.path, log.offset)
        add_page(log, batch)


def add_page(log: Log, batch: Batch) -> None:
    """Takes a page into the log: gives its events their indices and learns incarnation and lineage."""
    page = Page(log.session, log.incarnation, log.offset, batch.offset, 0, len(batch.messages))
    fresh = [read_event(message, log.size + n, page, n) for n, message in enumerate(batch.messages)]
    for event in fresh:
        if event.type == "session" and is_birth(event):
            log.incarnation = event.value["incarnation"]
            log.lineage = event if event.value.get("lineage") else None
    if fresh and log.incarnation != page.incarnation:
        # events before a lineage were read under their source's name; from here on they are this incarnation's
        page = replace(page, incarnation=log.incarnation)
        fresh = [replace(event, _page=page) for event in fresh]
        log.events[:] = [rename(event, log.incarnation) for event in log.events]
    log.events.extend(fresh)
    log.offset, log.closed = batch.offset, batch.closed


def rename(event: Event, incarnation: str) -> Event:
    page = event._page  # pyright: ignore[reportPrivateUsage]
    return replace(event, _page=replace(page, incarnation=incarnation)) if page is not None else event


def is_birth(event: Event) -> bool:
    """Whether this event begins an incarnation: the first of a session, or a fork's lineage in its place."""
    value = event.value
    if not isinstance(value, dict) or not isinstance(value.get("incarnation"), str):
        return False
    lineage = value.get("lineage")
    return event.index == 0 if not lineage else isinstance(lineage, dict) and lineage.get("count") == event.index


def _stitched_prefix(session: str, first: Batch, depth: int) -> Steps[list[Event] | None]:
    """What a stitched fork shares with its source: its stream begins with its lineage, the source holds the rest."""
    lineage = _lineage_in_front(first)
    if lineage is None:
        return None
    if depth >= DEEPEST:
        raise StoreError(f"the lineage of session {session!r} is more than {DEEPEST} forks deep, or goes in a circle")
    source, count = lineage["source"], lineage["count"]
    log = yield from open_log(source, depth=depth + 1)
    if log is None or log.incarnation != lineage["incarnation"]:
        path = lineage.get("path")
        log = (yield from _read_path(source, path, depth + 1)) if isinstance(path, str) else None
    if log is None or log.incarnation != lineage["incarnation"] or log.size < count:
        raise StoreError(
            f"session {session!r} is a stitched fork of {source!r} (incarnation {lineage['incarnation']}), which is gone; "
            "its first events cannot be read. Restore the source, or fork with copy=True next time"
        )
    page = Page(session, "", "", "", 0, 0)
    return [replace(event, _page=page) for event in log.events[:count]]


def _read_path(session: str, path: str, depth: int) -> Steps[Log | None]:
    first = yield from _first_page(path)
    return None if first is None else (yield from read_log(session, path, first, depth=depth))


def _lineage_in_front(first: Batch) -> dict[str, Any] | None:
    if not first.messages:
        return None
    event = read_event(first.messages[0], 0)
    if event.type != "session" or not isinstance(event.value, dict):
        return None
    lineage = event.value.get("lineage")
    whole = isinstance(lineage, dict) and isinstance(lineage.get("source"), str) and isinstance(lineage.get("count"), int)
    return lineage if whole and lineage["count"] > 0 else None
