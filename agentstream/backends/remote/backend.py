"""`RemoteBackend`: a Durable Streams server keeps the streams."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from agentstream.backends.base import Delist, DropLease, Enlist, LeaseHeld, List, TakeLease, Traits
from agentstream.backends.driving import adrive, drive
from agentstream.backends.remote.catalog import Catalog
from agentstream.backends.remote.exchange import Backoff, answered, told
from agentstream.backends.remote.following import Live, apages, pages
from agentstream.backends.remote.leases import TTL, Leases
from agentstream.backends.remote.reading import Cursors, read
from agentstream.backends.remote.sending import Sender, Values
from agentstream.protocol.http import OCTETS
from agentstream.protocol.operations import Append, Batch, Create, Delete, Follow, Head, Read

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.backends.remote.subscriptions import Subscriptions

THREADS = 32
"""Operations that were started without a loop and are under way at once; the others wait."""

_PLAIN = (Append, Create, Delete, Head)
_LEASES = (TakeLease, DropLease, LeaseHeld)


class RemoteBackend:
    """Keeps streams on any Durable Streams server: `url` is what all their paths lie below (`http://host/v1/stream`).

    `headers` and `params` go with every request; a value may be a callable, which is asked anew for each request
    and each retry (a fresh token), and may be async where it is awaited. `http_client` is a Client or AsyncClient
    of httpx or httpx2 to use instead of own ones; whoever made it closes it. `lease_ttl`: seconds that a worker's
    lease outlives it.

    Safe to share between threads and event loops; a forked child makes connections of its own. Repeats what is
    safe to repeat through 429, 5xx and lost connections, then raises `Unavailable`. Raises `ProtocolError`s as the
    protocol says, `StoreError` for a server that refuses who asks or speaks another protocol.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Values | None = None,
        params: Values | None = None,
        http_client: Any | None = None,
        backoff: Backoff | None = None,
        lease_ttl: int = TTL,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is no server's URL; expected one like http://host:4437/v1/stream")
        # a password in a URL is for the server, not for messages
        self.name = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        self.traits = Traits(catalogs=True, subscribes=True)
        self._sender = Sender(url, self.name, headers, params, http_client)
        self._driven: Any = self._sender  # the drivers ask no more of a backend than execute and aexecute
        self._backoff = backoff or Backoff()
        self._cursors = Cursors()
        self._leases = Leases(self._told, self.submit, lease_ttl)
        self._catalog = Catalog(self._steps, self.submit)
        self._subscriptions: Subscriptions | None = None
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_resetting(weakref.ref(self)))

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def execute(self, operation: Any) -> Any:
        """Runs `operation` in this thread."""
        return drive(self._steps(operation), self._driven)

    async def aexecute(self, operation: Any) -> Any:
        """Runs `operation` for the running event loop."""
        if self._sender.given_async:
            self._loop = asyncio.get_running_loop()
        return await adrive(self._steps(operation), self._driven)

    def submit(self, operation: Any) -> Future[Any]:
        """Starts `operation` on a thread; it goes on whatever becomes of the caller's loop.

        With an async client that was handed in, which no thread can use, in the loop where that is used.
        """
        if self._sender.given_async and self._loop is not None:
            return asyncio.run_coroutine_threadsafe(self.aexecute(operation), self._loop)
        if self._threads is None:
            with self._lock:
                self._threads = self._threads or ThreadPoolExecutor(THREADS, "agentstream-remote")
        return self._threads.submit(self.execute, operation)

    def follow(
        self, operation: Follow, content_type: str | None = None, wait: float | None = None
    ) -> Generator[Batch, None, None]:
        """The pages of a live read as they come, reconnecting, until the stream is closed. `content_type`: as known.

        With `wait` it ends also after so many seconds in which the server sent nothing.
        """
        content_type = content_type or self.execute(Head(operation.path)).content_type
        return pages(self._sender, self._live(operation, content_type, wait))

    async def afollow(
        self, operation: Follow, content_type: str | None = None, wait: float | None = None
    ) -> AsyncGenerator[Batch, None]:
        """As `follow`; leave it by `aclose` (`contextlib.aclosing`), which ends its connection."""
        content_type = content_type or (await self.aexecute(Head(operation.path))).content_type
        async with aclosing(apages(self._sender, self._live(operation, content_type, wait))) as found:
            async for batch in found:
                yield batch

    def _live(self, operation: Follow, content_type: str | None, wait: float | None) -> Live:
        return Live(operation, self._sender.root, content_type or OCTETS, self._backoff, wait)

    def close(self) -> None:
        """Lets go of leases, releases connections and threads. Idempotent."""
        if self._sender.closed:
            return
        if not self._sender.given_async:
            drive(self._leases.released(), self._driven)
        self._end_threads()
        self._sender.close()

    async def aclose(self) -> None:
        """As `close`, with the running loop's connections."""
        if self._sender.closed:
            return
        await adrive(self._leases.released(), self._driven)
        await asyncio.to_thread(self._end_threads)
        await self._sender.aclose()

    def _end_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True)

    def _steps(self, operation: Any) -> Steps[Any]:
        if isinstance(operation, _PLAIN):
            return answered(operation, self._sender.root, self._backoff)
        if isinstance(operation, Read):
            return read(operation, self._sender.root, self._backoff, self._cursors)
        if isinstance(operation, _LEASES):
            return self._leases.steps(operation)
        if isinstance(operation, List):
            return self._catalog.listed(operation)
        if isinstance(operation, (Enlist, Delist)):
            return self._catalog.noted(operation)
        return self._controlled(operation)

    def _controlled(self, operation: Any) -> Steps[Any]:
        from agentstream.backends.remote.subscriptions import Subscriptions  # few programs have one
        from agentstream.protocol.subscriptions import CONTROLS

        if not isinstance(operation, CONTROLS):
            raise TypeError(f"{operation!r} is no operation of a server")
        if self._subscriptions is None:
            self._subscriptions = Subscriptions(self._sender.root, self.name, self._backoff)
        return self._subscriptions.steps(operation)

    def _told(self, operation: Any) -> Steps[tuple[Any, bool]]:
        return told(operation, self._sender.root, self._backoff)


def _resetting(backend: weakref.ref[RemoteBackend]) -> Callable[[], None]:
    def in_child() -> None:
        found = backend()
        if found is not None:
            found._reset()
            found._leases.reset()
            found._catalog.reset()

    return in_child
