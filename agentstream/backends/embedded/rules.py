"""Rules of the protocol that need no store: values in, a verdict out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from agentstream.backends.embedded.checking import instant, media_type, position_of
from agentstream.backends.embedded.records import Stream
from agentstream.backends.embedded.schema import FRAME
from agentstream.protocol.errors import InvalidRequest, SequenceGap, StaleEpoch
from agentstream.protocol.operations import NOW, Create, Producer

T = TypeVar("T")


def frames_of(json: bool, body: tuple[bytes, ...]) -> Iterable[tuple[int, bytes]]:
    """A body as frames: (count, bytes). Only a very large one is more than one, so that reading a page stays cheap."""
    if not json:
        joined = b"".join(body)
        for begin in range(0, len(joined), FRAME):
            piece = joined[begin : begin + FRAME]
            yield len(piece), piece
        return
    held: list[bytes] = []
    size = 0
    for message in body:
        value = message.strip(b" \t\r\n")
        if held and size + len(value) > FRAME:
            yield len(held), b",".join(held)
            held, size = [], 0
        held.append(value)
        size += len(value) + 1
    if held:
        yield len(held), b",".join(held)


def refuse_out_of_turn(path: str, producer: Producer, known: tuple[int, int] | None, *, closed: bool = False) -> None:
    """§5.2.1, for a request that is no duplicate."""
    if known is None:
        if producer.seq != 0:
            message = f"producer {producer.id!r} is new to stream {path!r} and begins with {producer.seq}, not 0"
            raise SequenceGap(message, expected=0, received=producer.seq)
        return
    epoch, seq = known
    if producer.epoch < epoch:
        message = f"producer {producer.id!r} of stream {path!r} has epoch {epoch}; {producer.epoch} was superseded"
        raise StaleEpoch(message, epoch=epoch, closed=closed)
    if producer.epoch > epoch:
        if producer.seq != 0:
            raise InvalidRequest(f"epoch {producer.epoch} of producer {producer.id!r} begins with sequence number 0")
    elif producer.seq != seq + 1:
        message = f"producer {producer.id!r} of stream {path!r} sent {producer.seq}; {seq + 1} is next"
        raise SequenceGap(message, expected=seq + 1, received=producer.seq)


def same_configuration(stream: Stream, operation: Create) -> bool:
    """Whether a `Create` asks for what is there (§5.1)."""
    point = operation.fork
    if (point.source if point else None) != stream.fork_source:
        return False
    if point is not None and point.offset != NOW and position_of(point.offset, 0) + point.skip != stream.fork_at:
        return False
    asked_type = operation.content_type or (stream.content_type if point else "application/octet-stream")
    if media_type(asked_type) != media_type(stream.content_type) or operation.closed != bool(stream.closed):
        return False
    if point is not None and operation.ttl is None and operation.expires_at is None:
        return True
    return operation.ttl == stream.ttl and _same(instant, operation.expires_at, stream.expires_at)


def _same(key: Callable[[str], T], one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one is other
    return key(one) == key(other)
