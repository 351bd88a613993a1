"""The sessions' keys where they are kept: `~k/<key id>`, each wrapped with a user's key.

`~k/<key id>` holds one event for each wrapping, the last one in force. Erasing a session
removes that stream whole; `~e/<key id>` then says when, and holds what forks still need: the
keys derived for the events that they share, sealed with a key of their own. So a fork reads
on and nothing else of the erased session can ever be opened, by anybody.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.backends.base import Erase, List
from agentstream.errors import AgentStreamError, Locked
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Append, Create, Delete, Head, Producer, Read
from agentstream.sessions.encryption import ciphers
from agentstream.sessions.encryption.form import Closed
from agentstream.sessions.encryption.refusals import GIVE
from agentstream.sessions.events import read_event, timestamp, write_event
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.patience import asked, patiently

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.encryption.keyring import Keyring

KEYS, ERASED = "~k/", "~e/"

FRESH = 1.0
"""Seconds after which a key in memory is looked for again: so long others may still read what was erased."""
KEPT = 4096

SHARED = 10_000
"""Derived keys in one event of what is left of an erased session."""


class SessionKey(msgspec.Struct, frozen=True):
    """A key that opens and seals everything of its session."""

    id: str
    secret: bytes

    @property
    def why(self) -> dict[str, Any]:
        """Why a thing is closed to it."""
        return {"reason": "changed"}

    def own(self, salt: bytes) -> bytes | None:
        """The key of the one thing that was sealed with `salt`; None if it cannot be had."""
        return ciphers.derived(self.secret, salt)


class ErasedKey(msgspec.Struct, frozen=True):
    """What is left of a key that was forgotten: `shared` are the keys derived for what forks go on reading."""

    id: str
    at: str
    shared: dict[bytes, bytes]

    @property
    def why(self) -> dict[str, Any]:
        return {"reason": "erased", "at": self.at}

    def own(self, salt: bytes) -> bytes | None:
        return self.shared.get(salt)


class NoKey(msgspec.Struct, frozen=True):
    """A key that cannot be used here, and why: "missing" from the store, "wrong" user's key, "changed"."""

    id: str
    reason: str
    by: str | None = None

    @property
    def why(self) -> dict[str, Any]:
        return {"reason": self.reason, **({"by": self.by} if self.by else {})}

    def own(self, salt: bytes) -> bytes | None:
        return None


Known = SessionKey | ErasedKey | NoKey


def opened(key: Known, sealed: bytes, place: bytes) -> bytes:
    """What was sealed in `place`. Raises Closed."""
    own = key.own(sealed[: ciphers.SALT])
    if own is None:
        raise Closed(key.why)
    try:
        return ciphers.unseal_by(own, sealed, place)
    except ciphers.Unopened:
        raise Closed({"reason": "changed"}) from None


class Vault:
    """Makes, finds, wraps and forgets sessions' keys. Without a ring every key is one that cannot be used."""

    def __init__(self, ring: Keyring) -> None:
        self.ring = ring
        self._known: dict[str, tuple[Known, float]] = {}

    def make(self, path: str) -> Steps[SessionKey]:
        """A new key for the session at `path`, kept before anything is sealed with it."""
        key = SessionKey(fresh_id(), os.urandom(ciphers.SIZE))
        yield from patiently(Create(KEYS + key.id, (self._wrapping(key, path),)))
        self._remember(key)
        return key

    def find(self, id: str) -> Steps[Known]:
        """The key of this id. From memory, if it was seen there in the last seconds."""
        known, seen = self._known.get(id, (None, 0.0))
        if known is not None and time.monotonic() - seen < FRESH:
            return known
        if isinstance(known, SessionKey) and (yield from exists(KEYS + id)):
            self._remember(known)
            return known
        known = yield from self._read(id)
        if not isinstance(known, NoKey):
            self._remember(known)
        return known

    def known(self, id: str) -> SessionKey | None:
        """A key that is in memory, however long."""
        known = self._known.get(id)
        return known[0] if known is not None and isinstance(known[0], SessionKey) else None

    def forget(self, id: str) -> None:
        self._known.pop(id, None)

    def _remember(self, key: Known) -> None:
        if len(self._known) > KEPT:
            self._known.clear()
        self._known[key.id] = (key, time.monotonic())

    def _wrapping(self, key: SessionKey, path: str) -> bytes:
        wrapped = self.ring.wrap(key.secret, key.id)
        return write_event("key", fresh_id(), {"for": path, "by": self.ring.first, "wrapped": wrapped})

    def _read(self, id: str) -> Steps[Known]:
        try:
            told = yield from values(KEYS + id)
        except (StreamNotFound, StreamGone):
            return (yield from self._read_erased(id))
        return self._unwrapped(id, told)

    def _unwrapped(self, id: str, told: list[dict[str, Any]]) -> SessionKey | NoKey:
        by: str | None = None
        for value in reversed(told):
            by = str(value.get("by"))
            try:
                secret = self.ring.unwrap(msgspec.convert(value.get("wrapped"), bytes), by, id)
            except (ciphers.Unopened, msgspec.ValidationError):
                return NoKey(id, "changed")
            if secret is not None:
                return SessionKey(id, secret)
        return NoKey(id, "wrong", by)

    def _read_erased(self, id: str) -> Steps[ErasedKey | NoKey]:
        try:
            told = yield from values(ERASED + id)
        except (StreamNotFound, StreamGone):
            return NoKey(id, "missing")
        at, shared = str(told[-1].get("at")) if told else "", dict[bytes, bytes]()
        for value in told:
            if "shared" in value:
                key = yield from self.find(str(value.get("key")))
                try:
                    joined = opened(key, msgspec.convert(value["shared"], bytes), (ERASED + id).encode())
                except (Closed, msgspec.ValidationError):
                    continue  # what it held stays closed, and says that the session was erased
                width = ciphers.SALT + ciphers.SIZE
                for start in range(0, len(joined), width):
                    shared[joined[start : start + ciphers.SALT]] = joined[start + ciphers.SALT : start + width]
        return ErasedKey(id, at, shared)

    # --- forgetting --------------------------------------------------------------------------------------------------

    def leave(self, key: SessionKey, path: str, salts: list[bytes]) -> Steps[None]:
        """Keeps, for forks, the keys of the sealed things that begin with `salts`, in the tombstone of `key`."""
        left = yield from self.make(path)
        events: list[bytes] = []
        for start in range(0, len(salts), SHARED):
            joined = b"".join(salt + ciphers.derived(key.secret, salt) for salt in salts[start : start + SHARED])
            sealed = ciphers.seal(left.secret, joined, (ERASED + key.id).encode())
            events.append(_tombstone(path, {"key": left.id, "shared": sealed}))
        yield from _add(ERASED + key.id, events)

    # --- rotation ----------------------------------------------------------------------------------------------------

    def rotate(self, backend: Backend) -> Steps[int]:
        """Wraps every key with the ring's first that is not; returns how many. Raises Locked where one cannot be."""
        if not backend.traits.lists:
            raise AgentStreamError(f"{backend.name} cannot list what it keeps, and so not find the keys to wrap anew")
        done, closed = 0, list[str]()
        for path in (yield from paths(KEYS)):
            id = path[len(KEYS) :]
            try:
                told = yield from values(path)
            except (StreamNotFound, StreamGone):
                continue  # erased just now
            if told and told[-1].get("by") == self.ring.first:
                continue
            key = self._unwrapped(id, told)
            if isinstance(key, NoKey):
                closed.append(str(told[-1].get("for")) if told else id)
                continue
            event = self._wrapping(key, str(told[-1].get("for")))
            with suppress(StreamNotFound, StreamGone):  # erased just now
                yield from patiently(Append(path, (event,), producer=Producer(fresh_id(), 0, 0)))
                done += 1
        if closed:
            raise Locked(
                f"{done} keys were wrapped anew, {len(closed)} cannot be opened with the keys that were given "
                f"({', '.join(self.ring.ids)}): those of {', '.join(closed[:5])}{', …' if len(closed) > 5 else ''}; "
                "give the key that they were wrapped with too",
                reason="wrong",
            )
        return done


def rotate(backend: Backend) -> Steps[int]:
    """Wraps every key in the store with the first of the client's; returns how many were not."""
    vault: Vault | None = getattr(backend, "vault", None)
    if vault is None:
        raise Locked(f"{backend.name}: there is no key to wrap with; {GIVE}", reason="no key")
    return vault.rotate(backend)


def forget(backend: Backend, id: str, path: str) -> Steps[None]:
    """Removes a key for ever, leaving nothing of it in the bytes of the store if that can be done. Needs no key."""
    yield from _add(ERASED + id, [_tombstone(path, {})])
    yield from remove(backend, id)


def remove(backend: Backend, id: str) -> Steps[None]:
    """Takes a key out of the store."""
    with suppress(StreamNotFound, StreamGone):  # somebody else was faster
        yield from patiently(Erase(KEYS + id) if backend.traits.erases else Delete(KEYS + id))


def left_by(id: str) -> Steps[list[str]]:
    """The ids of the keys that seal what an erased session left for its forks."""
    return [str(value["key"]) for value in (yield from values(ERASED + id)) if "key" in value]


def is_forgotten(id: str | None) -> Steps[bool]:
    """Whether a key was forgotten. Needs none."""
    return id is not None and (yield from exists(ERASED + id)) and not (yield from exists(KEYS + id))


def exists(path: str) -> Steps[bool]:
    try:
        yield from asked(Head(path))
    except (StreamNotFound, StreamGone):
        return False
    return True


def _tombstone(path: str, more: dict[str, Any]) -> bytes:
    return write_event("key", fresh_id(), {"for": path, "at": timestamp(), **more})


def _add(path: str, events: list[bytes]) -> Steps[None]:
    yield from patiently(Create(path))
    producer = Producer(fresh_id(), 0, 0)
    for event in events:
        yield from patiently(Append(path, (event,), producer=producer))
        producer = msgspec.structs.replace(producer, seq=producer.seq + 1)


def values(path: str) -> Steps[list[dict[str, Any]]]:
    """What the events of a stream of keys say."""
    found: list[dict[str, Any]] = []
    batch = yield from asked(Read(path))
    while True:
        for message in batch.messages:
            value = read_event(message, 0).value
            if isinstance(value, dict):
                found.append(value)
        if batch.up_to_date or batch.closed:
            return found
        batch = yield from asked(Read(path, batch.offset))


def paths(prefix: str) -> Steps[list[str]]:
    found: list[str] = []
    while True:
        page = yield List(prefix, after=found[-1] if found else "")
        found += [each.path for each in page]
        if len(page) < 1000:
            return found
