"""The ASGI app around an MCP server's: it says which session a request is of, and resumes those of other processes.

A server knows the sessions of its own process; for a stream of another one (killed, or beside it) it answers 404. It is
that answer which is replaced here, so whoever is refused for another reason stays refused.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio

from agentstream import NotFound
from agentstream_mcp._events import McpSession, StreamEventStore, current
from agentstream_mcp._log import EventId

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SESSION, LAST_EVENT = b"mcp-session-id", b"last-event-id"


class Resumable:
    """See `StreamEventStore.resumable`."""

    def __init__(self, app: Any, store: StreamEventStore) -> None:
        self._app, self._store = app, store

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            async with self._store.beating():
                await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _Request(self._store, scope, send).serve(self._app, receive)
        else:
            await self._app(scope, receive, send)


class _Request:
    def __init__(self, store: StreamEventStore, scope: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        self._store, self._scope, self._send = store, scope, send
        self._id: str | None = headers[SESSION].decode("latin-1") if SESSION in headers else None
        self._after = EventId.parse(headers.get(LAST_EVENT, b"").decode("latin-1"))
        self._session: McpSession | None = None
        self._events: AsyncGenerator[tuple[EventId, str] | None, None] | None = None
        """What is sent in the place of the server's own answer."""

    async def serve(self, app: Any, receive: Any) -> None:
        self._session = self._store.opened() if self._id is None else await self._store.find(self._id)
        token = current.set(self._session)
        try:
            await app(self._scope, receive, self._passed_on)
        finally:
            current.reset(token)
        if self._events is not None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_gone, receive, tasks.cancel_scope)
                await self._resume(self._events)
                tasks.cancel_scope.cancel()

    async def _passed_on(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            status, session = message["status"], self._session
            if self._id is None and session is not None:
                given = dict(message.get("headers") or ()).get(SESSION)
                if given is not None and status < 400:
                    await self._store.named(given.decode("latin-1"), session, _owner(self._scope))
            elif status == 404 and self._scope["method"] == "GET" and await self._is_elsewhere():
                return
            elif status < 400 and self._scope["method"] == "DELETE" and self._id is not None:
                await self._store.ended(self._id)
        if self._events is None:
            await self._send(message)

    async def _is_elsewhere(self) -> bool:
        """Whether the stream that is asked for is one of another process, and there is something to come of it."""
        session, after = self._session, self._after
        if session is None or after is None or after.scope != session.scope or session.owner != _owner(self._scope):
            return False
        events = self._store.follow(after, session)
        try:
            first = await anext(events) if not await self._store.alive(session) else None
        except (NotFound, StopAsyncIteration):
            return False
        self._events = _with(first, events)
        return True

    async def _resume(self, events: AsyncGenerator[tuple[EventId, str] | None, None]) -> None:
        assert self._id is not None
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-cache, no-transform"),
            (SESSION, self._id.encode("latin-1")),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for event in events:
                text = ": waiting\n\n" if event is None else f"event: message\nid: {event[0]}\ndata: {event[1]}\n\n"
                await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except NotFound:
            pass  # it is not there any more: so ends what is known of it
        await self._send({"type": "http.response.body", "body": b""})


async def _with(first: Any, events: Any) -> AsyncGenerator[tuple[EventId, str] | None, None]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


async def _gone(receive: Any, scope: anyio.CancelScope) -> None:
    """Ends the answer when the client hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _owner(scope: Any) -> Any:
    """Whom a request is from, where the server asks for a token: as the SDK tells owners of sessions apart."""
    token = getattr(scope.get("user"), "access_token", None)
    if token is None:
        return None
    claims = getattr(token, "claims", None) or {}
    return [token.client_id, claims.get("iss"), getattr(token, "subject", None)]
