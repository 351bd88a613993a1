"""Removing what is old: sessions by age, and what nobody refers to any more.

Age counts from the last change: the last event, or the time when the store took the session
in (an import is young). A clock that jumped is not believed: a time that lies ahead says
nothing, and of the others the latest counts, since events stand in the order they happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agentstream.backends.base import Listed, SweepLeases
from agentstream.errors import AgentStreamError, Locked, SessionBusy, StoreError, Unavailable
from agentstream.protocol.errors import ProtocolError, StreamGone, StreamNotFound
from agentstream.protocol.operations import Delete, Read
from agentstream.sessions import collecting, moments
from agentstream.sessions.births import first_key
from agentstream.sessions.blobs import BLOBS
from agentstream.sessions.claims import Claim, holder_alive, release, win
from agentstream.sessions.encryption.erasing import ruins
from agentstream.sessions.encryption.vault import exists, is_forgotten
from agentstream.sessions.events import read_event
from agentstream.sessions.ids import id_of, spare_path
from agentstream.sessions.labels import seconds_of
from agentstream.sessions.log import Log, locate, read_log
from agentstream.sessions.patience import asked, patiently
from agentstream.sessions.settling import unknown_steps
from agentstream.sessions.snapshots import SNAPSHOTS, session_path, snapshot_path
from agentstream.sessions.state import State, fold
from agentstream.sessions.summaries import POINTERS, Entry, at_seconds, entries, listed, times_of

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

AHEAD = 60.0
"""Seconds that a time may lie ahead of this machine's clock and still be believed."""
LEFT_ALONE = 24 * 3600.0
"""Seconds for which a stream that nobody refers to is left alone: an import may still be putting it together."""
SPARES = spare_path("")


@dataclass(frozen=True, slots=True)
class Removed:
    """A session that was removed, or would be. `bytes` are those of its own events, without what it shares."""

    id: str
    last: datetime
    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A session that is old enough, and why it stays."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did, or would do (`dry_run`).

    `streams` are the library's own that nobody referred to, `leases` how many files dead
    workers had left (0 in a dry run).
    """

    dry_run: bool
    removed: tuple[Removed, ...]
    kept: tuple[Kept, ...]
    streams: tuple[str, ...]
    leases: int

    @property
    def bytes(self) -> int:
        return sum(session.bytes for session in self.removed)


def collect(core: Core, *, older_than: float | timedelta | None, dry_run: bool, keep: Iterable[str]) -> Steps[GcReport]:
    """Removes the sessions whose last change is longer ago than `older_than`, or than their own time to live.

    Never one that waits for a person, is being worked on, has forks that are not removed with
    it, or whose id fits a pattern of `keep`.
    """
    limit = seconds_of(older_than, "older_than") if older_than is not None else None
    patterns = [keep] if isinstance(keep, str) else list(keep)
    if not core.backend.traits.lists:  # what a catalog does not name may need what would be removed
        raise AgentStreamError(f"{core.backend.name} cannot list all it keeps; delete its sessions by their ids")
    every = yield from entries(core)
    now = moments.now().timestamp()
    old = [entry for entry in every if _perhaps_old(entry, limit, now)]
    heirs = Counter(incarnation for entry in every for incarnation in entry.needs)
    removed: list[Removed] = []
    kept: list[Kept] = []
    for entry in sorted(old, key=lambda entry: len(entry.births), reverse=True):  # forks before what they share
        reason = _refusal(entry, patterns, heirs)
        gone = None
        if reason is None:
            gone, reason = yield from _judged(core, entry, limit, now, dry_run)
        if gone is not None:
            removed.append(gone)
            heirs.subtract(entry.needs)
        elif reason is not None:
            kept.append(Kept(entry.id, reason))
    streams = yield from _unreferenced(now)
    streams += yield from ruins(every, lambda stream: _left(stream, now))
    leases = 0
    gone = {entry.listed.path for entry in old if entry.id in {session.id for session in removed}}
    blobs = (yield from collecting.unused(now, LEFT_ALONE, gone)) if dry_run else []
    if not dry_run:
        blobs = yield from collecting.removed(core.blobs, now, LEFT_ALONE)
        for path in streams:
            # asked again: somebody may have made a session of that id meanwhile
            if not path.startswith(POINTERS) or (yield from locate(id_of(path[len(POINTERS) :]))) is None:
                yield from _delete(path)
        leases = yield SweepLeases()
    return GcReport(dry_run, tuple(removed), tuple(kept), (*streams, *(BLOBS + blob for blob in blobs)), leases)


def _perhaps_old(entry: Entry, limit: float | None, now: float) -> bool:
    """Whether the store's own time leaves it open that the session is old enough."""
    lifetime = _lifetime(entry, limit)
    return now - entry.listed.updated > lifetime or entry.listed.updated > now + AHEAD


def _lifetime(entry: Entry, limit: float | None) -> float:
    return entry.ttl or limit or float("inf")


def _refusal(entry: Entry, patterns: list[str], heirs: Counter[str]) -> str | None:
    """Why an old session stays, as far as that is known without reading it."""
    if entry.summary.status == "unreadable":
        return f"it cannot be read: {entry.summary.title}"
    if any(fnmatchcase(entry.id, pattern) for pattern in patterns):
        return "it is to be kept"
    forks = heirs[entry.incarnation]
    if forks:
        return f"{forks} {'forks need' if forks > 1 else 'fork needs'} its events"
    return None


def _judged(
    core: Core, entry: Entry, limit: float | None, now: float, dry_run: bool
) -> Steps[tuple[Removed | None, str | None]]:
    """Reads an old session and removes it; or the reason why not, None where it is not old after all."""
    log = yield from _read(entry)
    if log is None:
        return None, None
    last = _last_change(log, entry.listed, now)
    if now - last.timestamp() <= _lifetime(entry, limit):
        return None, None
    removed = Removed(entry.id, last, log.size, sum(len(event.raw) for event in log.events[log.inherited :]))
    reason = yield from _needed(log)
    if reason is None and not dry_run:
        reason = yield from _remove(core, log)
    return (removed, None) if reason is None else (None, reason)


def _read(entry: Entry) -> Steps[Log | None]:
    try:
        return (yield from read_log(entry.id, entry.listed.path, (yield from asked(Read(entry.listed.path)))))
    except (StreamNotFound, StreamGone):
        return None


def _last_change(log: Log, listed: Listed, now: float) -> datetime:
    """The latest time that can be believed; now, if there is none."""
    latest = at_seconds(now + AHEAD)
    believed = [moment for moment in (at_seconds(listed.updated), *times_of(log.events)) if moment <= latest]
    return max(believed, default=at_seconds(now))


def _needed(log: Log) -> Steps[str | None]:
    """Why a session must stay whatever its age."""
    state = fold(log)
    if (yield from holder_alive(log, state)):
        return "a worker is at it"
    if log.closed:
        return None  # it has come to its end, whatever it waited for: the life before a compaction, mostly
    try:
        return _waits(state)
    except Locked:
        if (yield from is_forgotten(log.encrypted)):
            return None
        return "it is encrypted, and without its key it is not known whether it waits for somebody"


def _waits(state: State) -> str | None:
    if any(run.status == "waiting" for run in state.open_runs):
        return "it waits for a person or a time"
    if unknown_steps(state):
        return "it waits for a person to say what came of a step (session.unresolved())"
    return None


def _remove(core: Core, log: Log) -> Steps[str | None]:
    """Removes the session as its worker, so that nobody begins to work on it meanwhile; or the reason why not."""
    claim: Claim | None = None
    before = log.size
    try:
        if not log.closed:
            claim = yield from win(log)
            if log.size > before + 1:
                return "it was written to just now"
        core.forget(log.session)
        yield from _delete(log.path)
        yield from _delete(snapshot_path(log.path, first_key(log.births)))
    except SessionBusy:
        return "a worker is at it"
    except Unavailable:
        raise
    except AgentStreamError as error:
        return f"it cannot be removed: {error}"
    finally:
        if claim is not None:
            yield from release(claim)
    return None


def _delete(path: str) -> Steps[None]:
    with suppress(StreamNotFound, StreamGone):  # somebody else was faster
        yield from patiently(Delete(path))


def _unreferenced(now: float) -> Steps[list[str]]:
    """Old streams of the library's own that lead nowhere: pointers to what is gone, spare paths never pointed at."""
    found: list[str] = []
    named: set[str] = set()
    for pointer in (yield from listed(POINTERS)):
        try:
            named.update((yield from _named_by(pointer.path)))
            there = yield from locate(id_of(pointer.path[len(POINTERS) :]))
        except (StreamNotFound, StreamGone):
            continue
        except (ProtocolError, StoreError):
            return []  # what cannot be read may point anywhere
        if there is None and _left(pointer, now):
            found.append(pointer.path)
    spares = yield from listed(SPARES)
    found += [spare.path for spare in spares if spare.path not in named and _left(spare, now)]
    return found + (yield from _orphans(now))


def _orphans(now: float) -> Steps[list[str]]:
    """Old snapshots of what is not there any more: somebody may have written one while its session was deleted."""
    found: list[str] = []
    for snapshots in (yield from listed(SNAPSHOTS)):
        if _left(snapshots, now) and not (yield from _exists(session_path(snapshots.path))):
            found.append(snapshots.path)
    return found


def _exists(paths: Iterable[str]) -> Steps[bool]:
    for path in paths:
        if (yield from exists(path)):
            return True
    return False


def _named_by(path: str) -> Steps[set[str]]:
    """Every path that a pointer ever named: an incarnation that another replaced may be kept on purpose."""
    named: set[str] = set()
    batch = yield from asked(Read(path))
    while True:
        for message in batch.messages:
            value = read_event(message, 0).value
            if isinstance(value, dict) and isinstance(value.get("path"), str):
                named.add(value["path"])
        if batch.up_to_date or batch.closed:
            return named
        batch = yield from asked(Read(path, batch.offset))


def _left(entry: Listed, now: float) -> bool:
    return now - entry.updated > LEFT_ALONE
