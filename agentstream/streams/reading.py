"""Reading a stream, page by page, from any position. No I/O here: steps, and what they found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentstream.protocol.http import is_json
from agentstream.protocol.operations import NOW, Batch, Follow, Head, Read
from agentstream.streams.values import BEGINNING, Page, StreamPosition

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

WAIT = 20.0
"""Seconds of one waiting read; who waits longer asks again."""


def position_of(start: object) -> StreamPosition:
    """Where a user wants to begin: None is the first item, "now" only what comes, else a position or its text."""
    if start is None:
        return BEGINNING
    if isinstance(start, StreamPosition):
        return start
    if isinstance(start, str):
        return StreamPosition.parse(start)
    raise TypeError(f"start= is a StreamPosition, its text, 'now' or None, not {start!r}")


class Reader:
    """A place in a stream that moves on with what is read. `wait`: seconds without an item that end a live read."""

    def __init__(
        self, backend: Backend, path: str, start: StreamPosition, *, live: bool = False, wait: float | None = None
    ) -> None:
        self.position = start
        self.up_to_date = False
        self.closed = False
        self.wait = wait
        self._path = path
        self._live = live
        self._skips = backend.traits.skips
        self._json: bool | None = None
        self._heard = time.monotonic()

    def next(self) -> Steps[Page | None]:
        """The next page; None where reading ends: at the closure, and if it is not live, at the tail."""
        if self.closed or (self.up_to_date and not self._live):
            return None
        wait: float | None = None
        if self.up_to_date:
            wait = min(self.left(), WAIT)
            if wait <= 0:
                return None
        offset, skip = self.position.offset, self.position.skip
        operation = Read(self._path, offset, skip if self._skips else 0, wait=wait)
        if wait is None and offset == NOW:
            operation = replace(operation, skip=0)
        batch: Batch = yield operation
        return (yield from self._took(batch, skip if self._skips else 0))

    def left(self) -> float:
        """Seconds until nothing more is waited for."""
        return float("inf") if self.wait is None else self._heard + self.wait - time.monotonic()

    def follow(self) -> Follow:
        """What asks for the rest as it comes."""
        return Follow(self._path, self.position.offset)

    def _took(self, batch: Batch, skipped: int) -> Steps[Page]:
        if batch.content_type is not None:
            self._json = is_json(batch.content_type)
        elif self._json is None and batch.messages:
            info = yield Head(self._path)
            self._json = is_json(info.content_type)
        return self.took(batch, skipped)

    def typed(self, content_type: str) -> None:
        """Notes what kind of stream it is."""
        self._json = is_json(content_type)

    def took(self, batch: Batch, skipped: int = 0) -> Page:
        """Goes on after what came from the place's offset; `skipped` of it the backend left out itself."""
        json = bool(self._json)
        offset, skip = self.position.offset, self.position.skip - skipped
        blocks = batch.messages
        size = len(blocks) if json else sum(map(len, blocks))
        start = StreamPosition(offset, skipped)
        if skip:
            dropped = min(skip, size)
            blocks = blocks[dropped:] if json else _without(blocks, dropped)
            start = StreamPosition(offset, skipped + dropped)
            skip -= dropped
        if not skip:
            self.position = StreamPosition(batch.offset)
        elif size:
            self.position = StreamPosition(batch.offset, skip)
        self.up_to_date = batch.up_to_date or batch.closed
        self.closed = batch.closed
        if blocks:
            self._heard = time.monotonic()
        return Page(blocks, self.position, self.up_to_date, self.closed, json, start)


def _without(blocks: tuple[bytes, ...], count: int) -> tuple[bytes, ...]:
    """The blocks without their first `count` bytes."""
    left: list[bytes] = []
    for block in blocks:
        if count < len(block):
            left.append(block[count:])
        count = max(0, count - len(block))
    return tuple(left)
