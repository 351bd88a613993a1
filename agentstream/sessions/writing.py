"""Writing to a session from outside a run, and beginning one.

What a worker writes goes through its claim (`agentstream.sessions.claims`); here is what
anyone may do: make a session, and append an event that needs no claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.errors import AgentStreamError, Unavailable
from agentstream.backends.driving import Sleep
from agentstream.protocol.errors import StaleEpoch, StreamClosed, StreamConflict, StreamGone, StreamNotFound
from agentstream.protocol.operations import Append, Create, Producer
from agentstream.sessions.events import OWN_TYPES, SCHEMA, UNCLAIMED_TYPES, Event, user_value, write_event
from agentstream.sessions.ids import fresh_id, path_of, pointer_path, spare_path
from agentstream.sessions.log import Log, extend, missing

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

RETRIES = (0.01, 0.03, 0.1)
"""Seconds to wait before each further try of an operation that got no answer."""


def patiently(operation: Any) -> Steps[Any]:
    """Executes an operation that is safe to repeat, again after each lost answer; returns (result, was repeated)."""
    for pause in RETRIES:
        try:
            return (yield operation), pause is not RETRIES[0]
        except Unavailable:
            yield Sleep(pause)
    return (yield operation), True


def sealed(session: str) -> AgentStreamError:
    return AgentStreamError(f"session {session!r} is sealed: nothing can be appended any more. Fork it to go on")


def open_or_create(core: Core, session: str) -> Steps[Log]:
    """The session's log; makes the session where there is none."""
    log = yield from core.open(session)
    if log is None:
        incarnation = fresh_id()
        birth = write_event("session", incarnation, {"schema": SCHEMA, "incarnation": incarnation})
        yield from place(session, incarnation, (birth,))
        log = yield from core.require(session)
    return log


def place(session: str, incarnation: str, body: tuple[bytes, ...]) -> Steps[str]:
    """Puts a new incarnation where it can live: at the id's own path, or at a spare one that is then pointed at."""
    path = path_of(session)
    try:
        yield from patiently(Create(path, body))
        return path
    except (StreamConflict, StreamGone):
        spare = spare_path(incarnation)
    yield from patiently(Create(spare, body))
    yield from point_at(session, spare)
    return spare


def point_at(session: str, path: str) -> Steps[None]:
    """Makes `path` the one that holds the session's present incarnation."""
    pointer = write_event("session", fresh_id(), {"path": path})
    (created, _) = yield from patiently(Create(pointer_path(session), (pointer,)))
    if not created.new:
        yield from patiently(Append(pointer_path(session), (pointer,), producer=Producer(fresh_id(), 0, 0)))


def append(core: Core, session: str, kind: str, value: Any, key: str | None = None) -> Steps[Event]:
    """Appends one event that needs no claim, and returns it as it stands in the log.

    Raises ValueError for a type that only a worker may write, NotSerializable for a value
    that has no JSON form, AgentStreamError if the session is sealed.
    """
    check_appendable(kind, key)
    key = key or fresh_id()
    message = write_event(kind, key, user_value(kind, value))
    log = yield from open_or_create(core, session)
    yield from append_unclaimed(log, (message,))
    return (yield from find_written(core, log, message))


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


def append_unclaimed(log: Log, messages: tuple[bytes, ...]) -> Steps[None]:
    """One append under a producer of its own, so that a lost answer can be asked for again."""
    try:
        yield from patiently(Append(log.path, messages, producer=Producer(fresh_id(), 0, 0)))
    except StreamClosed:
        raise sealed(log.session) from None
    except StaleEpoch as error:
        raise AgentStreamError(f"session {log.session!r}: the append was refused: {error}") from error
    except (StreamNotFound, StreamGone):
        raise missing(log.session) from None


def find_written(core: Core, log: Log, message: bytes) -> Steps[Event]:
    """Reads on until the event with this message's type and key is seen, and returns it."""
    from agentstream.sessions.events import read_event

    written = read_event(message, 0)
    fresh = yield from extend(log)
    core.keep(log)
    for event in fresh:
        if (event.type, event.key) == (written.type, written.key):
            return event
    raise AgentStreamError(f"session {log.session!r}: an event appended just now cannot be read back; read it again later")
