"""Erasing a session: its key is forgotten, and with it everything that is sealed with it, for ever and everywhere.

Forks share events with the session they come from. Either they are erased with it, or each
key that was derived for an event they share is kept for them (`vault.leave`), and no other.
So it is with what else has copies of its events, and therefore refers to its content. Earlier
lives of a compacted session, kept or not, are erased with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from agentstream.backends.base import Listed
from agentstream.errors import AgentStreamError, Locked
from agentstream.protocol.operations import START, Append, Read
from agentstream.sessions.births import earlier_lives, keys_of
from agentstream.sessions.blobs import path_of as blob_path
from agentstream.sessions.claims import FENCING, fenced, release, win
from agentstream.sessions.encryption import blocks, vault
from agentstream.sessions.encryption.backend import Raw
from agentstream.sessions.encryption.form import look, open_, salt_in
from agentstream.sessions.encryption.refusals import no_key
from agentstream.sessions.encryption.vault import ERASED, KEYS, SessionKey, Vault, opened, values
from agentstream.sessions.ids import old_id
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
    Lives that were kept when it was compacted go with it. Raises NotFound, SessionBusy while a
    worker is at one of them, AgentStreamError for one that is not encrypted.
    """
    lives = yield from _lives(session)
    if not core.backend.traits.lists and not forks:
        raise AgentStreamError(
            f"{core.backend.name} cannot list its sessions, so which are forks of {session!r} is not known; "
            "forks=True erases it whatever they share with it, and leaves what is their own to be erased one by one"
        )
    erased = [life.session for life in lives]
    if not forks:
        yield from _forget(core, lives, take_over, shared=True)
        return erased
    for heir in (yield from _heirs(core, lives)):  # before what they share: a crash leaves nothing that looks whole
        other = yield from open_log(heir.id)
        if other is not None and other.encrypted is not None:
            yield from _forget(core, [other], take_over, shared=False)
            erased.append(heir.id)
    yield from _forget(core, lives, take_over, shared=False)
    return erased


def _lives(session: str) -> Steps[list[Log]]:
    """The session, and the lives it had before that are kept."""
    log = yield from open_log(session)
    if log is None:
        raise missing(session)
    found = [log]
    for incarnation, _ in earlier_lives(log.births[-1][1]) if log.births else ():
        life = yield from open_log(old_id(session, incarnation))
        if life is not None and life.incarnation == incarnation:
            found.append(life)
    for life in found:
        if life.encrypted is None:
            raise AgentStreamError(
                f"session {life.session!r} is not encrypted, so there is no key to forget: delete it "
                "(session.delete(), agentstream rm) to remove its events from the store"
            )
    return found


def _keys(lives: list[Log]) -> set[str]:
    """The ids of the keys of these lives, and of those they go on from that are not kept."""
    return {id for life in lives for id in life.births[-1][1].own_keys}


def _heirs(core: Core, lives: list[Log]) -> Steps[list[Entry]]:
    """The sessions that need one of the lives' keys, those with the longest lineage first."""
    if not core.backend.traits.lists:
        return []
    own, ids = _keys(lives), {life.session for life in lives}
    found = [entry for entry in (yield from entries(core)) if entry.id not in ids and own & entry.keys]
    return sorted(found, key=lambda entry: len(entry.births), reverse=True)


def _forget(core: Core, lives: list[Log], take_over: bool, *, shared: bool) -> Steps[None]:
    """Ends a session and forgets its keys, but for what forks need of them where that is `shared`."""
    log, ids = lives[0], _keys(lives)
    keys: Vault | None = getattr(core.backend, "vault", None)
    if shared:
        yield from _left(core, lives, keys, look=True)
    for life in lives:
        yield from _end(life, take_over)
    if shared:
        yield from _left(core, lives, keys, look=False)  # as late as can be
    for life in lives:
        assert life.encrypted is not None
        yield from vault.forget(core.backend, life.encrypted, life.path)
        yield from discard(snapshot_path(life.path, life.encrypted))
        ids.discard(life.encrypted)
        core.forget(life.session)
        forget(core, life.session)
    for id in ids:  # of lives that were not kept
        if (yield from vault.exists(KEYS + id)):
            yield from vault.forget(core.backend, id, log.path)
    if keys is not None:
        for id in _keys(lives):
            keys.forget(id)
    if core.backend.traits.lists:
        yield from _release(core, lives, keys)


def _left(core: Core, lives: list[Log], keys: Vault | None, *, look: bool) -> Steps[None]:
    """Keeps for those who need it what they need of the lives' keys; with `look` only sees whether that can be done."""
    heirs = [heir for heir in (yield from _heirs(core, lives)) if heir.summary.status != "erased"]
    if not heirs:
        return
    usable: dict[str, SessionKey] = {}
    for id in sorted(_keys(lives).intersection(key for heir in heirs for key in heir.keys)):
        key = yield from _needed(keys, lives[0], id)
        if key is not None:
            usable[id] = key
    if look or keys is None:
        return
    for id, salts in (yield from _salts(heirs, keys, usable)).items():
        yield from keys.leave(usable[id], lives[0].path, salts)


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


def _release(core: Core, lives: list[Log], keys: Vault | None) -> Steps[None]:
    """What was left for forks of a session that was erased before goes with the last of them."""
    living = [entry for entry in (yield from entries(core)) if entry.summary.status != "erased"]
    needed = {id for entry in living for id in entry.keys}
    for id in keys_of(birth for life in lives for _, birth in life.births):
        if id in needed or not (yield from vault.exists(ERASED + id)):
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


def _salts(heirs: list[Entry], keys: Vault, usable: dict[str, SessionKey]) -> Steps[dict[str, list[bytes]]]:
    """From what the keys of what others need were derived, by the session key: of events that they share, and of
    content that their events refer to."""
    found: dict[str, set[bytes]] = {id: set() for id in usable}
    read: set[Any] = set()
    for heir in sorted(heirs, key=_own, reverse=True):
        page: Batch = yield from asked(Raw(Read(heir.listed.path, limit=1)))
        # what several share is read once, in the one that shares most; a copy shares nothing, and has a key of its own
        history = (heir.births[:-1], look(page.messages[0]).key_id if page.messages else None)
        offset, skip = START, _own(heir) if history in read else 0
        read.add(history)
        while True:
            page = yield from asked(Raw(Read(heir.listed.path, offset, skip=skip)))
            for message in page.messages:
                yield from _note_salts(message, keys, found)
            if page.up_to_date or page.closed:
                break
            offset, skip = page.offset, 0
    return {id: sorted(salts) for id, salts in found.items() if salts}


def _own(heir: Entry) -> int:
    """Where a session's own events begin."""
    return heir.births[-1][0] if heir.births else 0


def _note_salts(message: bytes, keys: Vault, found: dict[str, set[bytes]]) -> Steps[None]:
    sealed = look(message)
    if sealed.key_id is None:
        return
    salt = salt_in(sealed)
    if salt is None:
        return
    if sealed.key_id in found:
        found[sealed.key_id].add(salt)
    key = yield from keys.find(sealed.key_id)
    for ref in refs_in(open_(sealed, partial(opened, key), None)):
        _, _, id = ref.address.rpartition(".")
        if id in found:
            found[id].add(blocks.salt_of(blob_path(ref)))


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
