"""A backend that seals what goes through it to another and opens what comes back.

Sessions are sealed message by message, streams of bytes block by block where their path names
a key (`~b/….<key id>`, `~snap/….<key id>`). Everything above works with what was written;
what cannot be opened comes back with a `$locked` in it that says why, so that lists and the
log's rules go on without the key, and only who asks for the value gets an error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from agentstream.backends import driving
from agentstream.backends.driving import Done, Steps, adrive, drive
from agentstream.protocol.operations import JSON, Append, Create, Created, Delete, Read
from agentstream.sessions import codec
from agentstream.sessions.encryption import blocks, ciphers
from agentstream.sessions.encryption.form import LOCKED_MARK, Found, is_birth, look, open_, seal
from agentstream.sessions.encryption.refusals import check_open, no_key, refusal
from agentstream.sessions.encryption.vault import ErasedKey, Known, SessionKey, Vault, opened

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.protocol.operations import Batch
    from agentstream.sessions.encryption.keyring import Keyring

KEPT = 20_000


class Raw(msgspec.Struct, frozen=True):
    """An operation for the inner backend, whose result is what is stored."""

    operation: Any


class SealingBackend:
    """Executes every operation of `inner`; safe to share as `inner` is."""

    def __init__(self, inner: Backend, ring: Keyring) -> None:
        self.inner = inner
        self.name = inner.name
        self.traits = inner.traits
        self.vault = Vault(ring)
        self._of: dict[str, str | None] = {}
        """By which key the session at a path is sealed; None for one that was begun without."""
        self._made: dict[Create, SessionKey] = {}
        """The keys of the last creations: one that is repeated has the same."""

    def owns(self, path: str, key_id: str | None) -> None:
        """Takes note of the key of the session that is at `path` now, as its birth says."""
        if len(self._of) > KEPT:
            self._of.clear()
        self._of[path] = key_id

    def execute(self, operation: Any) -> Any:
        if _concerned(operation):
            return drive(self._steps(operation), self.inner)
        return self.inner.execute(operation.operation if type(operation) is Raw else operation)

    async def aexecute(self, operation: Any) -> Any:
        if _concerned(operation):
            return await adrive(self._steps(operation), self.inner)
        return await self.inner.aexecute(operation.operation if type(operation) is Raw else operation)

    def submit(self, operation: Any) -> Future[Any]:
        if not _concerned(operation):
            return self.inner.submit(operation)
        future: Future[Any] = Future()
        if isinstance(operation, Append):
            try:
                return self.inner.submit(drive(self._sealed(operation), self.inner))
            except Exception as error:
                future.set_exception(error)
        elif getattr(operation, "wait", None):
            threading.Thread(target=self._fulfil, args=(operation, future), daemon=True).start()
        else:
            self._fulfil(operation, future)
        return future

    def start(self, operation: Any, done: Done) -> None:
        """Starts a write; `done(result, error)` is called when it is answered."""
        if isinstance(operation, Append) and _concerned(operation):
            operation = drive(self._sealed(operation), self.inner)
        elif _concerned(operation):
            self.submit(operation).add_done_callback(lambda future: driving.answered(done, future))
            return
        driving.start(operation, done, self.inner)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        """As `close`, where the inner backend's connections belong to the running loop."""
        inner: Any = self.inner
        aclose = getattr(inner, "aclose", None)
        await aclose() if aclose is not None else inner.close()

    def _fulfil(self, operation: Any, future: Future[Any]) -> None:
        try:
            result = self.execute(operation)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _steps(self, operation: Any) -> Steps[Any]:
        if isinstance(operation, Append):
            return (yield (yield from self._sealed(operation)))
        if isinstance(operation, Read):
            return (yield from self._read(operation))
        if isinstance(operation, Create):
            return (yield from self._create(operation))
        self._of.pop(operation.path, None)
        return (yield operation)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _sealed(self, operation: Append) -> Steps[Append]:
        if not operation.body:
            return operation
        if operation.content_type != JSON:
            key = yield from self._usable(blocks.key_in(operation.path), operation.path)
            return replace(operation, body=blocks.seal(operation.body, key.secret, operation.path))
        id = yield from self._of_session(operation.path)
        if id is None:
            return operation
        # asked anew only where it is not in memory: what was erased is sealed, and takes nothing any more
        key = self.vault.known(id) or (yield from self._usable(id, operation.path))
        return replace(operation, body=_sealed_body(operation.body, key))

    def _create(self, operation: Create) -> Steps[Created]:
        path, body = operation.path, operation.body
        if operation.content_type != JSON:
            if body:
                key = yield from self._usable(blocks.key_in(path), path)
                body = blocks.seal(body, key.secret, path)
            return (yield replace(operation, body=body))
        if operation.fork is not None and not body:  # another name for what the source holds
            id = yield from self._of_session(operation.fork.source)
            created: Created = yield operation
            if created.new:
                self.owns(path, id)
            return created
        key = self._made.get(operation)
        if key is None:
            key = yield from self.vault.make(path)
            if len(self._made) > 64:
                self._made.clear()
            self._made[operation] = key
        created = yield replace(operation, body=_sealed_body(body, key))
        if created.new:
            self.owns(path, key.id)
        return created

    def _usable(self, id: str, path: str) -> Steps[SessionKey]:
        known = yield from self.vault.find(id)
        if isinstance(known, SessionKey):
            return known
        raise refusal(known.why, f"stream {path!r}")

    def _of_session(self, path: str) -> Steps[str | None]:
        """By which key the session at a path is sealed."""
        id = self._of.get(path, "")
        if id == "":
            id = yield from self._named_at(path)
            self.owns(path, id)
        return id

    def _named_at(self, path: str) -> Steps[str | None]:
        """The key that the last birth in a stream names: read to the end, where nobody has read it before."""
        id: str | None = None
        batch: Batch = yield Read(path)
        while True:
            for message in batch.messages:
                found = look(message)
                if isinstance(found.parts, tuple) and is_birth(found.parts[0].key, found.parts[1]):
                    id = found.parts[1].get("encrypted")
            if batch.up_to_date or batch.closed:
                return id
            batch = yield Read(path, batch.offset)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _read(self, operation: Read) -> Steps[Batch]:
        if operation.path.startswith(blocks.FOLDERS):
            key = yield from self.vault.find(blocks.key_in(operation.path))
            return (yield from blocks.read(operation, key, self.traits.skips))
        batch: Batch = yield operation
        found = [look(message) for message in batch.messages]
        if all(each.key_id is None for each in found):
            return batch
        keys: dict[str, Known] = {}
        for each in found:
            if each.key_id is not None and each.key_id not in keys:
                keys[each.key_id] = yield from self.vault.find(each.key_id)
        return replace(batch, messages=tuple(_opened(each, keys) for each in found))

    def address(self, key_id: str, digest: str) -> str:
        """What a content of this hash is called, so that nobody can guess it from the name. Raises Locked."""
        key = self.vault.known(key_id)
        if key is None:
            raise no_key(f"content {digest[:12]}…")
        return ciphers.derived(key.secret, b"address " + digest.encode()).hex()


def _concerned(operation: Any) -> bool:
    """Whether an operation is about a session, or a stream of bytes whose path names a key."""
    if not isinstance(operation, (Append, Read, Create, Delete)):
        return False
    path = operation.path
    return path[:1] != "~" or path.startswith("~s/") or bool(blocks.key_in(path))


def _sealed_body(body: Iterable[bytes], key: SessionKey) -> tuple[bytes, ...]:
    made: list[bytes] = []
    for message in body:
        if LOCKED_MARK in message:
            _refuse_locked(message)
        made.append(seal(message, key.id, key.secret))
    return tuple(made)


def _opened(found: Found, keys: dict[str, Known]) -> bytes:
    if found.key_id is None:
        return found.message
    key = keys[found.key_id]
    return open_(found, partial(opened, key), key.at if isinstance(key, ErasedKey) else None)


def _refuse_locked(message: bytes) -> None:
    """What could not be opened must not be written on as if that were its value (a copy, an import)."""
    value = codec.loads(message).get("value")
    if isinstance(value, dict):
        check_open(value, "an event that was to be copied")
