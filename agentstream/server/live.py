"""Live reads: waiting for what comes, and stopping when who asked hangs up or the server ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec.structs import replace

from agentstream.backends.base import Backend
from agentstream.errors import StoreError
from agentstream.protocol import http
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import Batch, Follow, Head, Read
from agentstream.protocol.serving import cursor_of
from agentstream.protocol.sse import encoding_of, events_of
from agentstream.server.exchange import Exchange, Gone
from agentstream.server.settings import Settings

T = TypeVar("T")

_log = logging.getLogger("agentstream.server")

_SHARED_PAGES = 64
_HEARTBEAT = b": \n\n"
"""A comment (§5.8 readers pass it over): proxies keep the connection, and who has gone is noticed."""


class Live:
    """The live reads of one server."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self._backend = backend
        self._settings = settings
        self._reading: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._shared: OrderedDict[tuple[int, str | None], tuple[Batch, bytes]] = OrderedDict()

    def stop(self) -> None:
        """Ends every live read as its time running out would: readers come again elsewhere, and miss nothing."""
        self._stopping = True
        for task in self._reading:
            task.cancel()

    async def long_poll(self, exchange: Exchange, operation: Read) -> Batch:
        """What a waiting read gives. `Gone` if nobody waits for it any more."""
        if not self._stopping:
            batch = await self._until_gone(exchange, self._backend.aexecute(operation))
            if batch is not None:
                return batch
        return await self._backend.aexecute(replace(operation, wait=None))

    async def follow(self, exchange: Exchange, operation: Follow) -> None:
        """Answers with server-sent events until the stream is closed, the time is over, or who asked hangs up."""
        path, first = operation.path, await self._backend.aexecute(Read(operation.path, operation.offset))
        content_type = first.content_type or (await self._backend.aexecute(Head(path))).content_type
        headers = {http.CONTENT_TYPE: http.EVENT_STREAM, http.CACHE_CONTROL: "no-cache"}
        encoding = encoding_of(content_type)
        if encoding is not None:
            headers[http.SSE_ENCODING] = encoding
        if first.life is not None:
            headers[http.LIFE] = first.life
        await exchange.start(headers)
        try:
            await self._until_gone(exchange, self._events(exchange, operation, first, content_type))
        except Gone:
            return
        except ProtocolError:
            pass  # it was deleted: whoever comes again is told so
        except StoreError as error:
            _log.error("following %s: %s", path, error)
        await exchange.part(b"", more=False)

    async def _events(self, exchange: Exchange, operation: Follow, batch: Batch, content_type: str) -> None:
        deadline = time.monotonic() + self._settings.sse
        cursor = cursor_of(time.time(), operation.cursor)
        heartbeat = self._settings.heartbeat
        said = False
        while True:
            if batch.messages or batch.closed or not said:
                await exchange.part(self._encoded(batch, content_type, cursor))
                said = True
            elif not self._stopping:
                await exchange.part(_HEARTBEAT)
            left = deadline - time.monotonic()
            if batch.closed or left <= 0 or self._stopping:
                return
            wait = min(left, heartbeat) if batch.up_to_date else None
            life, before = batch.life, batch.offset
            batch = await self._backend.aexecute(Read(operation.path, before, wait=wait))
            if batch.life != life:
                return  # another stream has taken the path: the offset is not of it
            cursor = cursor_of(time.time()) if operation.cursor is None else cursor

    def _encoded(self, batch: Batch, content_type: str, cursor: str) -> bytes:
        """The page as events, made once for all who are handed the same one."""
        key = (id(batch), cursor)
        found = self._shared.get(key)
        if found is not None and found[0] is batch:
            return found[1]
        encoded = events_of(batch, content_type, cursor)
        self._shared[key] = (batch, encoded)
        while len(self._shared) > _SHARED_PAGES:
            self._shared.popitem(last=False)
        return encoded

    async def _until_gone(self, exchange: Exchange, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives; None if the server stops before. `Gone` if who asked hangs up first."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(exchange.hung_up())
        self._reading.add(task)
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Gone
            return None if task.cancelled() else task.result()
        finally:
            self._reading.discard(task)
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
