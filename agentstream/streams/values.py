"""What reading and asking a stream gives: positions, items, pages, and what is said of the stream itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, repeat
from typing import Any

import msgspec

from agentstream.protocol.operations import START


class StreamPosition(msgspec.Struct, frozen=True, order=False):
    """A cut in a stream: `skip` items (bytes, in a stream that is not JSON) past the server's `offset`.

    What is before it was read, what is after it comes next. `str()` and `parse` round-trip.
    """

    offset: str
    skip: int = 0

    def __str__(self) -> str:
        return f"{self.offset},{self.skip}" if self.skip else self.offset

    @classmethod
    def parse(cls, text: str) -> StreamPosition:
        """The position that `str()` wrote; a bare offset of a server is one too. ValueError for anything else.

        "0" is the beginning: clients write it so (the official suite does), and servers do not mint it.
        """
        offset, comma, skip = text.partition(",")
        if not offset or (comma and not (skip.isascii() and skip.isdigit())):
            raise ValueError(f"{text[:80]!r} is no position in a stream; use str(item.position) or a server's offset")
        return cls(START if offset == "0" else offset, int(skip or 0))


BEGINNING = StreamPosition(START)


class Page(msgspec.Struct, frozen=True, eq=False):
    """What came in one answer: iterating gives its items.

    `position` is after its last item. `up_to_date`: there was no more just then; only `closed` is the end. A page
    of a live read may be empty, and then says just that.
    """

    blocks: tuple[bytes, ...]
    position: StreamPosition
    up_to_date: bool
    closed: bool
    json: bool
    start: StreamPosition

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Item]:
        return map(Item, self.blocks, repeat(self), count())

    def after(self, number: int) -> StreamPosition:
        """The position after item `number` of the page."""
        if number == len(self.blocks) - 1:
            return self.position
        count = number + 1 if self.json else sum(map(len, self.blocks[: number + 1]))
        return StreamPosition(self.start.offset, self.start.skip + count)


_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


class Item(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One message of a JSON stream, or a block of bytes of another one, as it came: `data` is its bytes."""

    data: bytes
    _page: Page
    _number: int

    @property
    def value(self) -> Any:
        """The JSON value; of a stream that is not JSON the bytes themselves."""
        return _decode(self.data) if self._page.json else self.data

    @property
    def text(self) -> str:
        """The bytes as UTF-8 text; what is none is replaced (a block may end within a letter)."""
        return self.data.decode("utf-8", "replace")

    @property
    def position(self) -> StreamPosition:
        """Where reading goes on after this item."""
        return self._page.after(self._number)

    def __repr__(self) -> str:
        return f"Item({self.data[:60]!r}{'…' if len(self.data) > 60 else ''}, position={str(self.position)!r})"


class StreamHead(msgspec.Struct, frozen=True):
    """What is said of a stream. `position` is its tail, `ttl` in seconds, `expires_at` as RFC 3339."""

    content_type: str
    position: StreamPosition
    closed: bool = False
    ttl: int | None = None
    expires_at: str | None = None


class StreamCreated(msgspec.Struct, frozen=True):
    """`new` is False where the stream was there already, in the same configuration. `position` is its tail."""

    new: bool
    position: StreamPosition
    closed: bool = False
