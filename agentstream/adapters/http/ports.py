"""What one HTTP exchange does to the outside, as a sync and as an async set of the same names.

The library is `httpx` or `httpx2`: whichever the client's own HTTP client is of.
"""

from __future__ import annotations

import asyncio
import sys
from functools import cache
from typing import Any

from agentstream import adapters
from agentstream.adapters.http.driving import adrive, drive
from agentstream.backends.finalizing import elsewhere, in_collector


class Library:
    """The module `httpx` or `httpx2`, as far as it is used here."""

    def __init__(self, name: str) -> None:
        module = sys.modules[name]
        self.Response: Any = module.Response
        # the base classes are what the HTTP client insists on
        self.Stream: Any = type("Stream", (_Stream, module.SyncByteStream, module.AsyncByteStream), {})


@cache
def library_of(http_client: type) -> Library | None:
    """The library that an HTTP client's class comes from."""
    roots = [base.__module__.partition(".")[0] for base in http_client.__mro__]
    return next((Library(root) for root in roots if root in ("httpx", "httpx2")), None)


class _Stream:
    """A response's body, as the HTTP libraries ask for one: over any source of chunks that is written as steps."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __iter__(self) -> Any:
        while (chunk := drive(self.source.next_chunk())) is not None:
            yield chunk

    async def __aiter__(self) -> Any:
        while (chunk := await adrive(self.source.next_chunk())) is not None:
            yield chunk

    def close(self) -> None:
        drive(self.source.close())

    async def aclose(self) -> None:
        await adrive(self.source.close())


class SyncPorts:
    """Everything waits in the calling thread."""

    open = staticmethod(adapters.open_step)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, request: Any) -> Any:
        return self._inner.handle_request(request)  # looked up at each call: mocks take its place later

    def read(self, request: Any) -> bytes:
        return request.read()

    def chunks(self, response: Any) -> Any:
        return response.iter_bytes()

    def next(self, chunks: Any) -> bytes | None:
        return next(chunks, None)

    def close(self, response: Any) -> None:
        if in_collector():
            elsewhere(response.close)  # it takes the connection pool's lock
        else:
            response.close()

    def dropped(self, call: adapters.StepCall) -> None:
        """The garbage collector ends a body: the code has dropped it half read."""
        call.leave()

    def cancelled(self) -> None:
        raise asyncio.CancelledError

    def finish(self, call: adapters.StepCall, result: Any, **more: Any) -> None:
        call.finish(result, **more)

    def fail(self, call: adapters.StepCall, error: BaseException, **more: Any) -> None:
        call.fail(error, **more)


class AsyncPorts:
    """Everything is awaited."""

    open = staticmethod(adapters.aopen_step)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def send(self, request: Any) -> Any:
        return await self._inner.handle_async_request(request)

    async def read(self, request: Any) -> bytes:
        return await request.aread()

    def chunks(self, response: Any) -> Any:
        return response.aiter_bytes()

    async def next(self, chunks: Any) -> bytes | None:
        return await anext(chunks, None)

    async def close(self, response: Any) -> None:
        await response.aclose()

    def dropped(self, call: adapters.StepCall) -> None:
        """The garbage collector ends no body but with its event loop: as a crash would."""
        call.abandon()

    async def cancelled(self) -> None:
        await asyncio.Event().wait()  # until the code cancels it, as it did

    async def finish(self, call: adapters.StepCall, result: Any, **more: Any) -> None:
        await call.afinish(result, **more)

    async def fail(self, call: adapters.StepCall, error: BaseException, **more: Any) -> None:
        await call.afail(error, **more)
