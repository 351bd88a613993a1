"""Writing snapshots: by whoever opened a long session or wrote much into it, in the background.

Nobody waits for it, and a failure is nothing: the next one tries again.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from agentstream.backends.threads import at_work
from agentstream.errors import AgentStreamError
from agentstream.protocol.errors import ProtocolError, StreamGone, StreamNotFound
from agentstream.protocol.operations import Append, Create, Delete
from agentstream.sessions.counting import REWOUND, rewound_to
from agentstream.sessions.events import Event
from agentstream.sessions.history import Head, Mark, Names, Span, name_hash, root_of
from agentstream.sessions.items import count_of, parse_range
from agentstream.sessions.log import Log, Saved
from agentstream.sessions.snapshots import (
    BYTES,
    EVERY,
    Live,
    Record,
    digest,
    key_of,
    snapshot_path,
    write_record,
)
from agentstream.sessions.state import Run, State, fold, holds_items
from agentstream.sessions.steps import text

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

CHUNK = 1 << 16
"""Events that one record tells of, at most: it is then under a megabyte."""

LONGEST = 24
"""Records in a row before all are written as one or few: each is looked through for each key that comes."""

SPARE = 4
"""How many times what is needed the stream of snapshots may hold before it is written anew."""

LONGEST_WAIT = 5.0
"""Seconds that closing a client waits for a snapshot that is being written."""


class Saver:
    """Writes the snapshots of one client, one at a time, on a thread of its own while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[str, Callable[[], object]] = {}
        self._thread: threading.Thread | None = None

    def soon(self, session: str, save: Callable[[], object]) -> None:
        """Has a session's snapshot written; one that is due already is the same."""
        with self._lock:
            self._due[session] = save
            if not at_work(self._thread):
                self._thread = threading.Thread(target=self._work, name="agentstream-snapshots", daemon=True)
                self._thread.start()

    def finish(self, seconds: float = LONGEST_WAIT) -> None:
        """Returns when all is written, or the time is up."""
        thread = self._thread
        if thread is not None and at_work(thread) and thread is not threading.current_thread():
            thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._due:
                    self._thread = None
                    return
                _, save = self._due.popitem()
            try:
                save()
            except Exception:  # a store that went away, a session deleted meanwhile: there is no snapshot, no more
                continue


def save(core: Core, session: str) -> Steps[bool]:
    """Writes a snapshot of a session as it is now, if it is due; whether one was written."""
    log = yield from core.refreshed(session)
    if log is None or log.unsaved < EVERY:
        return False
    log = core.own(log)
    try:
        saved = yield from write(log)
    except (ProtocolError, AgentStreamError):
        return False
    if saved is not None:
        core.saved(session, log.incarnation, saved)
    return saved is not None


def write(log: Log) -> Steps[Saved | None]:
    """Writes a snapshot of a log; None where there can be none, or somebody else was faster."""
    state = fold(log)
    named, key = key_of(event for event in state.of_type("session"))
    if not named or log.size == 0:
        return None
    path = snapshot_path(log.path, key)
    live, saved = _live(log, state), log.saved
    if saved is not None and not _rewound_below(log, saved.size):
        record = _record(log, saved.size, log.size, saved.crc, live)
        block, crc = write_record(record)
        if saved.records < LONGEST and saved.bytes + len(block) <= SPARE * (16 * log.size + len(block)):
            try:
                yield Append(path, (block,), content_type=BYTES)
                return Saved(log.size, crc, saved.bytes + len(block), saved.records + 1)
            except (StreamNotFound, StreamGone):
                pass
    blocks: list[bytes] = []
    crc = 0
    for start in range(0, log.size, CHUNK):
        stop = min(start + CHUNK, log.size)
        block, crc = write_record(_record(log, start, stop, crc, live if stop == log.size else None))
        blocks.append(block)
    create = Create(path, tuple(blocks), content_type=BYTES)
    if not (yield create).new:
        yield Delete(path)
        if not (yield create).new:
            return None
    return Saved(log.size, crc, sum(map(len, blocks)), len(blocks))


def _rewound_below(log: Log, size: int) -> bool:
    """Whether what a snapshot of the first `size` events says of their marks is not so any more."""
    after = log.count.events[max(0, size - log.count.base) :]
    return any(event.type == "rewind" and event.mark in (None, REWOUND) and rewound_to(event) < size for event in after)


# --- what a record says ----------------------------------------------------------------------------------------------


def _record(log: Log, start: int, stop: int, before: int, live: Live | None) -> Record:
    """What is to be told of the events between two indexes: by what told it before, and by the events themselves."""
    head, base = log.head, log.count.base
    names: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    roots = set[int]()
    marks: list[Mark] = []
    spans: list[Span] = []
    if head is not None and start < base:
        names += _between(head.names, start, stop)
        others += _between(head.others, start, stop)
        marks += _clipped(head.marks, start, min(stop, base))
        spans += [span for span in head.spans if start <= span[0] < stop]
        if start == 0:
            roots |= head.roots
    events = log.count.events[max(0, start - base) : max(0, stop - base)]
    for event in events:
        name = name_hash(event.type, event.key)
        if event.mark is not None:
            others.append((name, event.index))
        elif event.operation == "insert":
            names.append((name, event.index))
        root = _root(event)
        if root is not None:
            roots.add(name_hash("~root", root))
        if event.type in ("status", "error") or (event.type == "outcome" and "/" not in event.key):
            roots.add(name_hash("~end", text(event, "run") if event.type == "error" else event.key))
        if holds_items(event):
            claim, first, _ = parse_range(event.key)
            spans.append((event.index, claim, first, count_of(event.value["items"]) or 0))
    marks += _marks(events)
    return Record(
        start,
        stop,
        before,
        *_sorted(names, start),
        *_sorted(others, start),
        marks,
        spans,
        array("Q", sorted(roots)).tobytes(),
        live,
    )


def _between(names: Names, start: int, stop: int) -> Iterator[tuple[int, int]]:
    return (named for part in names.parts for named in part if start <= named[1] < stop)


def _sorted(named: list[tuple[int, int]], start: int) -> tuple[bytes, bytes]:
    named.sort()
    hashes = array("Q", (name for name, _ in named))
    return hashes.tobytes(), array("I", (index - start for _, index in named)).tobytes()


def _clipped(marks: list[Mark], start: int, stop: int) -> Iterator[Mark]:
    for first, count, mark in marks:
        low, high = max(first, start), min(first + count, stop)
        if low < high:
            yield low, high - low, mark


def _marks(events: Sequence[Event]) -> Iterator[Mark]:
    last: Mark | None = None
    for event in events:
        if event.mark is None:
            continue
        if last is not None and last[0] + last[1] == event.index and last[2] == event.mark:
            last = (last[0], last[1] + 1, last[2])
            continue
        if last is not None:
            yield last
        last = (event.index, 1, event.mark)
    if last is not None:
        yield last


OF_RUNS = frozenset(("run", "status", "step", "outcome", "question", "claim", "error"))
"""Types of events that belong to a run, by their key or by what they say."""


def _root(event: Event) -> str | None:
    """The run that an event belongs to, or the one that that was called by first."""
    if event.type not in OF_RUNS:
        return None
    key = text(event, "run") if event.type in ("claim", "error") else event.key
    return root_of(key) if key else None


def _live(log: Log, state: State) -> Live:
    last = state.run
    runs = {run.key: run for run in [*state.open_runs, *([last] if last is not None else [])]}
    kept = {event.index: event for event in state.of_type("session")}
    kept |= {event.index: event for event in (*_last_of(state, "claim"), *_last_of(state, "rewind"))}
    for run in runs.values():
        told = (run.start, run.outcome, state.find("status", run.key), _error_of(state, run))
        kept |= {event.index: event for event in told if event is not None}
    return Live(
        log.session,
        log.incarnation,
        log.offset,
        digest(log.events[-1].raw),
        log.stitched,
        log.depth,
        log.count.highest,
        log.count.held,
        sorted(log.count.replaced),
        [(index, kept[index].raw) for index in sorted(kept)],
        _firsts(log, {root_of(run) for run in runs}),
        state.usage,
    )


def _error_of(state: State, run: Run) -> Event | None:
    """The event that says what a run failed with last."""
    if run.error is None:
        return None
    for place in (state._near, state):
        found = [e for e in place.of_type("error", start=place.first_of(run.key)) if text(e, "run") == run.key]
        if found:
            return found[-1]
    return None


def _last_of(state: State, kind: str) -> list[Event]:
    return state._near.of_type(kind)[-1:]


def _firsts(log: Log, roots: set[str]) -> dict[str, int]:
    """Where the first event of each of some runs stands, and the claim that it was written under."""
    head: Head | None = log.head
    found: dict[str, int] = {}
    for root in roots:
        first = head.first_of(root) if head is not None else log.size
        if head is not None and first < head.size:
            found[root] = first
    claimed = 0
    for event in log.count.events:
        if event.type == "claim" and event.mark is None:
            claimed = event.index
        root = _root(event)
        if root is not None and root in roots:
            found.setdefault(root, min(event.index, claimed or event.index))
    return found
