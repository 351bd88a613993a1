"""Forks: a session that shares another's history up to a cut.

A fork is one PUT whose body is the lineage event. On a backend that forks exactly at any
place nothing is read back. Elsewhere the new stream is read and judged: n events before
the lineage and the server forked; the lineage first and readers stitch the source's events
in front; anything else (a server that ignored the header, an offset it did not mint) is
made again to be stitched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.backends.base import Enlist
from agentstream.errors import SessionExists
from agentstream.protocol.errors import (
    BadReply,
    InvalidRequest,
    ProtocolError,
    StreamConflict,
    StreamGone,
    StreamNotFound,
)
from agentstream.protocol.operations import START, Create, ForkPoint, Head, Read
from agentstream.sessions.births import declared_birth, keys_of
from agentstream.sessions.cuts import At, checked_number, index_in
from agentstream.sessions.events import SCHEMA, Event, StepKey, read_event, write_event
from agentstream.sessions.heirs import note_heir
from agentstream.sessions.ids import checked_id, fresh_id, path_of, spare_path
from agentstream.sessions.large import kept
from agentstream.sessions.log import DEEPEST, Log, locate, missing, too_deep
from agentstream.sessions.naming import find_step, outcome_value
from agentstream.sessions.patience import asked, patiently
from agentstream.sessions.placing import birth_place, discard, place, point_at
from agentstream.sessions.positions import Position
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.redaction import Rules

Substitute = tuple[str, str, dict[str, Any]]
"""Type, key and value of an event that a fork puts in."""


def fork(
    core: Core,
    session: str,
    new_id: str,
    at: At | None = None,
    *,
    replace: Mapping[Any, Any] | None = None,
    copy: bool = False,
    parent: Mapping[str, Any] | None = None,
) -> Steps[None]:
    """Makes `new_id` a session that shares the first events of `session`, up to `at` (its end where None).

    `parent`: what a child's birth says besides (`sessions/family.py`). Raises NotFound if the
    source is not there, SessionExists if `new_id` is, ValueError for a cut that is not in the
    session or an outcome that cannot be replaced.
    """
    checked_id(new_id)
    if replace is not None and not isinstance(replace, Mapping):
        raise TypeError(f"replace= maps steps (a key, an Event) to other outcomes, not {replace!r}")
    if (yield from locate(new_id)) is not None:
        raise exists(new_id)
    log: Log | None = None
    substitutes: list[Substitute] = []
    source = (yield from _known_source(core, session, at)) if not (replace or copy) else None
    if source is None:
        log = yield from core.refresh(session)
        if log is None:
            raise missing(session)
        core.writable(log)
        if replace:
            count, substitutes = replacements(fold(log), at, replace, core.rules)
        else:
            count = index_in(log, at)
        source = _source_in(log, count)
    if log is not None:
        substitutes = yield from _kept(core, log, substitutes)
    incarnation = fresh_id()
    replaced = [key for kind, key, _ in substitutes if kind == "outcome"]
    lineage = _lineage(session, source, replaced, copied=copy)
    birth = {"schema": SCHEMA, "session": new_id, "incarnation": incarnation, "lineage": lineage, **(parent or {})}
    if copy and log is not None and (keys := sorted(keys_of(birth for _, birth in log.births))):
        birth["keys"] = keys
    body = (write_event("session", incarnation, birth), *(write_event(*substitute) for substitute in substitutes))
    try:
        if copy and log is not None:
            body = (*(event.raw for event in log.events[: source.count]), *body)
            # a path whose first event is a life's birth is taken to hold that life: see `_known_source`
            elsewhere = bool(log.count.births) and log.count.births[0][1].session == new_id
            made = yield from place(new_id, incarnation, body, elsewhere=elsewhere)
        elif core.backend.traits.exact_forks:
            made = yield from _share(session, new_id, incarnation, source, body)
        else:
            made = yield from _share_and_judge(session, new_id, incarnation, source, body)
    except (StreamConflict, StreamNotFound, StreamGone):
        raise missing(session) from None  # it was deleted just now: nothing can be shared with it any more
    if not made:
        raise exists(new_id)


def _kept(core: Core, log: Log, substitutes: list[Substitute]) -> Steps[list[Substitute]]:
    done: list[Substitute] = []
    for kind, key, value in substitutes:
        done.append((kind, key, (yield from kept(core.blobs, kind, value, log.births))))
    return done


def free_id(session: str) -> Steps[str]:
    """An id for a fork that no session has now: `<session>-branch`, `<session>-branch-2`, …"""
    name, number = f"{session}-branch", 1
    while (yield from locate(checked_id(name))) is not None:
        number += 1
        name = f"{session}-branch-{number}"
    return name


def exists(session: str) -> SessionExists:
    return SessionExists(f"session {session!r} is already there; fork to another id, or delete it first")


# --- where to cut ----------------------------------------------------------------------------------------------------


class Source(msgspec.Struct, frozen=True):
    """What a fork shares: the first `count` events of an incarnation, which are kept at `path`.

    The first `stitched` of them are not in that stream; `claim` is None where nobody looked.
    """

    path: str
    incarnation: str
    count: int
    claim: int | None = None
    position: Position | None = None
    stitched: int = 0
    depth: int = 0


def _source_in(log: Log, count: int) -> Source:
    claims = [event.claim or 0 for event in log.count.claims if event.index < count]
    claims += [birth.lineage.claim for index, birth in log.count.births if birth.lineage is not None and index < count]
    position = log.events[count - 1].position if count else None
    return Source(log.path, log.incarnation, count, max(claims, default=0), position, log.stitched, log.depth)


def _known_source(core: Core, session: str, at: At | None) -> Steps[Source | None]:
    """What `at` means, told from the session's first event alone; None where the session must be read for it.

    Where the server forks at any place and the id's own path begins with the birth of a life
    of this id, that life is in it: a fork of it could not be there, its source's path being
    taken for as long as it lives. The claims that are shared are found where they stand.
    """
    traits = core.backend.traits
    if at is None or not (traits.exact_forks and traits.skips):
        return None
    path = path_of(session)
    try:
        first = yield from asked(Read(path, START, limit=1))
    except (StreamNotFound, StreamGone):
        return None
    birth = declared_birth(read_event(first.messages[0], 0)) if first.messages else None
    if birth is None or birth.lineage is not None or birth.session != session:
        return None
    if birth.erased is not None or not core.can_write(birth):
        return None  # read, and refused
    position = at.position if isinstance(at, Event) else at if isinstance(at, Position) else None
    if position is None:
        return Source(path, birth.incarnation, checked_number(session, at))
    if position.incarnation != birth.incarnation:
        return None  # read and told apart
    return Source(path, birth.incarnation, position.index, position=position)


def _lineage(session: str, source: Source, replaced: list[str], *, copied: bool) -> dict[str, Any]:
    """What the birth of a fork says of where it comes from."""
    position = source.position
    return {
        "source": session,
        "incarnation": source.incarnation,
        "path": source.path,
        "count": source.count,
        **({"position": {"offset": position.offset, "skip": position.skip}} if position and position.offset else {}),
        **({"claim": source.claim} if source.claim is not None else {}),
        **({"replaced": replaced} if replaced else {}),
        **({"copied": True} if copied else {}),
    }


# --- making it -------------------------------------------------------------------------------------------------------


def _share(session: str, new_id: str, incarnation: str, source: Source, body: tuple[bytes, ...]) -> Steps[bool]:
    """Has the server fork, at any place; what its own stream does not hold is stitched."""
    if source.count < source.stitched:
        return (yield from _stitched(session, new_id, incarnation, source, body))
    point = ForkPoint(source.path, START, source.count - source.stitched)
    try:
        return (yield from place(new_id, incarnation, body, fork=point))
    except InvalidRequest as error:
        raise ValueError(f"session {session!r} cannot be cut at {source.count}: {error}") from error


def _stitched(session: str, new_id: str, incarnation: str, source: Source, body: tuple[bytes, ...]) -> Steps[bool]:
    if source.depth + 1 >= DEEPEST:
        raise too_deep(session)
    yield from asked(Head(source.path))  # refused where the source was deleted: a fork of it could not be read
    return (yield from place(new_id, incarnation, body))


def _share_and_judge(
    session: str, new_id: str, incarnation: str, source: Source, body: tuple[bytes, ...]
) -> Steps[bool]:
    """Has the server fork, looks at what it made, and makes it again to be stitched if that is neither."""
    position = source.position
    yield Enlist(path_of(new_id))
    if position is not None and position.offset and not source.stitched:
        point = ForkPoint(source.path, position.offset, position.skip)
        path, mine = yield from _forked(new_id, incarnation, point, body)
        if path is not None:
            try:
                found = yield from birth_place(path, incarnation)
            except BadReply:  # cut within a message: there are servers that count bytes
                if not mine:
                    raise
                found = None
            if found in (0, source.count):
                if found == 0 and source.count:
                    yield from note_heir(source.path, new_id, incarnation)
                return path == path_of(new_id) or (yield from point_at(new_id, path))
            if not mine and found is None and (yield from asked(Read(path))).messages:
                return False  # somebody else's session, made a moment ago
            yield from discard(path)
    if source.count:
        yield from note_heir(source.path, new_id, incarnation)
    return (yield from _stitched(session, new_id, incarnation, source, body))


def _forked(new_id: str, incarnation: str, point: ForkPoint, body: tuple[bytes, ...]) -> Steps[tuple[str | None, bool]]:
    """Creates the fork by the server's own means, where there is room: the path, and whether it is surely our doing.

    None where the server would not.
    """
    for path in (path_of(new_id), spare_path(incarnation)):
        try:
            created, repeated = yield from patiently(Create(path, body, fork=point))
            return path, created.new and not repeated
        except (StreamConflict, StreamGone):
            continue  # the path is taken, or was
        except ProtocolError:
            break  # a server that does not fork here; readers can stitch on any
    return None, False


# --- other outcomes --------------------------------------------------------------------------------------------------


def replacements(state: State, at: At | None, replace: Mapping[Any, Any], rules: Rules) -> tuple[int, list[Substitute]]:
    """The cut before the earliest replaced outcome, and the events that put the other outcomes in. ValueError."""
    events: list[Substitute] = []
    seen: set[tuple[str, str, int]] = set()
    cut = len(state.events)
    for named, value in replace.items():
        step = find_step(state, named)
        identity = (step.run, step.lane, step.ordinal)
        if step.outcome is None:
            raise ValueError(
                f"step {step.key} of session {state.session!r} has no outcome to replace; "
                "session.resolve(…) gives it one"
            )
        if step.outcome is step.last.start:
            raise ValueError(
                f"step {step.key} of session {state.session!r} is the {step.kind} {step.name!r}, told when it was "
                "over: what it wrote stands in its engine's own record. Cut the fork before it, or replace the "
                "outcome of a step in it"
            )
        if identity in seen:
            raise ValueError(f"replace= names step {step.key} of session {state.session!r} twice")
        seen.add(identity)
        key = str(StepKey(*identity, state.attempts[identity] + 1))
        # its input whole: the cut may be before the items that the recorded one refers to
        start = {**step.last.start.value, "input": step.stored_input}
        typed = bool(step.outcome.value.get("typed"))
        events += [("step", key, start), ("outcome", key, outcome_value(value, step.key, rules, typed=typed))]
        cut = min(cut, step.outcome.index)
    if at is None:
        return cut, events
    index = index_in(state, at)
    if index > cut:
        raise ValueError(
            f"session {state.session!r} cannot be cut at {index} and have an outcome replaced that stands at {cut}; "
            "leave at= out, or cut at or before it"
        )
    return index, events
