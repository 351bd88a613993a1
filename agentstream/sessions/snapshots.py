"""The stored form of snapshots: what opening a long session needs of its first events.

A session at the path `p` has its snapshots in the stream `~snap/p`, a chain of records. Each
is about the events that came after the one before it: hashes of their types and keys, their
marks, where list elements stand. With that it says what was so at its end (`Live`): the runs
that can go on, labels, claims, where reading goes on. So all of them together grow with the
session, as each is written once.

A snapshot is a cache. A record that is damaged, of another version, out of its place in the
chain, or of events that are not (or no longer) in the session, is as good as none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from msgspec.structs import replace

from agentstream.errors import AgentStreamError
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import START, Read
from agentstream.sessions.births import Birth, birth_of
from agentstream.sessions.counting import Count
from agentstream.sessions.events import Event, Origin, Page, read_event
from agentstream.sessions.history import Head, Mark, Names, Part, Span
from agentstream.sessions.patience import asked

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.history import Reader

VERSION = 1
MAGIC = b"agsn"
_HEADER = Struct("<4sHIQ")
"""Before each record: what it is, its version, checksum and length."""

DAMAGED = 1 << 62
"""In the place of the bytes of a stream that holds what cannot be read: it is too large to be gone on with."""

EVERY = 1000
"""Events after the last snapshot that are worth another one."""

SNAPSHOTS = "~snap/"


BYTES = "application/octet-stream"
"""What is kept is no JSON; a server does not look into it."""


def snapshot_path(path: str, key: str | None = None) -> str:
    """The stream with the snapshots of the session that is kept at a path; of an encrypted one, by its key's id."""
    return SNAPSHOTS + path + (f".{key}" if key is not None else "")


def session_path(path: str) -> tuple[str, ...]:
    """The paths of sessions whose snapshots may be in the stream at `path`: it may end in the id of a key."""
    rest = path[len(SNAPSHOTS) :]
    bare, dot, key = rest.rpartition(".")
    return (rest, bare) if dot and len(key) == 16 else (rest,)


def key_of(births: Iterable[Event]) -> tuple[bool, str | None]:
    """Whether a session with these births may have snapshots, and the id of the key that they are encrypted with.

    What is encrypted with two keys has none: one of them may be forgotten, and the other open what it kept.
    """
    keys = {_key(event) for event in births if birth_of(event) is not None}
    return len(keys) == 1, next(iter(keys), None)


def _key(birth: Event) -> str | None:
    key = birth.value.get("encrypted")
    return key if isinstance(key, str) else None


class Live(msgspec.Struct, frozen=True, array_like=True):
    """What was so at the end of a record."""

    session: str
    incarnation: str
    offset: str
    """Where reading goes on."""
    last: bytes
    """What the last event is known by."""
    stitched: int
    depth: int
    highest: int
    held: bool
    replaced: list[str]
    kept: list[tuple[int, bytes]]
    """Events that opening needs, by index."""
    firsts: dict[str, int]
    usage: dict[str, int | float]


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot adds about the events from `start` to `stop`."""

    start: int
    stop: int
    before: int
    """The checksum of the record before it."""
    names: bytes
    """Hashes of types and keys that are taken, sorted, and with `places` where each stands, counted from `start`."""
    places: bytes
    others: bytes
    """The same of events that are marked."""
    other_places: bytes
    marks: list[Mark]
    spans: list[Span]
    roots: bytes
    live: Live | None = None


class Chained(msgspec.Struct, frozen=True):
    """A record, what the next one knows it by, and how far it is into the stream, in bytes."""

    record: Record
    crc: int
    bytes: int


_record = msgspec.msgpack.Decoder(Record).decode


def digest(raw: bytes) -> bytes:
    """What an event is known by."""
    return blake2b(raw, digest_size=16).digest()


def write_record(record: Record) -> tuple[bytes, int]:
    """What is stored for a record, and its checksum."""
    body = msgspec.msgpack.encode(record)
    crc = crc32(body)
    return _HEADER.pack(MAGIC, VERSION, crc, len(body)) + body, crc


def read_chain(path: str, first: Event) -> Steps[list[Chained]]:
    """The records for the session kept at a path, as far as they make a chain; `first` is its first event."""
    blocks: list[bytes] = []
    offset = START
    try:
        while True:
            batch = yield from asked(Read(snapshot_path(path, _key(first)), offset))
            blocks += batch.messages
            if batch.up_to_date or batch.closed:
                break
            offset = batch.offset
    except (ProtocolError, AgentStreamError):
        return []
    return chained(blocks[0] if len(blocks) == 1 else b"".join(blocks))


def chained(stored: bytes) -> list[Chained]:
    """The records that make a chain. What does not fit into it was written by another at the same time, and is left
    out; what comes after a damaged place is not looked for, and the next snapshot is written anew."""
    found: list[Chained] = []
    at, view = 0, memoryview(stored)
    while at < len(stored):
        end = at + _HEADER.size
        magic, version, told, size = _HEADER.unpack_from(stored, at) if end <= len(stored) else (b"", 0, 0, 0)
        body = view[end : end + size]
        sound = (magic, version, told, size) == (MAGIC, VERSION, crc32(body), len(body))
        record = _read(body) if sound else None
        if record is None:
            return [*found[:-1], replace(found[-1], bytes=DAMAGED)] if found else []
        at = end + size
        stop, before = (found[-1].record.stop, found[-1].crc) if found else (0, 0)
        if (record.start, record.before) == (stop, before):
            found.append(Chained(record, told, at))
    return found


def _read(body: memoryview) -> Record | None:
    try:
        record = _record(body)
    except msgspec.MsgspecError:
        return None
    return record if _is_sound(record) else None


def _is_sound(record: Record) -> bool:
    count, live = record.stop - record.start, record.live
    return (
        0 <= record.start < record.stop
        and _fits(record.names, record.places, count)
        and _fits(record.others, record.other_places, count)
        and len(record.roots) % 8 == 0
        and all(record.start <= first and 0 < n <= record.stop - first for first, n, _ in record.marks)
        and all(record.start <= span[0] < record.stop for span in record.spans)
        and (live is None or all(0 <= index < record.stop for index, _ in live.kept))
        and (live is None or all(0 <= index < record.stop for index in live.firsts.values()))
    )


def _fits(hashes: bytes, places: bytes, count: int) -> bool:
    return len(hashes) == 2 * len(places) <= 8 * count and len(places) % 4 == 0


def live_chain(chain: list[Chained]) -> list[Chained]:
    """A chain up to the last record that says what was so at its end."""
    return chain[: max((n for n, each in enumerate(chain, 1) if each.record.live is not None), default=0)]


def told_by(records: list[Record], origin: Origin, reader: Reader, backend: Backend) -> tuple[Head, Count] | None:
    """The head that a chain stands for, and the count to go on with; None if it does not hang together."""
    live = records[-1].live
    assert live is not None
    page = Page(origin)
    kept = [read_event(raw, index, page) for index, raw in live.kept]
    births = list(_births(kept))
    if not births or births[-1][1].incarnation != live.incarnation:
        return None
    claims = [event for event in kept if event.type == "claim"]
    head = Head(
        records[-1].stop,
        kept=kept,
        names=Names([Part(record.start, record.names, record.places) for record in records]),
        others=Names([Part(record.start, record.others, record.other_places) for record in records]),
        marks=[mark for record in records for mark in record.marks],
        spans=[span for record in records for span in record.spans],
        roots=frozenset(root for record in records for root in memoryview(record.roots).cast("Q")),
        firsts=live.firsts,
        usage=dict[str, Any](live.usage),
        reader=reader,
        backend=backend,
    )
    count = Count(
        base=head.size,
        births=births,
        claims=claims,
        highest=live.highest,
        held=live.held,
        replaced=frozenset(live.replaced),
    )
    return head, count


def _births(events: Iterable[Event]) -> Iterator[tuple[int, Birth]]:
    for event in events:
        birth = birth_of(event)
        if birth is not None:
            yield event.index, birth
