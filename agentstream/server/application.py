"""The ASGI app: from a request to what a backend says of it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentstream.backends.base import Backend
from agentstream.errors import StoreError
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.http import CONTENT_TYPE, HttpRequest, HttpResponse
from agentstream.protocol.operations import Batch, Create, Follow, ForkPoint, Head, Operation, Read, StreamInfo
from agentstream.protocol.problems import problem, problem_of
from agentstream.protocol.serving import cursor_of, operation_of, response_of, stream_path
from agentstream.server.access import EVERYTHING, Refused, Token
from agentstream.server.exchange import METHODS, PREFLIGHT, Exchange
from agentstream.server.live import Live
from agentstream.server.settings import ROOT, Settings
from agentstream.server.shell import Shell, check_root, parse_tokens

if TYPE_CHECKING:
    from agentstream.server.subscriptions.manager import Subscriptions

_log = logging.getLogger("agentstream.server")

_WRITES = ("PUT", "POST", "DELETE")
_RESERVED = ("~ds",)
_ADDRESS = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@]+")
"""First segments of what no server gives out: its own records, among them the keys it signs with."""
CONTROL = "__ds"


class Application(Shell):
    """A server over one backend."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        super().__init__(settings)
        self.backend = backend
        self.live = Live(backend, settings)
        self._subscriptions: Subscriptions | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def close(self) -> None:
        """Ends live reads and the server's own work. The backend stays open: it is whose it was."""
        self._closed = True
        self.live.stop()
        if self._subscriptions is not None:
            subscriptions, self._subscriptions = self._subscriptions, None
            await subscriptions.close()

    def begin(self) -> None:
        """Begins the server's own work, in the running event loop: waking who subscribed. More than once is once."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._subscriptions = loop, None  # what was begun in another loop ended with it
        if self._subscriptions is None and not self._closed and self.backend.traits.lists:
            from agentstream.server.subscriptions.manager import Subscriptions

            self._subscriptions = Subscriptions(self.backend, local_webhooks=self.settings.local_webhooks)

    def _problem(self, exchange: Exchange, error: Exception) -> HttpResponse | None:
        if isinstance(error, ProtocolError):
            return problem_of(error)
        if isinstance(error, StoreError):
            _log.error("%s %s: %s", exchange.method, exchange.path, error)
            return problem_of(error)
        return None

    async def _answer(self, exchange: Exchange) -> HttpResponse | None:
        if exchange.method == "OPTIONS":
            return HttpResponse(204, PREFLIGHT)
        root = self.settings.root
        if exchange.path.startswith(f"{root}/{CONTROL}/"):
            return await self._control(exchange, exchange.path[len(root) + len(CONTROL) + 2 :])
        token = self._admitted(exchange)
        path = stream_path(exchange.path, root)
        if exchange.method not in METHODS:
            names = ", ".join(METHODS)
            return problem(405, "method_not_allowed", f"streams know {names}", {"allow": names})
        writes = exchange.method in _WRITES
        self._check(token, path, writes=writes)
        body = await exchange.body() if exchange.method in ("PUT", "POST") else b""
        request = exchange.request(body)
        operation = operation_of(request, root, long_poll=self.settings.long_poll)
        if isinstance(operation, Follow):
            await self.live.follow(exchange, operation)
            return None
        if isinstance(operation, Create) and operation.fork is not None:
            self._check(token, operation.fork.source, writes=False)
            if not operation.content_type:
                operation = await self._inherited(request, operation, operation.fork)
        return await self._executed(exchange, operation)

    async def _inherited(self, request: HttpRequest, operation: Create, fork: ForkPoint) -> Create:
        """A fork that names no content type has its source's, and its body is to be read as that."""
        with suppress(ProtocolError):  # the backend says better what is wrong with the source
            info: StreamInfo = await self.backend.aexecute(Head(fork.source))
            typed = replace(request, headers={**request.headers, CONTENT_TYPE: info.content_type})
            again = operation_of(typed, self.settings.root, long_poll=0)
            assert isinstance(again, Create)
            return again
        return operation

    async def _control(self, exchange: Exchange, below: str) -> HttpResponse:
        """Subscriptions, which take a backend that lists and tells of changes."""
        from agentstream.server.subscriptions import routes

        token = EVERYTHING if routes.needs_no_token(exchange.method, below) else self._admitted(exchange)
        if not self.backend.traits.lists:
            return problem(501, "not_supported", "the store behind this server lists no streams: no subscriptions")
        if self._subscriptions is None:
            return problem(503, "unavailable", "this server is ending")
        return await routes.answer(self._subscriptions, exchange, below, token, self.settings.root)

    async def _executed(self, exchange: Exchange, operation: Operation) -> HttpResponse:
        shared = not self.settings.tokens
        if isinstance(operation, Read):
            if operation.wait is not None:
                batch = await self._typed(operation, await self.live.long_poll(exchange, operation))
                return response_of(operation, batch, cursor=cursor_of(time.time(), operation.cursor), shared=shared)
            return response_of(operation, await self._typed(operation, await self._pages(operation)), shared=shared)
        result: Any = await self.backend.aexecute(operation)
        location = exchange.url(exchange.path) if isinstance(operation, Create) else ""
        return response_of(operation, result, location=location)

    async def _pages(self, operation: Read) -> Batch:
        """As many of the backend's pages as one response holds: what a reader is given at once is bounded."""
        batch: Batch = await self.backend.aexecute(operation)
        size = sum(map(len, batch.messages))
        while not batch.up_to_date and size < self.settings.page:
            more: Batch = await self.backend.aexecute(replace(operation, offset=batch.offset, skip=0))
            if more.life != batch.life:
                break
            size += sum(map(len, more.messages))
            batch = replace(more, messages=batch.messages + more.messages)
        return batch

    async def _typed(self, operation: Read, batch: Batch) -> Batch:
        if batch.content_type is not None:
            return batch
        return replace(batch, content_type=(await self.backend.aexecute(Head(operation.path))).content_type)

    # --- who may ---------------------------------------------------------------------------------

    def _check(self, token: Token, path: str, *, writes: bool) -> None:
        first = path.partition("/")[0]
        if first in _RESERVED or first == CONTROL:
            raise Refused(problem(403, "reserved", f"{first} is the server's own and not served"))
        if writes and not token.write:
            raise Refused(problem(403, "read_only", "this token reads and does not write"))
        if not token.covers(path):
            raise Refused(problem(403, "forbidden", f"this token is for streams below {token.prefix!r}"))


def app(
    client: Any,
    *,
    tokens: Iterable[Token | str] = (),
    public: bool = False,
    origins: Iterable[str] = (),
    url: str | None = None,
    root: str = ROOT,
    long_poll_timeout: float = 30.0,
    largest_body: int = 32 * 1024 * 1024,
    local_webhooks: bool | None = None,
) -> Application:
    """An ASGI app that serves the streams of `client` (a Client, an AsyncClient or a backend) as Durable Streams.

    Run it with any ASGI server, or mount it in a Starlette or FastAPI app. It answers below `root`.

    - `tokens`: `[read:|write:]SECRET[@PREFIX]` each. Without any, only this machine is answered, and pages of no other
      origin than those of this machine and `origins`;
    - `public`: answers everybody without a token. For where something around the app decides who may ask;
    - `url`: how this server is reached from outside, where requests do not tell (webhooks are told it);
    - `long_poll_timeout`: seconds; `largest_body`: bytes of one request, more is 413;
    - `local_webhooks`: whether webhooks may lead to this machine by http; by default where there are no tokens.

    Raises TypeError or ValueError for what is none of that. The client stays yours to close; `await app.close()`
    ends live reads (a mounted app is not told when its server ends).
    """
    backend = getattr(getattr(client, "_core", None), "backend", client)
    if not isinstance(backend, Backend):
        raise TypeError(f"app() takes a client or a backend, not {client!r}")
    check_root(root)
    if not 0 < long_poll_timeout <= 3600 or largest_body < 1:
        raise ValueError("the long-poll timeout is seconds, at most an hour; the largest body a number of bytes")
    if url is not None and not _ADDRESS.fullmatch(url):
        raise ValueError(f"{url[:200]!r} is no URL of a server; it is one like https://streams.example.com")
    named = tuple(origin.rstrip("/") for origin in origins)
    for origin in named:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin[:200]!r} is no origin of pages; it is one like https://app.example.com")
    known = parse_tokens(tokens)
    local = not known and not public if local_webhooks is None else local_webhooks
    settings = Settings(
        root, known, named, public, url, long_poll_timeout, largest_body=largest_body, local_webhooks=local
    )
    return Application(backend, settings)
