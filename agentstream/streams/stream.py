"""`Stream` and `AsyncStream`: one stream, as it is, over whichever backend keeps it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from agentstream.backends.driving import adrive, drive
from agentstream.streams.addresses import path_of
from agentstream.streams.core import StreamCore
from agentstream.streams.forking import fork
from agentstream.streams.items import AsyncItems, Items
from agentstream.streams.producer import AsyncProducer, Producer
from agentstream.streams.reading import Reader, position_of
from agentstream.streams.telling import said
from agentstream.streams.values import StreamPosition

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.streams.values import StreamCreated, StreamHead

T = TypeVar("T")

Live = Literal["sse", "long-poll"]
Start = StreamPosition | str | None


class _Face:
    """What both faces share."""

    def __init__(self, backend: Backend, address: str, content_type: str | None = None) -> None:
        self._backend = backend
        self._core = StreamCore(backend, path_of(address, backend.name), content_type)
        self._reading: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def path(self) -> str:
        """The stream's path, percent-encoded, below the client's place."""
        return self._core.path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r} of {self._backend.name!r})"

    def _fork(self, to: str, at: StreamPosition | str | None) -> Steps[None]:
        content_type = yield from self._core.content_type()
        yield from fork(self.path, to, None if at is None else position_of(at), content_type)

    def _reader(self, start: Start, live: bool = False, wait: float | None = None) -> Reader:
        return Reader(self._backend, self.path, position_of(start), live=live, wait=wait)

    def _live(self, live: Live | None) -> StreamCore | None:
        """The stream itself where it is followed by events, None where by waiting requests."""
        if live not in (None, "sse", "long-poll"):
            raise ValueError(f"live= is 'sse', 'long-poll' or None, not {live!r}")
        return self._core if live != "long-poll" and hasattr(self._backend, "follow") else None


class Stream(_Face):
    """One stream: `client.stream(path)`. Safe to share between threads; no I/O until something is asked of it.

    What is not there, or not any more, is NotFound; another configuration or content type is StreamConflict; a
    sealed stream is StreamClosed; a malformed offset is InvalidRequest; an answer that is cut short or changed is
    StoreError; a server that cannot be reached is Unavailable.
    """

    def create(
        self,
        content_type: str | None = None,
        *,
        values: Iterable[Any] = (),
        closed: bool = False,
        ttl: float | timedelta | None = None,
        expires_at: datetime | str | None = None,
    ) -> StreamCreated:
        """Makes the stream, with `values` in it. `content_type` is by default JSON.

        `ttl` (seconds) is renewed by each read and write, `expires_at` is final. On a stream that is there in the same
        configuration nothing is changed and nothing appended; in another one it is StreamConflict.
        """
        return self._drive(self._core.create(content_type, values, closed, ttl, expires_at))

    def append(self, value: Any, *, seq: str | None = None) -> StreamPosition:
        """Appends one value: any JSON value in a JSON stream (`msgspec.Raw` for JSON text), else bytes or text.

        Returns the position after it, once it is durable. It goes under a producer id of this object's own, so that it
        is there once also after a lost answer; it is Unavailable where nobody knows, when the server stays away. `seq`
        is the protocol's Stream-Seq: one that does not come after the last, byte by byte, is SequenceConflict.
        """
        return self._drive(self._core.append((value,), seq))

    def extend(self, values: Iterable[Any], *, seq: str | None = None) -> StreamPosition:
        """As `append`, for several values: all of them in one request, or none."""
        return self._drive(self._core.append(values, seq))

    def seal(self, *values: Any) -> StreamPosition:
        """Ends the stream for ever, with `values` as its last; returns its final position.

        Sealing again does nothing; with values it is StreamClosed.
        """
        return self._drive(self._core.append(values, None, close=True))

    def head(self) -> StreamHead:
        """Its content type, tail, closure, TTL and expiry; never extends its life."""
        return self._drive(self._core.head())

    def delete(self) -> None:
        """Deletes it. While forks of it live, its path cannot be used again."""
        self._drive(self._core.delete())

    def fork(self, to: str, *, at: StreamPosition | str | None = None) -> Stream:
        """A stream of its own at the path `to`, with what is before `at` (by default all there is).

        Where the server does not fork there exactly, what is before `at` is copied in one request.
        """
        forked = Stream(self._backend, to)
        self._drive(self._fork(forked.path, at))
        return forked

    def read(self, start: Start = None) -> Items:
        """What is there, from `start` on: a position, its text, "now", or None for the first item."""
        return self._items(Items(self._backend, self._reader(start), None))

    def follow(self, start: Start = None, *, live: Live | None = None, wait: float | None = None) -> Items:
        """What is there and what comes, reconnecting, until the stream is sealed.

        By server-sent events where there is a server (`live="long-poll"`: by waiting requests instead). `wait`: ends
        also after so many seconds without an item; `closed` then says that it was not the stream's end.
        """
        return self._items(Items(self._backend, self._reader(start, True, wait), self._live(live)))

    def producer(self, id: str | None = None, **options: Any) -> Producer:
        """Who appends to it in batches, each value there exactly once; see `Producer` for the options."""
        return Producer(self._core, id, **options)

    def close(self) -> None:
        """Releases the connections of what still reads from here. The stream goes on: `seal` would end it."""
        for items in list(self._reading):
            items.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _drive(self, steps: Steps[T]) -> T:
        return drive(said(steps), self._backend)

    def _items(self, items: Items) -> Items:
        self._reading.add(items)
        return items


class AsyncStream(_Face):
    """As `Stream`, with `await`; `read` and `follow` are iterated with `async for`."""

    async def create(
        self,
        content_type: str | None = None,
        *,
        values: Iterable[Any] = (),
        closed: bool = False,
        ttl: float | timedelta | None = None,
        expires_at: datetime | str | None = None,
    ) -> StreamCreated:
        """As `Stream.create`."""
        return await self._drive(self._core.create(content_type, values, closed, ttl, expires_at))

    async def append(self, value: Any, *, seq: str | None = None) -> StreamPosition:
        """As `Stream.append`."""
        return await self._drive(self._core.append((value,), seq))

    async def extend(self, values: Iterable[Any], *, seq: str | None = None) -> StreamPosition:
        """As `Stream.extend`."""
        return await self._drive(self._core.append(values, seq))

    async def seal(self, *values: Any) -> StreamPosition:
        """As `Stream.seal`."""
        return await self._drive(self._core.append(values, None, close=True))

    async def head(self) -> StreamHead:
        """As `Stream.head`."""
        return await self._drive(self._core.head())

    async def delete(self) -> None:
        """As `Stream.delete`."""
        await self._drive(self._core.delete())

    async def fork(self, to: str, *, at: StreamPosition | str | None = None) -> AsyncStream:
        """As `Stream.fork`."""
        forked = AsyncStream(self._backend, to)
        await self._drive(self._fork(forked.path, at))
        return forked

    def read(self, start: Start = None) -> AsyncItems:
        """As `Stream.read`."""
        return self._items(AsyncItems(self._backend, self._reader(start), None))

    def follow(self, start: Start = None, *, live: Live | None = None, wait: float | None = None) -> AsyncItems:
        """As `Stream.follow`."""
        return self._items(AsyncItems(self._backend, self._reader(start, True, wait), self._live(live)))

    def producer(self, id: str | None = None, **options: Any) -> AsyncProducer:
        """As `Stream.producer`; it belongs to the running event loop."""
        return AsyncProducer(self._core, id, **options)

    async def close(self) -> None:
        """As `Stream.close`."""
        for items in list(self._reading):
            await items.aclose()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def _drive(self, steps: Steps[T]) -> T:
        return await adrive(said(steps), self._backend)

    def _items(self, items: AsyncItems) -> AsyncItems:
        self._reading.add(items)
        return items
