"""Iterating over a stream: `Items` and `AsyncItems`, which say where they are and whether the stream has ended."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

from agentstream.backends.driving import adrive, drive
from agentstream.streams.telling import said, telling
from agentstream.streams.values import Item

if TYPE_CHECKING:
    from types import TracebackType

    from agentstream.backends.base import Backend
    from agentstream.streams.core import StreamCore
    from agentstream.streams.reading import Reader
    from agentstream.streams.values import Page, StreamPosition


class _Place:
    def __init__(self, backend: Backend, reader: Reader, live: StreamCore | None) -> None:
        self._backend: Any = backend
        self._reader = reader
        self._live = live
        """The stream that is followed by events; None where pages are asked for one by one."""
        self._item: Item | None = None

    @property
    def position(self) -> StreamPosition:
        """Where reading goes on after the last item that was handed out."""
        return self._item.position if self._item is not None else self._reader.position

    @property
    def closed(self) -> bool:
        """Whether the stream's end was reached: it was sealed, and nothing can come any more."""
        return self._reader.closed and (self._item is None or self._item.position == self._reader.position)

    @property
    def up_to_date(self) -> bool:
        """Whether the last page reached the tail as it was then."""
        return self._reader.up_to_date


class Items(_Place):
    """The items of a stream, in order; ends at the tail (`read`) or only when the stream is sealed (`follow`).

    `closed` says whether it was the end. Leaving it early releases its connection with `close()` or `with`.
    """

    _found: Generator[Any, None, None] | None = None

    def __iter__(self) -> Iterator[Item]:
        if self._found is None:
            self._found = self._each()
        return self._found  # and not self: a call less for each item

    def __next__(self) -> Item:
        if self._found is None:
            self._found = self._each()
        return next(self._found)

    def _each(self) -> Generator[Item, None, None]:
        with contextlib.closing(self._pages()) as pages:
            for page in pages:
                for item in page:
                    self._item = item
                    yield item

    def pages(self) -> Iterator[Page]:
        """The same as it comes: one page for each answer of the server. In place of iterating, not beside it."""
        self._found = self._pages()
        return self._found

    def _pages(self) -> Generator[Page, None, None]:
        reader = self._reader
        with telling():
            if self._live is None:
                while (page := drive(said(reader.next()), self._backend)) is not None:
                    yield page
                return
            content_type = drive(self._live.content_type(), self._backend)
            reader.typed(content_type)
            live = self._backend.follow(reader.follow(), content_type, reader.wait)
            with contextlib.closing(live):
                for batch in live:
                    yield reader.took(batch)
                    if reader.left() <= 0:
                        return

    def close(self) -> None:
        """Ends reading and releases its connection."""
        if self._found is not None:
            self._found.close()

    def __enter__(self) -> Items:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class AsyncItems(_Place):
    """As `Items`, with `async for`; leave it early with `await items.aclose()` or `async with`."""

    _found: AsyncGenerator[Any, None] | None = None

    def __aiter__(self) -> AsyncIterator[Item]:
        if self._found is None:
            self._found = self._each()
        return self._found

    async def __anext__(self) -> Item:
        if self._found is None:
            self._found = self._each()
        return await self._found.__anext__()

    async def _each(self) -> AsyncGenerator[Item, None]:
        async with contextlib.aclosing(self._pages()) as pages:
            async for page in pages:
                for number, data in enumerate(page.blocks):
                    self._item = item = Item(data, page, number)
                    yield item

    def pages(self) -> AsyncIterator[Page]:
        """As `Items.pages`."""
        self._found = self._pages()
        return self._found

    async def _pages(self) -> AsyncGenerator[Page, None]:
        reader = self._reader
        with telling():
            if self._live is None:
                while (page := await adrive(said(reader.next()), self._backend)) is not None:
                    yield page
                return
            content_type = await adrive(self._live.content_type(), self._backend)
            reader.typed(content_type)
            live = self._backend.afollow(reader.follow(), content_type, reader.wait)
            async with contextlib.aclosing(live):
                async for batch in live:
                    yield reader.took(batch)
                    if reader.left() <= 0:
                        return

    async def aclose(self) -> None:
        """As `Items.close`."""
        if self._found is not None:
            await self._found.aclose()

    async def __aenter__(self) -> AsyncItems:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
