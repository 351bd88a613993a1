"""Claims: how one worker takes a session, and how everyone else learns of it.

A claim is one append: the highest number in the log plus one, at sequence 0 of the worker
producer, with a nonce. It is won if the first claim of that number, read back, carries the
nonce; so two that try at once are told apart by the log, whatever the server did. A lease
is held under the nonce from before the append until the worker ends. It never fences: it
only tells others that the holder lives (`SessionBusy`), so that nobody takes a session from
a living worker without saying `take_over`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.backends.base import DropLease, LeaseHeld, TakeLease
from agentstream.errors import Fenced, SessionBusy
from agentstream.protocol.errors import (
    InvalidRequest,
    SequenceGap,
    StaleEpoch,
    StreamClosed,
    StreamGone,
    StreamNotFound,
)
from agentstream.protocol.operations import Append, Producer
from agentstream.sessions.events import write_event
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.log import Log, extend, missing
from agentstream.sessions.patience import patiently
from agentstream.sessions.state import State, fold
from agentstream.sessions.steps import text
from agentstream.sessions.writing import sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

WORKER = "worker"
"""The producer id under which every worker of a session writes; its epoch is the claim number."""

FENCING = (StaleEpoch, SequenceGap, InvalidRequest, StreamClosed, StreamNotFound, StreamGone)
"""Refusals of a worker's append that mean that it is not the worker any more (DESIGN, guarantee 3)."""

TRIES = 20
"""Claims tried in a row against others that win each time, before giving up as busy."""


class Claim(msgspec.Struct, frozen=True):
    """A claim that was won. `state` folds all that stood in the log before it counted."""

    path: str
    number: int
    nonce: str
    index: int

    def producer(self, seq: int) -> Producer:
        return Producer(WORKER, self.number, seq)


def holder_alive(log: Log, state: State) -> Steps[bool]:
    """Whether the worker of the claim in force is alive."""
    if state.claim is None:
        return False
    return bool((yield LeaseHeld(log.path, text(state.claim, "nonce"))))


def win(
    log: Log, *, run: str | None = None, take_over: bool = False, said: Mapping[str, Any] | None = None
) -> Steps[Claim]:
    """Takes the session; `log` is read up to the claim. The caller drops the lease (`release`) when it is done.

    `said`: what the claim says besides, for readers who know what it means. Raises SessionBusy while another living
    worker holds it, unless `take_over`.
    """
    floor = 0
    for _ in range(TRIES):
        state = fold(log)
        if not take_over and (yield from holder_alive(log, state)):
            raise busy(log.session)
        tried = yield from _try(log, max(state.highest_claim, floor) + 1, run, said)
        if isinstance(tried, Claim):
            return tried
        floor = tried
    raise busy(log.session)


def busy(session: str) -> SessionBusy:
    return SessionBusy(
        f"session {session!r} is being worked on by a living worker. Wait for it, follow it with session.follow(), "
        "or take it over with session.with_options(take_over=True)"
    )


def _try(log: Log, number: int, run: str | None, said: Mapping[str, Any] | None) -> Steps[Claim | int]:
    """One claim: what was won, or the number that the next one must be above."""
    nonce = fresh_id()
    value = {"nonce": nonce, **({"run": run} if run is not None else {}), **(said or {})}
    message = write_event("claim", f"{number}.{nonce}", value, claim=number)
    before, floor = log.size, 0
    yield TakeLease(log.path, nonce)
    won: Claim | None = None
    try:
        try:
            yield from patiently(Append(log.path, (message,), producer=Producer(WORKER, number, 0)))
        except StaleEpoch as stale:
            floor = stale.epoch  # the server saw a number that the log may have lost
        except (SequenceGap, InvalidRequest):
            pass  # somebody claimed this number or a higher one; the log says who
        except StreamClosed:
            raise sealed(log.session) from None
        except (StreamNotFound, StreamGone):
            raise missing(log.session) from None
        yield from extend(log)
        first = next((e for e in log.events[before:] if e.type == "claim" and (e.claim or 0) >= number), None)
        if first is not None and first.claim == number and first.value.get("nonce") == nonce:
            won = Claim(log.path, number, nonce, first.index)
    finally:
        if won is None:
            yield DropLease(log.path, nonce)
    return won or floor


def release(claim: Claim) -> Steps[None]:
    """Lets go of the lease; the claim stays in force in the log until the next one."""
    yield DropLease(claim.path, claim.nonce)


def under_claim(
    core: Core,
    session: str,
    build: Callable[[State], list[dict[str, Any]] | None],
    *,
    take_over: bool = False,
    close: bool = False,
) -> Steps[State | None]:
    """Does something to a session as its worker for one append: `build` gives the events, or None for nothing to do.

    `build` is asked before the claim (so that nothing is claimed in vain) and again under
    it, with what came in between. Returns the state that the events were built on.
    """
    log = yield from core.require(session)
    core.writable(log)
    if build(fold(log)) is None:
        return None
    claim = yield from win(log, take_over=take_over)
    try:
        state = fold(log)
        events = build(state)
        if events is None:
            return None
        messages = tuple(write_event(**event, claim=claim.number) for event in events)
        try:
            done, repeated = yield from patiently(Append(log.path, messages, producer=claim.producer(1), close=close))
        except FENCING as error:
            raise fenced(session, claim, error) from error
        if done.duplicate and not repeated:
            raise fenced(session, claim)  # somebody else wrote under our number
        return state
    finally:
        yield from release(claim)


def fenced(session: str, claim: Claim, cause: BaseException | None = None) -> Fenced:
    if isinstance(cause, (StreamNotFound, StreamGone)):
        return Fenced(f"session {session!r} was deleted while this worker was at it; nothing more is recorded")
    if isinstance(cause, StreamClosed) or (isinstance(cause, StaleEpoch) and cause.closed):
        what, why = "was sealed", ""
    else:
        what, why = "was taken over by another worker", f" ({cause})" if cause is not None else ""
    return Fenced(
        f"session {session!r} {what} after claim {claim.number}{why}; "
        "what this worker did since does not count. Read the session to see how it went on"
    )
