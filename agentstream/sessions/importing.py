"""Sessions in from a file, byte for byte, in bounded memory (the form: `exported`).

The whole file is checked before anything is written. What does not fit one request is put
together where nobody looks, and then shown at once: a session is there whole or not at all.
An imported session is the same life as the one that was exported: its incarnation, and so its
positions and its idempotency keys, are the same.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO, TYPE_CHECKING

from msgspec.structs import replace

from agentstream.errors import SessionExists, StoreError
from agentstream.protocol.errors import ProtocolError, StreamConflict, StreamGone
from agentstream.protocol.operations import START, Append, Create, Delete, ForkPoint, Producer, Read
from agentstream.sessions import codec
from agentstream.sessions.births import declared_birth
from agentstream.sessions.events import read_event
from agentstream.sessions.exported import Contents, Header, Section, check, content, messages
from agentstream.sessions.ids import checked_id, fresh_id, path_of, spare_path
from agentstream.sessions.imported import taken_in
from agentstream.sessions.log import locate, open_log
from agentstream.sessions.patience import asked, patiently
from agentstream.sessions.placing import point_at
from agentstream.sessions.references import BYTES, Ref, placed, refs_in

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.births import Birth
    from agentstream.sessions.blobs import Address
    from agentstream.sessions.core import Core

Source = str | os.PathLike[str] | IO[bytes]

BATCH = 1000
BATCH_BYTES = 1024 * 1024
"""What one request of an import holds at most, but for a message that is larger by itself."""
SPOOLED = 16 * 1024 * 1024


def import_(core: Core, source: Source, *, new_id: str | None = None, prefix: str = "") -> Steps[list[str]]:
    """Makes the sessions that a file holds; returns their ids, in its order.

    `new_id` names the session of a file that holds one; `prefix` is put before every id. Raises
    InvalidExport for a file that is not an export, whole and as it was written, SessionExists
    if one of the ids is taken; nothing is imported then.
    """
    with _reading(source) as (file, name):
        contents = check(file, name)
        sections = contents.sections
        ids = _ids(sections, name, new_id, prefix)
        for id in ids:
            if (yield from locate(id)) is not None:
                raise _taken(id)
        made: dict[str, str] = {}
        sealing = bool(contents.blobs) and hasattr(core.backend, "vault")
        if not sealing:
            yield from _put_blobs(core, file, contents)
        try:
            for section, id in zip(sections, ids, strict=True):
                put = (
                    _put_sealed(core, file, section, id, made, contents)
                    if sealing
                    else _put(core, file, section, id, made)
                )
                made[section.header.session] = yield from put
        except GeneratorExit:
            raise
        except BaseException:
            yield from _removed(list(made.values()))
            raise
        finally:
            for id in ids:
                core.forget(id)
    return ids


def _put_blobs(core: Core, file: IO[bytes], contents: Contents) -> Steps[None]:
    """Large content comes first: what refers to it is never there without it. What is there already stays."""
    for header, start in contents.blobs.values():
        ref = Ref(header.sha256, header.size, "", BYTES)
        yield from core.blobs.save(ref, partial(content, file, start))


def _ids(sections: list[Section], name: str, new_id: str | None, prefix: str) -> list[str]:
    if new_id is not None:
        if len(sections) != 1:
            raise ValueError(f"{name} holds {len(sections)} sessions, which cannot all be {new_id!r}; give a prefix")
        return [checked_id(prefix + new_id)]
    return [checked_id(prefix + section.header.session) for section in sections]


def _taken(session: str) -> SessionExists:
    return SessionExists(
        f"session {session!r} is already there, and nothing was imported; give another id or a prefix, or delete it"
    )


def _put(core: Core, file: IO[bytes], section: Section, session: str, made: dict[str, str]) -> Steps[str]:
    """Makes one session; returns the path that holds it."""
    header = section.header
    shared, fork = _shared(core, header, made)
    batches = _batches(taken_in(message, core.rules) for message in messages(file, section))
    first = next(batches, ())
    second = next(batches, None)
    if second is None and (shared is None or fork is not None):
        create = Create(path_of(session), first, closed=header.sealed, fork=fork)
        if (yield from _created(create, session, header.incarnation)):
            return create.path
    staging = spare_path(fresh_id())
    try:
        yield from patiently(Create(staging, first if fork is not None or shared is None else (), fork=fork))
        writer = _Appender(staging)
        if shared is not None and fork is None:
            yield from _copied(shared[0], shared[1], writer)
            yield from writer.append(first)
        while second is not None:
            yield from writer.append(second)
            second = next(batches, None)
        return (yield from _shown(core, session, staging, header))
    except GeneratorExit:
        raise
    except BaseException:
        yield from _removed([staging])
        raise


def _shared(core: Core, header: Header, made: dict[str, str]) -> tuple[tuple[str, int] | None, ForkPoint | None]:
    """What a session shares with one that was made before, and how it can be made to."""
    if header.shares is None:
        return None, None
    shared = (made[header.shares.session], header.shares.events)
    return shared, ForkPoint(shared[0], START, shared[1]) if core.backend.traits.exact_forks else None


def _put_sealed(
    core: Core, file: IO[bytes], section: Section, session: str, made: dict[str, str], contents: Contents
) -> Steps[str]:
    """As `_put`, with the large content sealed: by the session's key, which there is when its first event is."""
    header = section.header
    shared, fork = _shared(core, header, made)
    staging = spare_path(fresh_id())
    every = (taken_in(message, core.rules) for message in messages(file, section))
    birth = next(every)
    try:
        yield from patiently(Create(staging, (birth,) if fork is not None or shared is None else (), fork=fork))
        writer = _Appender(staging)
        if shared is not None and fork is None:
            yield from _copied(shared[0], shared[1], writer)
            yield from writer.append((birth,))
        address = core.blobs.addresses((yield from _births(staging, header.shared)))
        for batch in _batches(every):
            yield from writer.append((yield from _sealed(core, file, contents, batch, address)))
        return (yield from _shown(core, session, staging, header))
    except GeneratorExit:
        raise
    except BaseException:
        yield from _removed([staging])
        raise


def _births(path: str, index: int) -> Steps[list[tuple[int, Birth]]]:
    """The birth that stands at `index` in a stream."""
    batch = yield from asked(Read(path))
    while len(batch.messages) <= index:
        index -= len(batch.messages)
        batch = yield from asked(Read(path, batch.offset))
    birth = declared_birth(read_event(batch.messages[index], index))
    return [(index, birth)] if birth is not None else []


def _sealed(
    core: Core, file: IO[bytes], contents: Contents, batch: tuple[bytes, ...], address: Address | None
) -> Steps[tuple[bytes, ...]]:
    """Messages that say where their large content is, when it is there."""
    found: list[bytes] = []
    for message in batch:
        refs = refs_in(message)
        for ref in refs:
            at = address(ref.sha256) if address is not None else None
            header, start = contents.blobs[ref.sha256]
            yield from core.blobs.save(Ref(ref.sha256, header.size, "", BYTES, at=at), partial(content, file, start))
        if refs and address is not None:
            message = codec.dumps(placed(codec.loads(message), address))
        found.append(message)
    return tuple(found)


def _created(create: Create, session: str, incarnation: str) -> Steps[bool]:
    """Makes the stream at the session's own path; False if that cannot be used. SessionExists if it is another's."""
    try:
        created, repeated = yield from patiently(create)
    except (StreamConflict, StreamGone):
        if (yield from locate(session)) is not None:
            raise _taken(session) from None
        return False
    if created.new:
        return True
    log = (yield from open_log(session)) if repeated else None
    if log is None or log.incarnation != incarnation:
        raise _taken(session)
    return True


def _shown(core: Core, session: str, staging: str, header: Header) -> Steps[str]:
    """Makes what was put together at `staging` the session, in one operation; returns the path that then holds it."""
    if core.backend.traits.exact_forks:
        create = Create(path_of(session), (), closed=header.sealed, fork=ForkPoint(staging, START, header.events))
        if (yield from _created(create, session, header.incarnation)):
            yield from _removed([staging])  # what it holds lives on in the fork
            return create.path
    if header.sealed:
        yield from patiently(Append(staging, (), close=True))
    if not (yield from point_at(session, staging)):
        raise _taken(session)
    return staging


def _copied(path: str, count: int, writer: _Appender) -> Steps[None]:
    """Appends the first `count` messages of the stream at `path`."""
    batch = yield from asked(Read(path))
    while True:
        body = batch.messages[:count]
        yield from writer.append(body)
        count -= len(body)
        if not count or batch.up_to_date:
            return
        batch = yield from asked(Read(path, batch.offset))


class _Appender:
    """Appends in order under a producer of its own, so that a lost answer can be asked for again."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._producer = Producer(fresh_id(), 0, 0)

    def append(self, body: tuple[bytes, ...]) -> Steps[None]:
        if body:
            yield from patiently(Append(self._path, body, producer=self._producer))
            self._producer = replace(self._producer, seq=self._producer.seq + 1)


def _batches(every: Iterator[bytes]) -> Iterator[tuple[bytes, ...]]:
    held: list[bytes] = []
    size = 0
    for message in every:
        if held and (len(held) == BATCH or size + len(message) > BATCH_BYTES):
            yield tuple(held)
            held, size = [], 0
        held.append(message)
        size += len(message)
    if held:
        yield tuple(held)


def _removed(paths: list[str]) -> Steps[None]:
    for path in reversed(paths):
        with contextlib.suppress(ProtocolError, StoreError):
            yield Delete(path)


@contextlib.contextmanager
def _reading(source: Source) -> Iterator[tuple[IO[bytes], str]]:
    """The file to read, which is read twice, and how messages call it."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield file, os.fspath(source)
        return
    if isinstance(source, io.TextIOBase):
        raise TypeError("an export is bytes: open the file with 'rb', or give its path")
    name = str(getattr(source, "name", "the file"))
    with tempfile.SpooledTemporaryFile(SPOOLED) as spool:
        while block := source.read(BATCH_BYTES):
            spool.write(block)
        spool.seek(0)
        yield spool, name
