"""What is known of every session of a store without reading it again.

One `Entry` a session, folded from its log when it was last seen and kept in memory. A store
says of each stream when it was made and where it ends (`List`): while that stays, so does the
entry. A cache and no more: without it everything is folded anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from agentstream.backends.base import LeaseHeld, List, Listed
from agentstream.errors import AgentStreamError, Locked, StoreError, Unavailable
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Read
from agentstream.sessions import codec, moments
from agentstream.sessions.births import keys_of
from agentstream.sessions.catalog import Summary, status_of
from agentstream.sessions.events import Event
from agentstream.sessions.family import parent_of
from agentstream.sessions.ids import id_of, path_of, pointer_path
from agentstream.sessions.log import Log, locate, missing, read_log
from agentstream.sessions.patience import asked
from agentstream.sessions.prices import Used, used_by
from agentstream.sessions.state import State, fold
from agentstream.sessions.steps import text

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

POINTERS = pointer_path("")
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session is kept: the stream at `listed.path`."""

    id: str
    listed: Listed


@dataclass(frozen=True, slots=True)
class Entry:
    """One session as it was at `listed`.

    `nonce` is the claim's in force, `births` where its incarnations begin, `needs` those whose
    events it shares or whose stream it was forked from, `keys` the ids of those that its events,
    and what they refer to, are sealed with.
    """

    summary: Summary
    listed: Listed
    nonce: str | None = None
    births: tuple[tuple[int, str], ...] = ()
    needs: frozenset[str] = frozenset()
    ttl: float | None = None
    keys: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        return self.summary.id

    @property
    def incarnation(self) -> str:
        return self.births[-1][1] if self.births else ""


class _Kept:
    """The entries of one client, and where its pointers point."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.targets: dict[str, tuple[Any, str | None]] = {}


_kept: weakref.WeakKeyDictionary[Core, _Kept] = weakref.WeakKeyDictionary()


def entries(core: Core, prefix: str = "") -> Steps[list[Entry]]:
    """An entry for each session whose id begins with `prefix`, the last changed first."""
    found: list[Entry] = []
    for place in (yield from places(core, prefix)):
        entry = yield from entry_of(core, place)
        if entry is not None:
            found.append(entry)
    return found


def with_forks(core: Core, session: str) -> Steps[list[Entry]]:
    """The session and all that go on from its history, each after what it goes on from. NotFound."""
    every = yield from entries(core)
    root = next((entry for entry in every if entry.id == session), None)
    if root is None:
        raise missing(session)
    family, rest = [root], [entry for entry in every if entry is not root]
    for known in family:  # grows while it is walked: forks of forks
        family += [entry for entry in rest if known.incarnation in entry.needs and entry not in family]
    # a session before those that inherit its birth
    family[1:] = sorted(family[1:], key=lambda entry: (len(entry.births), entry.id))
    return family


def places(core: Core, prefix: str = "") -> Steps[list[Place]]:
    """Where the sessions are whose id begins with `prefix`, the last changed first.

    Raises AgentStreamError for a backend that cannot list what it keeps.
    """
    if not (core.backend.traits.lists or core.backend.traits.catalogs):
        raise AgentStreamError(f"{core.backend.name} cannot list its sessions; ask for one by its id")
    own = yield from listed(path_of(prefix))
    found = {id_of(entry.path): entry for entry in own if not entry.path.startswith("~")}
    for pointer in (yield from listed(pointer_path(prefix))):
        session = id_of(pointer.path[len(POINTERS) :])
        target = yield from _target(core, session, pointer, found.get(session))
        if target is not None:
            found[session] = target
    _forget(core, found, prefix)
    there = [Place(session, entry) for session, entry in found.items()]
    return sorted(there, key=lambda place: place.listed.updated, reverse=True)


def entry_of(core: Core, place: Place) -> Steps[Entry | None]:
    """The entry of one session: the one kept, while its stream is as it was, else a new one. None if it is gone."""
    kept = _of(core).entries
    entry = kept.get(place.id)
    if entry is None or _stamp(entry.listed) != _stamp(place.listed):
        entry = yield from _fresh(place)
        if entry is None:
            return None
        kept[place.id] = entry
    if entry.summary.status != "running":
        return entry
    alive = entry.nonce is not None and (yield LeaseHeld(entry.listed.path, entry.nonce))
    return entry if alive else replace(entry, summary=structs.replace(entry.summary, status="abandoned"))


def listed(prefix: str) -> Steps[list[Listed]]:
    """Every stream whose path begins with `prefix`."""
    found: list[Listed] = []
    while True:
        page = yield List(prefix, after=found[-1].path if found else "", limit=PAGE)
        found.extend(page)
        if len(page) < PAGE:
            return found


def times_of(events: Iterable[Event]) -> Iterator[datetime]:
    """When the events were written, as far as they say so in a form that can be read."""
    return (moment for event in events if (moment := moments.read(event.timestamp)) is not None)


def at_seconds(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def ttl_of(state: State) -> float | None:
    """The time to live that the session was given, in seconds; None if it has none."""
    ttl = codec.decode(state._session.get("ttl"))
    return float(ttl) if isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and ttl > 0 else None


def forget(core: Core, session: str) -> None:
    """Drops what is kept of a session."""
    _of(core).entries.pop(session, None)


def _of(core: Core) -> _Kept:
    return _kept.setdefault(core, _Kept())


def _forget(core: Core, found: dict[str, Listed], prefix: str) -> None:
    kept = _of(core).entries
    for session in [session for session in list(kept) if session.startswith(prefix) and session not in found]:
        kept.pop(session, None)


def _stamp(entry: Listed) -> tuple[Any, ...]:
    return (entry.path, entry.created, entry.updated, entry.offset, entry.closed)


def _target(core: Core, session: str, pointer: Listed, own: Listed | None) -> Steps[Listed | None]:
    """The stream that holds a session which has a pointer; None if it is gone."""
    targets = _of(core).targets
    stamp = (_stamp(pointer), own and _stamp(own))
    known = targets.get(session)
    if known is None or known[0] != stamp:
        found = yield from locate(session)
        known = targets[session] = (stamp, found[0] if found is not None else None)
    path = known[1]
    if path is None or (own is not None and path == own.path):
        return own
    page = yield List(path, limit=1)
    return page[0] if page and page[0].path == path else None


def _fresh(place: Place) -> Steps[Entry | None]:
    """None for what is no session, or no more."""
    path = place.listed.path
    try:
        log = yield from read_log(place.id, path, (yield from asked(Read(path))))
    except (StreamNotFound, StreamGone):
        return None
    except Unavailable:
        raise
    except StoreError as error:  # one that cannot be read must not hide the others
        created, updated = at_seconds(place.listed.created), at_seconds(place.listed.updated)
        return Entry(Summary(place.id, str(error), "unreadable", None, created, updated, 0), place.listed)
    if not log.incarnation:
        return None
    entry = _made(log, place.listed)
    if entry.summary.status != "erased" and log.encrypted is not None and _told(fold(log)) is None:
        from agentstream.sessions.encryption.vault import is_forgotten  # mostly nothing is encrypted

        if (yield from is_forgotten(log.encrypted)):
            return replace(entry, summary=structs.replace(entry.summary, status="erased"))
    return entry


def _made(log: Log, place: Listed) -> Entry:
    state = fold(log)
    claim = state.claim
    erased = bool(log.births) and log.births[-1][1].erased is not None
    title, agent, tags = (None if erased else _told(state)) or (None, None, ())
    summary = Summary(
        log.session,
        title,
        "erased" if erased else status_of(state),
        _came_from(state),
        _moment(log.events[log.inherited :], at_seconds(place.created)),
        _moment(log.events[:-2:-1], at_seconds(place.updated)),
        log.size,
        agent,
        tags,
        log.closed,
        *_came_of(state),
    )
    births = tuple((index, birth.incarnation) for index, birth in log.count.births)
    nonce = text(claim, "nonce") if claim is not None else None
    needs = {birth.incarnation for _, birth in log.count.births[:-1]}
    needs |= {birth.lineage.incarnation for _, birth in log.count.births if birth.lineage is not None}
    keys = keys_of(birth for _, birth in log.births)
    return Entry(summary, place, nonce, births, frozenset(needs), ttl_of(state), keys)


def _came_from(state: State) -> str | None:
    """The session that it was forked from, or whose run spawned it."""
    if state.lineage is not None:
        return state.lineage.source
    parent = parent_of(state)
    return parent.session if parent is not None else None


def _told(state: State) -> tuple[str | None, str | None, tuple[tuple[str, Any], ...]] | None:
    """Title, agent and tags; None of an encrypted session that cannot be opened here, which is listed all the same."""
    try:
        agent = state.run.agent if state.run is not None else None
        return state.title, agent, tuple(sorted(state.tags.items()))
    except (Locked, StoreError):
        return None


class _Came(msgspec.Struct):
    usage: dict[str, Any] | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Outcome(msgspec.Struct):
    value: _Came


_outcome = msgspec.json.Decoder(_Outcome).decode


def _came_of(state: State) -> tuple[tuple[Used, ...], int]:
    """What the session's calls used, and how many of its steps and runs failed. Their results are not looked at."""
    found: list[_Came] = []
    for event in state.of_type("outcome"):
        with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):  # a stranger's, in another form
            found.append(_outcome(event.raw).value)
    failures = sum(each.error is not msgspec.UNSET for each in found) + len(state.of_type("error"))
    return used_by(each.usage for each in found if each.usage), failures


def _moment(events: Iterable[Event], otherwise: datetime) -> datetime:
    """When the first of the events that says so was written."""
    return next(times_of(events), otherwise)
