"""Erasing a session: its key is forgotten, and with it everything that is sealed with it, for ever and everywhere.

Forks share events with the session they come from. Either they are erased with it, or each
key that was derived for an event they share is kept for them (`vault.leave`), and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from agentstream.backends.base import Listed
from agentstream.errors import AgentStreamError, Locked
from agentstream.protocol.operations import START, Append, Read
from agentstream.sessions.blobs import path_of as blob_path
from agentstream.sessions.claims import FENCING, fenced, release, win
from agentstream.sessions.encryption import blocks, vault
from agentstream.sessions.encryption.backend import Raw
from agentstream.sessions.encryption.form import look, open_, salt_in
from agentstream.sessions.encryption.refusals import no_key
from agentstream.sessions.encryption.vault import ERASED, KEYS, SessionKey, Vault, opened, values
from agentstream.sessions.log import Log, missing, open_log
from agentstream.sessions.patience import asked, patiently
from agentstream.sessions.placing import discard
from agentstream.sessions.references import refs_in
from agentstream.sessions.snapshots import snapshot_path
from agentstream.sessions.summaries import Entry, entries, forget, listed

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.protocol.operations import Batch
    from agentstream.sessions.core import Core


def erase(core: Core, session: str, *, forks: bool, take_over: bool = False) -> Steps[list[str]]:
    """Makes a session unreadable for ever; returns the ids of what was erased.

    `forks`: the sessions that go on from its history too; else they read on what they share.
    Raises NotFound, SessionBusy while a worker is at one of them, AgentStreamError for one that
    is not encrypted.
    """
    log = yield from open_log(session)
    if log is None:
        raise missing(session)
    if log.encrypted is None:
        raise AgentStreamError(
            f"session {session!r} is not encrypted, so there is no key to forget: delete it (session.delete(), "
            "agentstream rm) to remove its events from the store"
        )
    if not core.backend.traits.lists and not forks:
        raise AgentStreamError(
            f"{core.backend.name} cannot list its sessions, so which are forks of {session!r} is not known; "
            "forks=True erases it whatever they share with it, and leaves what is their own to be erased one by one"
        )
    erased = [session]
    if not forks:
        yield from _forget(core, log, take_over, shared=True)
        return erased
    for heir in (yield from _heirs(core, log)):  # before what they share: a crash leaves nothing that looks whole
        other = yield from open_log(heir.id)
        if other is not None and other.encrypted is not None:
            yield from _forget(core, other, take_over, shared=False)
            erased.append(heir.id)
    yield from _forget(core, log, take_over, shared=False)
    return erased


def _heirs(core: Core, log: Log) -> Steps[list[Entry]]:
    """The sessions that have events sealed with this session's key, those with the longest lineage first."""
    if not core.backend.traits.lists:
        return []
    found = [entry for entry in (yield from entries(core)) if entry.id != log.session and log.encrypted in entry.keys]
    return sorted(found, key=lambda entry: len(entry.births), reverse=True)


def _shared(log: Log, heirs: list[Entry]) -> int:
    """How many of the session's first events others have: those before the birth that comes after its own."""
    longest = 0
    for heir in heirs:
        own = next((n for n, (_, incarnation) in enumerate(heir.births) if incarnation == log.incarnation), None)
        later = heir.births[own + 1 :] if own is not None else ()
        longest = max(longest, later[0][0] if later else 0)
    return longest


def _forget(core: Core, log: Log, take_over: bool, *, shared: bool) -> Steps[None]:
    """Ends the session and forgets its key, but for what forks need of it where that is `shared`."""
    id = log.encrypted
    assert id is not None
    keys: Vault | None = getattr(core.backend, "vault", None)
    if shared and _shared(log, (yield from _heirs(core, log))):
        yield from _needed(keys, log, id)
    yield from _end(log, take_over)
    count = _shared(log, (yield from _heirs(core, log))) if shared else 0  # as late as can be
    if count:
        key = yield from _needed(keys, log, id)
        if key is not None:
            assert keys is not None
            yield from keys.leave(key, log.path, (yield from _salts(log, key, count)))
    yield from vault.forget(core.backend, id, log.path)
    yield from discard(snapshot_path(log.path, id))
    if keys is not None:
        keys.forget(id)
    core.forget(log.session)
    forget(core, log.session)
    if core.backend.traits.lists:
        yield from _release(core, log, keys)


def _needed(keys: Vault | None, log: Log, id: str) -> Steps[SessionKey | None]:
    """The key, to keep for forks what they share; None if it was forgotten before. Raises Locked."""
    if not (yield from vault.exists(KEYS + id)):
        return None
    key = (yield from keys.find(id)) if keys is not None else None
    if isinstance(key, SessionKey):
        return key
    raise Locked(
        f"{no_key(f'session {log.session!r}')}, or erase its forks too: only with its key can what they share be kept "
        "readable for them",
        reason="no key" if keys is None else "wrong",
    )


def _release(core: Core, log: Log, keys: Vault | None) -> Steps[None]:
    """What was left for forks of a session that was erased before goes with the last of them."""
    living = [entry for entry in (yield from entries(core)) if entry.summary.status != "erased"]
    needed = {id for entry in living for id in entry.keys}
    for _, birth in log.births:
        id = birth.encrypted
        if id is None or id in needed or not (yield from vault.exists(ERASED + id)):
            continue
        for left in (yield from vault.left_by(id)):
            yield from vault.remove(core.backend, left)
        if keys is not None:
            keys.forget(id)


def _end(log: Log, take_over: bool) -> Steps[None]:
    """Takes the session and closes it: nothing is written that nobody could read."""
    if log.closed:
        return
    claim = yield from win(log, take_over=take_over)
    try:
        yield from patiently(Append(log.path, (), producer=claim.producer(1), close=True))
    except FENCING as error:
        raise fenced(log.session, claim, error) from error
    finally:
        yield from release(claim)


def _salts(log: Log, key: SessionKey, shared: int) -> Steps[list[bytes]]:
    """From what the keys of the first events were derived, and those of the blobs that they refer to."""
    found: list[bytes] = []
    left, offset = shared - log.stitched, START
    while left > 0:
        batch: Batch = yield from asked(Raw(Read(log.path, offset)))
        for message in batch.messages[:left]:
            sealed = look(message)
            salt = salt_in(sealed) if sealed.key_id == key.id else None
            if salt is None:
                continue
            found.append(salt)
            for ref in refs_in(open_(sealed, partial(opened, key), None)):
                if ref.address.endswith("." + key.id):
                    found.append(blocks.salt_of(blob_path(ref)))
        left -= len(batch.messages)
        offset = batch.offset
        if batch.up_to_date or batch.closed:
            break
    return found


# --- what is left ----------------------------------------------------------------------------------------------------


def ruins(every: list[Entry], left_alone: Callable[[Listed], bool]) -> Steps[list[str]]:
    """The streams of keys, and of what was erased, that no session has a use for any more."""
    if any(entry.summary.status == "unreadable" for entry in every):
        return []  # what cannot be read may be sealed with any of them
    needed = {id for entry in every for id in entry.keys}
    stones = yield from _unneeded(ERASED, needed, left_alone)
    for stone in (yield from listed(ERASED)):
        if stone.path not in stones:
            needed.update((yield from vault.left_by(stone.path[len(ERASED) :])))
    return [*stones, *(yield from _unneeded(KEYS, needed, left_alone))]


def _unneeded(folder: str, needed: set[str], left_alone: Callable[[Listed], bool]) -> Steps[list[str]]:
    found: list[str] = []
    for stream in (yield from listed(folder)):
        if stream.path[len(folder) :] in needed or not left_alone(stream):
            continue
        told = yield from values(stream.path)
        # an incarnation that another took the place of is in no list, and may be kept on purpose
        if not told or not (yield from vault.exists(str(told[-1].get("for")))):
            found.append(stream.path)
    return found
