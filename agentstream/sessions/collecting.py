"""Which blobs nobody refers to any more, and their removal: a part of `retention.py`.

What refers to a blob is an event of a session, so all sessions are read; only where there is a blob
that was neither written nor touched for as long as a collection leaves things alone. What a session
cannot be read for might be referred to by it: then nothing is removed.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from agentstream.backends.base import DropLease, Listed, TakeLease
from agentstream.errors import SessionBusy, StoreError
from agentstream.protocol.errors import ProtocolError, StreamGone, StreamNotFound
from agentstream.protocol.operations import Read
from agentstream.sessions.blobs import BLOBS, COLLECTING, TOUCHES, discard
from agentstream.sessions.ids import spare_path
from agentstream.sessions.patience import asked
from agentstream.sessions.references import refs_in
from agentstream.sessions.summaries import listed

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.blobs import Blobs

SEALED, LOCKED, ERASED = b'"$sealed"', b'"$locked"', b'"reason":"erased"'
"""Stand in a message that was read without its key: what it refers to is not known, and of no use if it was erased."""

Seen = dict[str, tuple[float, str]]
"""Of each session stream that was read, what it was like."""


def unused(now: float, left_alone: float, gone: Collection[str]) -> Steps[list[str]]:
    """The addresses of blobs that are old and that no session refers to; those at the paths `gone` do not count."""
    old = yield from _old(now, left_alone)
    if not old:
        return []
    referred: set[str] = set()
    known = yield from _read_all(referred, {}, gone)
    return sorted(_without(old, referred)) if known is not None else []


def removed(blobs: Blobs, now: float, left_alone: float) -> Steps[list[str]]:
    """Removes them; `blobs` are this client's. Whoever finds one meanwhile waits, and then looks again (`blobs.py`)."""
    old = yield from _old(now, left_alone)
    if not old:
        return []
    referred: set[str] = set()
    seen = yield from _read_all(referred, {}, ())
    if seen is None or not _without(old, referred):
        return []
    try:
        yield TakeLease(*COLLECTING)
    except SessionBusy:
        return []  # another collection is at it
    try:
        old &= yield from _old(now, left_alone)  # touched or written anew since
        if (yield from _read_all(referred, seen, ())) is None:
            return []
        found = sorted(_without(old, referred))
        for address in found:
            blobs.forget(address)
            yield from discard(address)
        return found
    finally:
        yield DropLease(*COLLECTING)


def _old(now: float, left_alone: float) -> Steps[set[str]]:
    """The addresses of blobs that were neither written nor touched of late."""
    touched = {each.path[len(TOUCHES) :]: each.updated for each in (yield from listed(TOUCHES))}
    found: set[str] = set()
    for blob in (yield from listed(BLOBS)):
        address = blob.path[len(BLOBS) :]
        if now - max(blob.updated, touched.get(address, 0.0)) > left_alone:
            found.add(address)
    return found


def _read_all(referred: set[str], seen: Seen, gone: Collection[str]) -> Steps[Seen | None]:
    """Adds what sessions refer to that changed since `seen`; None where one cannot be read."""
    now: Seen = {}
    for stream in (yield from listed("")):
        path = stream.path
        if path in gone or (path.startswith("~") and not path.startswith(spare_path(""))):
            continue
        now[path] = _stamp(stream)
        if seen.get(path) == now[path]:
            continue
        with suppress(StreamNotFound, StreamGone):
            try:
                yield from _read_one(path, referred)
            except (StreamNotFound, StreamGone):
                raise
            except (ProtocolError, StoreError):
                return None
    return now


def _read_one(path: str, referred: set[str]) -> Steps[None]:
    batch = yield from asked(Read(path))
    while True:
        for message in batch.messages:
            if SEALED in message or (LOCKED in message and ERASED not in message):
                referred.add("")
            for ref in refs_in(message):
                referred.update((ref.address, ref.sha256))
        if batch.up_to_date or batch.closed:
            return
        batch = yield from asked(Read(path, batch.offset))


def _without(old: set[str], referred: set[str]) -> set[str]:
    """Where a session could not be opened, what is sealed stays: its address tells nothing."""
    return {address for address in old if address not in referred and not ("" in referred and "." in address)}


def _stamp(stream: Listed) -> tuple[float, str]:
    return stream.updated, stream.offset
