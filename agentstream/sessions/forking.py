"""Forks: a session that shares another's history up to a cut.

A fork is one PUT whose body is the lineage event. On a backend that forks exactly at any
place nothing is read back. Elsewhere the new stream is read and judged: n events before
the lineage and the server forked; the lineage first and readers stitch the source's events
in front; anything else (a server that ignored the header, an offset it did not mint) is
made again to be stitched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound, SessionExists
from agentstream.protocol.errors import InvalidRequest, ProtocolError, StreamConflict, StreamGone
from agentstream.protocol.operations import START, Create, Delete, ForkPoint, Read
from agentstream.sessions import codec
from agentstream.sessions.events import SCHEMA, Event, StepKey, read_event, write_event
from agentstream.sessions.ids import checked_id, fresh_id, path_of, spare_path
from agentstream.sessions.log import Log, is_birth, locate, missing
from agentstream.sessions.positions import Position
from agentstream.sessions.state import State, Step, fold
from agentstream.sessions.writing import patiently, place, point_at

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

At = int | Event | Position | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a fork leaves its source: `index` events are kept. No offset: only the index is known."""

    path: str
    incarnation: str
    index: int
    offset: str = ""
    skip: int = 0
    claim: int | None = None
    stitched: int = 0


def fork(
    core: Core, session: str, new_id: str, at: At = None, *, replace: Mapping[Any, Any] | None = None, copy: bool = False
) -> Steps[None]:
    """Makes `new_id` a session that shares the first events of `session`, up to `at` (its end where None).

    Raises NotFound if the source is not there, SessionExists if `new_id` is, ValueError for
    a cut that is not in the session or an outcome that cannot be replaced.
    """
    checked_id(new_id)
    if (yield from locate(new_id)) is not None:
        raise exists(new_id)
    substitutes: list[tuple[str, str, dict[str, Any]]] = []
    if replace or copy:
        log = yield from core.require(session)
        if replace:
            at, substitutes = _replacements(fold(log), at, replace)
        cut = _cut_in(log, at)
    else:
        log = None
        cut = yield from find_cut(core, session, at)
    incarnation = fresh_id()
    lineage = {
        "source": session,
        "incarnation": cut.incarnation,
        "path": cut.path,
        "count": cut.index,
        **({"position": {"offset": cut.offset, "skip": cut.skip}} if cut.offset else {}),
        **({"claim": cut.claim} if cut.claim is not None else {}),
        **({"replaced": [key for _, key, _ in substitutes]} if substitutes else {}),
        **({"copied": True} if copy else {}),
    }
    birth = write_event("session", incarnation, {"schema": SCHEMA, "incarnation": incarnation, "lineage": lineage})
    body = (birth, *(write_event(*substitute) for substitute in substitutes))
    if copy and log is not None:
        yield from place(new_id, incarnation, (*(event.raw for event in log.events[: cut.index]), *body))
    else:
        yield from _share(core, new_id, incarnation, cut, body)


def exists(session: str) -> SessionExists:
    return SessionExists(f"session {session!r} is already there; fork to another id, or delete it first")


# --- where to cut ----------------------------------------------------------------------------------------------------


def find_cut(core: Core, session: str, at: At) -> Steps[Cut]:
    """The cut that `at` means in `session`: without reading the session where the backend and `at` allow it."""
    if core.backend.traits.skips and at is not None:
        quick = yield from _quick_cut(core, session, at)
        if quick is not None:
            return quick
    log = yield from core.require(session)
    return _cut_in(log, at)


def _quick_cut(core: Core, session: str, at: int | Event | Position) -> Steps[Cut | None]:
    known = core.last_read(session)
    if known is not None and not (yield from core.still(known)):
        known = None
    if known is None:
        found = yield from _first_event(session)
        if found is None:
            raise missing(session)
        path, event = found
        if not is_birth(event) or event.value.get("lineage"):
            return None
        incarnation = event.value["incarnation"]
    else:
        path, incarnation = known.path, known.incarnation
    if isinstance(at, int):
        checked_index(session, at)
        return Cut(path, incarnation, at, START, at) if known is None or not known.stitched else None
    position = at.position if isinstance(at, Event) else at
    if position.session != session or position.incarnation != incarnation or not position.offset:
        return None
    return Cut(path, incarnation, position.index, position.offset, position.skip)


def _first_event(session: str) -> Steps[tuple[str, Event] | None]:
    path = path_of(session)
    try:
        batch = yield Read(path, START, limit=1)
    except ProtocolError:
        found = yield from locate(session)
        if found is None:
            return None
        path, batch = found
    return (path, read_event(batch.messages[0], 0)) if batch.messages else None


def checked_index(session: str, at: object) -> int:
    if isinstance(at, bool) or not isinstance(at, int):
        raise TypeError(f"at= is a number of events, an Event or a Position, not {at!r}")
    if at < 0:
        raise ValueError(f"session {session!r} cannot be cut at {at}: at= counts the events that are kept, from 0")
    return at


def index_in(log: Log, at: At) -> int:
    """The index that `at` means in this log; ValueError if it is not of this session's history."""
    if at is None:
        return log.size
    if isinstance(at, Event):
        position = at.position
        index = at.index + 1
        if not position.session:
            position = None
    elif isinstance(at, Position):
        position, index = at, at.index
    else:
        position, index = None, checked_index(log.session, at)
    if position is not None and position.incarnation != log.incarnation:
        index = _common_index(log, position)
    if index > log.size:
        raise ValueError(f"session {log.session!r} has {log.size} events; it cannot be cut at {index}")
    return index


def _common_index(log: Log, position: Position) -> int:
    """The index of another incarnation's position, if this session shares its history that far."""
    limit = log.size
    for event in reversed(log.events):
        if event.type != "session" or not is_birth(event):
            continue
        lineage = event.value.get("lineage")
        limit = min(limit, event.index)
        shares = lineage["incarnation"] == position.incarnation if lineage else event.value["incarnation"] == position.incarnation
        if shares and lineage and position.index <= limit:
            return position.index
    raise ValueError(
        f"position {position} is not in the history of session {log.session!r}: it is of incarnation "
        f"{position.incarnation or '?'} of {position.session!r}, and what they share, if anything, ends before it"
    )


def _cut_in(log: Log, at: At) -> Cut:
    index = index_in(log, at)
    claims = [event.claim for event in log.events[:index] if event.type == "claim" and event.claim is not None]
    claims += [
        int(event.value["lineage"].get("claim") or 0)
        for event in log.events[:index]
        if event.type == "session" and is_birth(event) and event.value.get("lineage")
    ]
    offset, skip = START, index - log.stitched
    if 0 < index <= log.size and index > log.stitched:
        position = log.events[index - 1].position
        offset, skip = position.offset, position.skip
    return Cut(log.path, log.incarnation, index, offset if skip >= 0 else "", max(skip, 0), max(claims, default=0), log.stitched)


# --- making it -------------------------------------------------------------------------------------------------------


def _share(core: Core, new_id: str, incarnation: str, cut: Cut, body: tuple[bytes, ...]) -> Steps[None]:
    """Creates the fork on the server if it can be, stitched if not."""
    if not core.backend.traits.exact_forks:
        yield from _share_and_judge(new_id, incarnation, cut, body)
        return
    point = ForkPoint(cut.path, cut.offset or START, cut.skip)
    try:
        created = yield Create(path_of(new_id), body, fork=point)
    except InvalidRequest as error:
        raise ValueError(f"the session cannot be cut at {cut.index}: {error}") from error
    except (StreamConflict, StreamGone):
        if (yield from locate(new_id)) is not None:
            raise exists(new_id) from None
        spare = spare_path(incarnation)
        created = yield Create(spare, body, fork=point)
        yield from point_at(new_id, spare)
    if not created.new:
        raise exists(new_id)


def _share_and_judge(new_id: str, incarnation: str, cut: Cut, body: tuple[bytes, ...]) -> Steps[None]:
    path = path_of(new_id)
    if cut.offset and not cut.stitched:
        try:
            yield from patiently(Create(path, body, fork=ForkPoint(cut.path, cut.offset, cut.skip)))
            if (yield from _judged_good(path, incarnation, cut.index)):
                return
            yield Delete(path)
        except ProtocolError:
            pass  # a server that does not fork here; readers can stitch on any
    if (yield from locate(new_id)) is not None:
        raise exists(new_id)
    yield from place(new_id, incarnation, body)


def _judged_good(path: str, incarnation: str, count: int) -> Steps[bool]:
    seen, batch = 0, (yield Read(path))
    while True:
        for message in batch.messages:
            event = read_event(message, seen)
            if event.type == "session" and event.key == incarnation:
                return seen in (0, count)
            seen += 1
        if batch.up_to_date or batch.closed:
            return False
        batch = yield Read(path, batch.offset)


# --- other outcomes --------------------------------------------------------------------------------------------------


def _replacements(
    state: State, at: At, replace: Mapping[Any, Any]
) -> tuple[int, list[tuple[str, str, dict[str, Any]]]]:
    """The cut before the earliest replaced outcome, and the events that put the other outcomes in."""
    events: list[tuple[str, str, dict[str, Any]]] = []
    cut: int | None = None
    for named, value in replace.items():
        step = find_step(state, named)
        if step.outcome is None:
            raise ValueError(
                f"step {step.key} of session {state.session!r} has no outcome to replace; session.resolve(…) gives it one"
            )
        identity = (step.run, step.lane, step.ordinal)
        key = str(StepKey(*identity, state.attempts[identity] + 1))
        start = {name: part for name, part in step.last.start.value.items() if name != "claim"}
        events += [("step", key, start), ("outcome", key, outcome_value(value, step.key))]
        cut = step.outcome.index if cut is None else min(cut, step.outcome.index)
    assert cut is not None
    if at is None:
        return cut, events
    index = at.index + 1 if isinstance(at, Event) else at.index if isinstance(at, Position) else checked_index(state.session, at)
    if index > cut:
        raise ValueError(
            f"session {state.session!r} cannot be cut at {index} and have an outcome replaced that stands at {cut}; "
            "leave at= out, or cut at or before it"
        )
    return index, events


def outcome_value(value: Any, step: str) -> dict[str, Any]:
    """The stored outcome for a value that somebody gives a step; an exception is an error outcome."""
    if isinstance(value, Exception):
        return {"error": {"name": type(value).__name__, "text": str(value)}}
    encoded = codec.encode(value, where=f"outcome of step {step}")
    return {"result": encoded.data, **({"typed": True} if encoded.typed else {})}


def find_step(state: State, named: Any) -> Step:
    """The step that a key (with or without `#attempt`), an Event of it, or a Step names; NotFound or ValueError."""
    if isinstance(named, Event):
        if named.type not in ("step", "outcome"):
            raise ValueError(f"event {named.index} of session {state.session!r} is a {named.type!r}, not a step or its outcome")
        named = named.key
    if isinstance(named, Step):
        named = named.key
    key = StepKey.parse(named) if isinstance(named, str) else None
    if key is None:
        raise ValueError(f"{named!r} names no step: give its key (<run>/<lane>/<ordinal>), or its step or outcome Event")
    found = next((step for step in state.steps if (step.run, step.lane, step.ordinal) == key.identity), None)
    if found is None:
        raise NotFound(f"session {state.session!r} has no step {named!r}; session.state().steps lists them")
    if key.attempt and key.attempt != found.attempt:
        raise ValueError(
            f"step {named!r} of session {state.session!r} is not the last attempt; that is {found.key!r}"
        )
    return found
