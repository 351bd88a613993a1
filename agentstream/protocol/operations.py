"""The Durable Streams Protocol as values: one frozen operation each, with one result type.

A backend executes them; nothing here does I/O. Section numbers are of PROTOCOL.md
(draft 1.0). Offsets are opaque: `START` reads from the beginning, `NOW` from the tail,
any other was minted by the stream's keeper.
"""

from __future__ import annotations

import msgspec

START = "-1"
NOW = "now"
JSON = "application/json"


class Producer(msgspec.Struct, frozen=True, gc=False):
    """An idempotent producer's place (§5.2.1): `seq` counts appends, a higher `epoch` fences lower ones."""

    id: str
    epoch: int
    seq: int


class ForkPoint(msgspec.Struct, frozen=True):
    """Where a fork leaves its source (§4.2): `skip` messages (JSON) or bytes past `offset`."""

    source: str
    offset: str = START
    skip: int = 0


class Create(msgspec.Struct, frozen=True):
    """PUT (§5.1). `body` is messages for a JSON stream, blocks of bytes otherwise.

    On a path that is already there with the same configuration the body is not appended.
    """

    path: str
    body: tuple[bytes, ...] = ()
    content_type: str = JSON
    closed: bool = False
    ttl: int | None = None
    expires_at: str | None = None
    fork: ForkPoint | None = None


class Created(msgspec.Struct, frozen=True):
    """`new` tells 201 from 200; `offset` is the stream's tail."""

    new: bool
    offset: str
    closed: bool = False


class Append(msgspec.Struct, frozen=True, gc=False):
    """POST (§5.2): every message of `body`, in order, all or nothing. `close` ends the stream for ever (§4.1)."""

    path: str
    body: tuple[bytes, ...] = ()
    content_type: str = JSON
    producer: Producer | None = None
    seq: str | None = None
    close: bool = False


class Appended(msgspec.Struct, frozen=True, gc=False):
    """`duplicate`: the producer's request was applied before; then `offset` is unknown (None).

    `repeated`: the backend asked more than once, so it may be its own first try that was applied; `duplicate` is
    then False, because nobody else needs to have written. `last_seq` of a duplicate: the producer's last request that
    was applied, where the keeper says it.
    """

    offset: str | None
    duplicate: bool = False
    closed: bool = False
    repeated: bool = False
    last_seq: int | None = None


class Read(msgspec.Struct, frozen=True):
    """GET (§5.5, §5.6): what lies `skip` messages past `offset`, one page of at most `limit` messages.

    With `wait` (seconds) a read at the tail waits for data, closure, or the time to pass.
    `etag` and `cursor` give back what a page said, for caches on the way (§8); a backend may ignore them.
    """

    path: str
    offset: str = START
    skip: int = 0
    limit: int | None = None
    wait: float | None = None
    etag: str | None = None
    cursor: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """A page: `offset` is where reading goes on after its last message. Only `closed` means the end.

    `life` tells the stream from others at the same path before or after it, where its keeper knows.
    `unchanged`: what was read under `Read.etag` is still so, and no message is repeated (304).
    """

    messages: tuple[bytes, ...]
    offset: str
    up_to_date: bool
    closed: bool = False
    life: str | None = None
    etag: str | None = None
    cursor: str | None = None
    content_type: str | None = None
    unchanged: bool = False


class Follow(msgspec.Struct, frozen=True):
    """GET with `live=sse` (§5.8): what lies past `offset` and what comes, as a series of pages.

    No operation that a backend's `execute` answers: the result goes on until the connection ends.
    """

    path: str
    offset: str = START
    cursor: str | None = None


class Head(msgspec.Struct, frozen=True):
    """HEAD (§5.4): metadata; never extends a stream's TTL."""

    path: str


class StreamInfo(msgspec.Struct, frozen=True):
    """`offset` is the tail."""

    content_type: str
    offset: str
    closed: bool = False
    ttl: int | None = None
    expires_at: str | None = None


class Delete(msgspec.Struct, frozen=True):
    """DELETE (§5.3): soft while forks of the stream live. The result is None."""

    path: str


Operation = Create | Append | Read | Head | Delete
Result = Created | Appended | Batch | StreamInfo | None
