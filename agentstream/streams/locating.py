"""Looking into a stream: what lies past an offset, and where a run of messages is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentstream.protocol.http import is_json
from agentstream.protocol.operations import Batch, Read
from agentstream.streams.bodies import likeness
from agentstream.streams.values import StreamPosition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstream.backends.driving import Steps


class Run(msgspec.Struct, frozen=True):
    """Where messages were found: they begin `skip` past `offset`; `end` is the position after the last."""

    offset: str
    skip: int
    end: StreamPosition


def taken(path: str, offset: str, count: int | None, content_type: str) -> Steps[tuple[tuple[bytes, ...], str]]:
    """At most `count` messages (bytes, as one block; None: all) past an offset, and the offset that reading came to."""
    json = is_json(content_type)
    found: list[bytes] = []
    while count is None or _size(found, json) < count:
        batch: Batch = yield Read(path, offset)
        found += batch.messages
        offset = batch.offset
        if batch.up_to_date or batch.closed:
            break
    blocks = tuple(found) if json else (b"".join(found),)
    cut = blocks if count is None else blocks[:count] if json else (blocks[0][:count],)
    return tuple(block for block in cut if block), offset


def _size(blocks: list[bytes], json: bool) -> int:
    return len(blocks) if json else sum(map(len, blocks))


def find(path: str, start: StreamPosition, messages: Sequence[bytes], content_type: str) -> Steps[Run | None]:
    """The first place from `start` on where these messages stand one after another; None if they are nowhere.

    Messages of a JSON stream are compared by what they mean: servers may write them anew.
    """
    search = _JsonSearch(messages) if is_json(content_type) else _ByteSearch(b"".join(messages))
    offset, counted = start.offset, 0
    drop = start.skip
    while True:
        batch: Batch = yield Read(path, offset)
        size = _size(list(batch.messages), is_json(content_type))
        after = search.feed(batch.messages, drop)
        if after is not None:
            whole = counted + after
            end = StreamPosition(batch.offset) if after == size else StreamPosition(start.offset, whole)
            return Run(start.offset, whole - search.size, end)
        counted += size
        drop = max(0, drop - size)
        if batch.up_to_date or batch.closed:
            return None
        offset = batch.offset


class _JsonSearch:
    """Told messages, says when a run was among them. Each run that has begun is a count of what fitted so far."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._wanted = [likeness(message) for message in messages]
        self._begun: list[int] = []
        self.size = len(self._wanted)

    def feed(self, messages: Sequence[bytes], drop: int) -> int | None:
        """How many of `messages` it took to complete the run, those to `drop` counted; None if it is not complete."""
        for number, message in enumerate(messages):
            if number < drop:
                continue
            like = likeness(message)
            self._begun = [count + 1 for count in (*self._begun, 0) if self._wanted[count] == like]
            if self._begun and self._begun[0] == self.size:
                return number + 1
        return None


class _ByteSearch:
    """The same for bytes, wherever they are cut."""

    def __init__(self, wanted: bytes) -> None:
        self._wanted = wanted
        self._kept = b""
        self.size = len(wanted)

    def feed(self, blocks: Sequence[bytes], drop: int) -> int | None:
        fresh = b"".join(blocks)[drop:]
        found = (self._kept + fresh).find(self._wanted)
        if found >= 0:
            return drop + found + self.size - len(self._kept)
        kept = self.size - 1
        self._kept = (self._kept + fresh)[-kept:] if kept else b""
        return None
