"""The ASGI app: `/v1/session/{id}/ag-ui` and `/v1/session/{id}/ai-sdk`, as server-sent events.

Both are sequences that never change: the nth event or chunk is the same for every reader, and its number is its SSE id.
So a reader goes on with `Last-Event-ID`, or with `startIndex=N` (the first n it has; negative: the last n).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from agentstream.errors import AgentStreamError, Locked, NotFound, StoreError
from agentstream.frontends.left import Left
from agentstream.frontends.views import AgUiView, AiSdkView, View
from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.http import HttpResponse
from agentstream.protocol.problems import problem
from agentstream.server.access import Refused, Token
from agentstream.server.exchange import PREFLIGHT, Exchange, Receive, Scope, Send
from agentstream.server.settings import Settings
from agentstream.server.shell import Shell, check_root, parse_tokens

if TYPE_CHECKING:
    from agentstream.client import AsyncClient
    from agentstream.server._running import Runnable

_log = logging.getLogger("agentstream.frontends")

ROOT = "/v1/session"
_ROUTE = re.compile(r"/(?P<session>.+)/(?P<form>ag-ui|ai-sdk)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_EXPOSED = "x-workflow-run-id, x-workflow-stream-tail-index, x-vercel-ai-ui-message-stream"


class Application(Shell):
    """Front ends' views of a client's sessions."""

    def __init__(self, client: AsyncClient, settings: Settings) -> None:
        super().__init__(settings)
        self.client = client
        self._reading: set[asyncio.Task[Any]] = set()
        self._left = Left()

    def serves(self, path: str) -> bool:
        """Whether a request to this path is for this app."""
        return path.startswith(f"{self.settings.root}/")

    async def close(self) -> None:
        """Ends every response: readers come again with the id that they had. The client stays open."""
        for task in self._reading:
            task.cancel()
        self._left.close()

    def _problem(self, exchange: Exchange, error: Exception) -> HttpResponse | None:
        if isinstance(error, (InvalidRequest, ValueError)):
            return problem(400, "invalid_request", str(error))
        if isinstance(error, NotFound):
            return problem(404, "not_found", str(error))
        if isinstance(error, Locked):
            return problem(403, "locked", str(error))
        if isinstance(error, StoreError):
            _log.error("%s %s: %s", exchange.method, exchange.path, error)
            return problem(503, "unavailable", "the store behind this server cannot be read; its log says more")
        return None

    async def _answer(self, exchange: Exchange) -> HttpResponse | None:
        if exchange.method == "OPTIONS":
            asked = {"access-control-allow-headers": "authorization, last-event-id, content-type"}
            return HttpResponse(204, {**PREFLIGHT, **asked, "access-control-allow-methods": "GET, HEAD, OPTIONS"})
        token = self._admitted(exchange)
        found = _ROUTE.fullmatch(exchange.path[len(self.settings.root) :]) if self.serves(exchange.path) else None
        if found is None:
            return problem(404, "not_found", f"{self.settings.root}/<session>/ag-ui and …/ai-sdk are served here")
        if exchange.method not in ("GET", "HEAD"):
            return problem(405, "method_not_allowed", "a session is looked at by GET", {"allow": "GET, HEAD, OPTIONS"})
        session = unquote(found["session"])
        if not token.covers(quote(session, safe="/")):
            raise Refused(problem(403, "forbidden", f"this token is for sessions below {token.prefix!r}"))
        query = dict(exchange.query())
        view = await self._view(session, found["form"], query, _first(exchange, query))
        if view.nothing():
            return HttpResponse(204, view.headers())
        if exchange.method == "HEAD":
            return HttpResponse(200, view.headers())
        await exchange.start({**view.headers(), "access-control-expose-headers": _EXPOSED})
        if await self._until_gone(exchange, _sent(exchange, view)):
            self._left.put((session, found["form"], _asked(query)), view)
        return None

    async def _view(self, session: str, form: str, query: dict[str, str], first: int | None) -> View:
        """What is to be sent: of a session whose reader has just left it is known what came before."""
        known = self._left.take((session, form, _asked(query)), first)
        if known is not None:
            with suppress(ValueError):  # the id is another session's by now
                await known.read(first)
                return known
        handle = self.client.session(session)
        view = AgUiView(handle, query) if form == "ag-ui" else AiSdkView(handle, query)
        await view.read(first)
        return view

    async def _until_gone(self, exchange: Exchange, work: Any) -> bool:
        """Ends when the work does or its reader is gone; whether nothing went wrong."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(exchange.hung_up())
        self._reading.add(task)
        well = True
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                task.result()
        except AgentStreamError as error:
            _log.warning("%s: %s", exchange.path, error)  # deleted, or the store is gone: who comes again is told so
            well = False
        finally:
            self._reading.discard(task)
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
        with suppress(OSError):
            await exchange.part(b"", more=False)
        return well


def _asked(query: dict[str, str]) -> frozenset[tuple[str, str]]:
    """What makes one sequence another, wherever it is read from."""
    return frozenset((name, value) for name, value in query.items() if name != "startIndex")


def _first(exchange: Exchange, query: dict[str, str]) -> int | None:
    """The number of the first that is asked for; None where nothing says. ValueError for what is no number."""
    last = exchange.headers.get("last-event-id")
    if last is not None and _NUMBER.fullmatch(last.strip()):
        return int(last) + 1
    text = query.get("startIndex")
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"startIndex is a whole number, not {text[:40]!r}")
    return int(text)


class Mounted:
    """A server's app with this one beside it."""

    def __init__(self, server: Runnable, frontends: Application) -> None:
        self._server = server
        self._frontends = frontends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and self._frontends.serves(scope["path"])
        await (self._frontends if ours else self._server)(scope, receive, send)

    def begin(self) -> None:
        self._server.begin()

    async def close(self) -> None:
        await self._frontends.close()
        await self._server.close()


async def _sent(exchange: Exchange, view: View) -> None:
    async for part in view.parts():
        if part is None:
            await exchange.part(b": \n\n")
        elif part:
            await exchange.part(part)


def app(
    client: Any,
    *,
    tokens: Iterable[Token | str] = (),
    public: bool = False,
    origins: Iterable[str] = (),
    root: str = ROOT,
) -> Application:
    """An ASGI app that shows the sessions of `client` (a Client or an AsyncClient) to front ends, below `root`.

    `GET <root>/<session>/ag-ui`: the session as AG-UI 1.0 events. `GET <root>/<session>/ai-sdk`: a run as the UI
    message stream of Vercel's AI SDK. Who may ask is told by `tokens`, `public` and `origins` as for
    `agentstream.server.app`.

    Raises TypeError or ValueError for what is none of that. The client stays yours to close.
    """
    handle = client.to_async() if hasattr(client, "to_async") else client
    if not hasattr(handle, "session"):
        raise TypeError(f"app() takes a Client or an AsyncClient, not {client!r}")
    check_root(root)
    named = tuple(origin.rstrip("/") for origin in origins)
    return Application(handle, Settings(root, parse_tokens(tokens), named, public))
