"""Writing to a session from outside a run, and making one.

What a worker writes goes through its claim (`agentstream.sessions.claims`); here is what
anyone may do: make a session, and append an event that needs no claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.errors import AgentStreamError, StoreError
from agentstream.protocol.errors import (
    ProtocolError,
    SequenceGap,
    StaleEpoch,
    StreamClosed,
    StreamGone,
    StreamNotFound,
)
from agentstream.protocol.operations import Append
from agentstream.sessions.events import OWN_TYPES, SCHEMA, UNCLAIMED_TYPES, Event, handed_out, user_value, write_event
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.large import kept
from agentstream.sessions.log import Log, missing
from agentstream.sessions.patience import RETRIES, patiently
from agentstream.sessions.placing import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

__all__ = ["RETRIES", "append", "check_appendable", "open_or_create", "sealed"]

PRODUCERS = 5
"""Producers tried for one append: a server that lost what it knew of one refuses it, surely not one after the other."""


def sealed(session: str) -> AgentStreamError:
    return AgentStreamError(f"session {session!r} is sealed: nothing can be appended any more. Fork it to go on")


def open_or_create(core: Core, session: str) -> Steps[Log]:
    """The session's log, the caller's own; makes the session where there is none."""
    log = yield from core.open(session)
    if log is None:
        yield from create(session)
        log = yield from core.require(session)
    core.writable(log)
    return log


def refresh_or_create(core: Core, session: str) -> Steps[Log]:
    """The session's log as it is now, which others read too; makes the session where there is none."""
    log = yield from core.refresh(session)
    if log is None:
        yield from create(session)
        log = yield from core.refresh(session)
    if log is None:
        raise missing(session)
    core.writable(log)
    return log


def create(session: str, *, parent: Mapping[str, Any] | None = None) -> Steps[None]:
    """Makes the session. Of two that make it at once one does; it is then there for both.

    `parent`: what a child's birth says besides (`sessions/family.py`).
    """
    incarnation = fresh_id()
    birth = {"schema": SCHEMA, "session": session, "incarnation": incarnation, **(parent or {})}
    yield from place(session, incarnation, (write_event("session", incarnation, birth),))


def append(core: Core, session: str, kind: str, value: Any, key: str | None = None) -> Steps[Event]:
    """Appends one event that needs no claim, and returns it as it stands in the log.

    Raises ValueError for a type that only a worker may write, NotSerializable for a value
    that has no JSON form, AgentStreamError if the session is sealed.
    """
    check_appendable(kind, key)
    key = key or fresh_id()
    stored = core.rules.event(kind, user_value(kind, value))
    log = yield from refresh_or_create(core, session)
    stored = yield from kept(core.blobs, kind, stored, log.births)
    yield from append_unclaimed(core, session, log.path, (write_event(kind, key, stored),))
    return (yield from read_back(core, session, kind, key))


def read_back(core: Core, session: str, kind: str, key: str) -> Steps[Event]:
    """The event of this type and key that was appended just now."""
    event = yield from core.find(session, kind, key)
    if event is None:
        raise AgentStreamError(
            f"session {session!r}: an event appended just now cannot be read back, the session was deleted meanwhile; "
            "append it again"
        )
    return handed_out(event)


def check_appendable(kind: str, key: str | None) -> None:
    if not isinstance(kind, str) or not kind:
        raise ValueError(f"an event's type is a name, not {kind!r}")
    if kind in OWN_TYPES and kind not in UNCLAIMED_TYPES:
        raise ValueError(
            f"{kind!r} events are written by the library itself; append one of {', '.join(sorted(UNCLAIMED_TYPES))}, "
            "or a type of your own"
        )
    if key is not None and (not isinstance(key, str) or not key):
        raise ValueError(f"an event's key is a text that is not empty, not {key!r}")
    for text in (kind, key or ""):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{text!r} has half a surrogate pair; an event's type and key are Unicode text") from None


def append_unclaimed(core: Core, session: str, path: str, messages: tuple[bytes, ...]) -> Steps[None]:
    """One append under a producer of this client's, so that a lost answer can be asked for again."""
    for _ in range(PRODUCERS):
        producer = core.take_producer(path)
        try:
            result, repeated = yield from patiently(Append(path, messages, producer=producer))
        except StreamClosed:
            raise sealed(session) from None
        except (StreamNotFound, StreamGone):
            raise missing(session) from None
        except (SequenceGap, StaleEpoch):
            continue  # the server lost what it knew of the producer; at worst the event's key is there twice
        except ProtocolError as error:
            raise AgentStreamError(f"session {session!r}: the append was refused: {error}") from error
        if result.duplicate and not repeated:
            continue  # the producer is somebody else's too (a process copied with its memory)
        core.give_back(path, producer)
        return
    raise StoreError(f"session {session!r}: the store refuses every producer of an append. Try again")
