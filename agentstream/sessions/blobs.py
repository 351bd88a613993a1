"""Blobs: large content in streams of its own, named by its SHA-256, written once for every session of a store.

A blob is the stream `~b/<sha256>` of bytes. It counts only when it is closed, and it is closed by the
append of its last chunk. Chunks have one size and are numbered (Stream-Seq, §5.2), so that of two
who write the same blob each chunk is taken once, a torn upload is gone on with by the next who
wants it, and a lost answer can be asked for again. Where that leaves a doubt the content is read back.

Who finds a blob there uses it, and says so first (`touch`): a collection (`retention.py`) leaves
alone what was written or touched of late, and looks again under the lease `COLLECTING` before it
deletes. Who touches waits while that is held, and looks whether the blob is still there: of the
two at least one sees the other.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agentstream.backends.base import LeaseHeld
from agentstream.backends.driving import Call, Sleep, adrive, drive
from agentstream.errors import BlobLost, StoreError
from agentstream.protocol.errors import (
    SequenceConflict,
    StreamClosed,
    StreamConflict,
    StreamGone,
    StreamNotFound,
)
from agentstream.protocol.operations import START, Append, Batch, Create, Delete, Read
from agentstream.sessions.encryption.refusals import no_key
from agentstream.sessions.patience import asked, patiently
from agentstream.sessions.references import Ref

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.births import Birth

BYTES = "application/octet-stream"
CHUNK = 1 << 20
"""Bytes of an append of a blob. Part of the stored form: chunks are told apart by their number alone."""

PAGE = 4
"""Blocks that one read takes: at most four chunks where a server gives whole appends, a megabyte where not."""

BLOBS = "~b/"
TOUCHES = "~b-used/"
COLLECTING = ("~b", "collecting")
"""Path and token of the lease that a collection holds while it deletes blobs."""

SURE_FOR = 3600.0
"""Seconds for which a blob that was written or touched is known to stay; far less than a collection leaves alone."""

CACHED = 32 << 20
"""Bytes of values kept as they were read, so that what is asked for again at once is not read again."""

TRIES = 5
COLLECTION_PAUSE = 0.05

Address = Callable[[str], "str | None"]
"""Where content of a SHA-256 is kept, if not under that."""

ReadAt = Callable[[int, int], Any]
"""Gives so many bytes from a place of the content on (an awaitable of them, where it is read in an event loop)."""


def path_of(ref: Ref) -> str:
    """The stream that holds the content. Nothing else in the library says where a blob is."""
    return BLOBS + ref.address


def touch_path(address: str) -> str:
    """The stream that says when somebody last relied on a blob that was there."""
    return TOUCHES + address


class Blobs:
    """The blobs of one store; one per client, safe to share between threads and loops."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._sure: OrderedDict[str, float] = OrderedDict()
        self._cache: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._cached = 0

    def addresses(self, births: Sequence[tuple[int, Birth]]) -> Address | None:
        """Where a session (by its births) keeps content: None is under its SHA-256, as long as it is not encrypted."""
        named = getattr(self._backend, "address", None)
        key = births[-1][1].encrypted if births else None
        if named is None or key is None:
            return None
        return lambda digest: f"{named(key, digest)}.{key}"

    # --- writing -----------------------------------------------------------------------------------------------------

    def is_sure(self, address: str) -> bool:
        """Whether this client wrote or touched the blob so lately that it needs no look."""
        with self._lock:
            return time.monotonic() < self._sure.get(address, 0.0)

    def _be_sure(self, address: str) -> None:
        with self._lock:
            self._sure[address] = time.monotonic() + SURE_FOR
            self._sure.move_to_end(address)
            while len(self._sure) > 10_000:
                self._sure.popitem(last=False)

    def forget(self, address: str) -> None:
        """A collection removes it."""
        with self._lock:
            self._sure.pop(address, None)

    def save(self, ref: Ref, read: ReadAt) -> Steps[None]:
        """Makes sure that the blob is there, durable and whole; `read` gives the content, also more than once.

        Raises StoreError where it cannot be kept, ValueError where the content is not what `ref` says.
        """
        if self.is_sure(ref.address):
            return
        path = path_of(ref)
        for _ in range(TRIES):
            try:
                found = yield from _put(path, ref, read)
                if found != "new":
                    yield from self._touch(ref.address)
                    if not (yield from self._holds(path, ref, whole=found == "doubtful")):
                        yield from patiently(Delete(path))  # torn in a way that cannot be gone on with
                        continue
            except (StreamNotFound, StreamGone):
                continue  # it was removed meanwhile
            self._be_sure(ref.address)
            return
        raise StoreError(
            f"{self._backend.name}: content of {ref.size} bytes ({ref.sha256[:12]}…) cannot be kept: its stream {path} "
            "is never what was written. Try again"
        )

    def rely(self, ref: Ref) -> Steps[None]:
        """For a reference whose content somebody else wrote: makes sure that it is there and stays. Raises BlobLost."""
        if self.is_sure(ref.address):
            return
        yield from self._touch(ref.address)
        there = yield from self._holds(path_of(ref), ref, whole=False)
        if not there and ref.at is not None:  # what was imported is not where it was
            there = yield from self._holds(BLOBS + ref.sha256, ref, whole=True)
        if not there:
            raise lost(ref, "is not in this store; attach it to this session")
        self._be_sure(ref.address)

    def copy(self, source: Ref, ref: Ref) -> Steps[None]:
        """As `save`, for content that is kept somewhere else in this store. Raises BlobLost."""
        yield from self.save(ref, _Copying(self, source).read)

    def _touch(self, address: str) -> Steps[None]:
        """Says that the blob is in use, so that no collection that has not begun yet removes it."""
        path = touch_path(address)
        for _ in range(TRIES):
            try:
                yield from patiently(Create(path, content_type=BYTES))
                yield from patiently(Append(path, (b".",), BYTES))
                break
            except StreamNotFound:
                continue
        while self._backend.traits.lists and (yield LeaseHeld(*COLLECTING)):
            yield Sleep(COLLECTION_PAUSE)

    def _holds(self, path: str, ref: Ref, *, whole: bool) -> Steps[bool]:
        """Whether the stream is closed and of the right size; with `whole` (or where that cannot be seen) all of it."""
        try:
            if whole or ref.at is not None or not self._backend.traits.skips:  # what is sealed has another size
                digest = sha256()
                size, closed = yield from _each(path, digest.update)
                return closed and size == ref.size and digest.hexdigest() == ref.sha256
            page: Batch = yield from asked(Read(path, START, skip=max(ref.size - 1, 0), limit=1))
            return page.closed and sum(map(len, page.messages)) == min(ref.size, 1)
        except (StreamNotFound, StreamGone):
            return False

    # --- reading -----------------------------------------------------------------------------------------------------

    def reading(self, ref: Ref) -> Reading:
        """The content page by page. Raises Locked for sealed content where there is no key."""
        if ref.at is not None and "." in ref.at and not hasattr(self._backend, "address"):
            raise no_key(f"content {ref.sha256[:12]}…")
        return Reading(ref)

    def content(self, ref: Ref) -> Steps[bytes]:
        """All bytes of a blob. Raises BlobLost where it is gone or damaged."""
        parts: list[bytes] = []
        reading = self.reading(ref)
        while (page := (yield from reading.next())) is not None:
            parts += page
        return b"".join(parts)

    def pieces(self, ref: Ref) -> Iterator[bytes]:
        """The bytes of a blob piece by piece. Raises BlobLost."""
        reading = self.reading(ref)
        while (page := drive(reading.next(), self._backend)) is not None:
            yield from page

    async def apieces(self, ref: Ref) -> AsyncIterator[bytes]:
        """As `pieces`, in an event loop."""
        reading = self.reading(ref)
        while (page := await adrive(reading.next(), self._backend)) is not None:
            for piece in page:
                yield piece

    # --- values that were read ---------------------------------------------------------------------------------------

    def value(self, ref: Ref, decoded: Callable[[bytes], Any]) -> Any:
        """What `decoded` makes of a blob, read now where nobody has just read it."""
        return drive(self.fetched(ref, decoded), self._backend)

    def fetched(self, ref: Ref, decoded: Callable[[bytes], Any]) -> Steps[Any]:
        """As `value`, as steps: for who can wait without blocking others."""
        name = (ref.address, ref.encoding)
        with self._lock:
            if name in self._cache:
                self._cache.move_to_end(name)
                return self._cache[name][0]
        made = decoded((yield from self.content(ref)))
        with self._lock:
            if name not in self._cache:
                self._cache[name] = (made, ref.size)
                self._cached += ref.size
            while self._cached > CACHED and len(self._cache) > 1:
                self._cached -= self._cache.popitem(last=False)[1][1]
        return made


class _Copying:
    """The content of a blob in pieces of any size, one after another, and again from its start."""

    def __init__(self, blobs: Blobs, ref: Ref) -> None:
        self._blobs, self._ref = blobs, ref
        self._begin()

    def _begin(self) -> None:
        self._pieces = self._blobs.pieces(self._ref)
        self._held, self._place = b"", 0

    def read(self, place: int, size: int) -> bytes:
        if place != self._place:
            self._begin()
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        found, self._held = self._held[:size], self._held[size:]
        self._place += len(found)
        return found


def lost(ref: Ref, what: str) -> BlobLost:
    return BlobLost(
        f"content of {ref.size} bytes ({ref.type}, sha256 {ref.sha256[:12]}…) {what}",
        sha256=ref.sha256,
    )


def _put(path: str, ref: Ref, read: ReadAt) -> Steps[str]:
    """Writes a blob. "new": it is there and all of it ours; "there": it was; "doubtful": others wrote it too."""
    if ref.size <= CHUNK:
        chunk: bytes = yield Call(partial(read, 0, ref.size))
        _check(ref, sha256(chunk), ref.size - len(chunk))
        try:
            created, _ = yield from patiently(Create(path, (chunk,) if chunk else (), BYTES, closed=True))
            return "new" if created.new else "there"
        except StreamConflict:
            return "doubtful"  # whatever it is, it is not closed
    try:
        created, repeated = yield from patiently(Create(path, (), BYTES))
    except StreamConflict:
        return "there"
    contended = not created.new or repeated
    digest, done, number = sha256(), 0, 0
    while done < ref.size:
        chunk = yield Call(partial(read, done, min(CHUNK, ref.size - done)))
        digest.update(chunk)
        done += len(chunk)
        last = done >= ref.size or not chunk
        if last:
            _check(ref, digest, ref.size - done)
        try:
            _, repeated = yield from patiently(Append(path, (chunk,), BYTES, seq=f"{number:08d}", close=last))
            contended = contended or repeated
        except SequenceConflict:
            contended = True  # somebody wrote it before
        except StreamClosed:
            return "doubtful"
        number += 1
    return "doubtful" if contended else "new"


def _check(ref: Ref, digest: Any, missing: int) -> None:
    if missing or digest.hexdigest() != ref.sha256:
        raise ValueError(
            f"{ref.name or 'the content'} changed while it was read: it is not the {ref.size} bytes that it was. "
            "Attach it again"
        )


def _each(path: str, take: Callable[[bytes], Any]) -> Steps[tuple[int, bool]]:
    """Gives the bytes of a stream to `take`; returns how many there are, and whether it is closed."""
    size, offset = 0, START
    while True:
        page: Batch = yield from asked(Read(path, offset, limit=PAGE))
        for piece in page.messages:
            take(piece)
            size += len(piece)
        if page.up_to_date or page.closed:
            return size, page.closed
        offset = page.offset


class Reading:
    """A blob being read to its end, and checked there."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._path = path_of(ref)
        self._offset = START
        self._left = ref.size
        self._digest = sha256()
        self._over = False

    def next(self) -> Steps[tuple[bytes, ...] | None]:
        """The next pieces; None after the last ones, when all of them were what they should be."""
        if self._over:
            return None
        try:
            page: Batch = yield from asked(Read(self._path, self._offset, limit=PAGE))
        except (StreamNotFound, StreamGone):
            if self._offset == START and self._path != BLOBS + self._ref.sha256:
                self._path = BLOBS + self._ref.sha256  # what was imported is not where it was
                return (yield from self.next())
            raise lost(self._ref, "is not in the store any more: its stream was deleted") from None
        for piece in page.messages:
            self._left -= len(piece)
            self._digest.update(piece)
        self._offset = page.offset
        if self._left < 0 or (page.up_to_date and not page.closed) or (page.closed and self._left):
            raise lost(self._ref, "is damaged: its stream is not whole")
        if page.closed:
            if self._digest.hexdigest() != self._ref.sha256:
                raise lost(self._ref, "is damaged: its bytes are not those that were recorded")
            self._over = True
        return page.messages


def discard(address: str) -> Steps[None]:
    """Removes a blob and what was said of its use."""
    for path in (BLOBS + address, touch_path(address)):
        with suppress(StreamNotFound, StreamGone):
            yield from patiently(Delete(path))
