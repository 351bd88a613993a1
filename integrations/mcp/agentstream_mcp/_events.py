"""`StreamEventStore`: what makes the streamable HTTP of an MCP server resumable, from any event and in any process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import mcp_types as types
from mcp.server.streamable_http import GET_STREAM_KEY, EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse, jsonrpc_message_adapter

from agentstream import AgentStreamError, AsyncClient, Client, NotFound
from agentstream.adapters import fresh_id
from agentstream_mcp._log import EventId, EventLog, end, follow

SESSIONS = 10_000
"""MCP sessions that a process keeps in mind."""

_logger = logging.getLogger("agentstream")


class McpSession:
    """One MCP session, as this process knows it: its events stand under `scope`.

    `process` is the one that has its transport, `owner` whom it belongs to (None where nobody has to say who he is).
    """

    def __init__(self, scope: str, process: str, owner: Any = None) -> None:
        self.scope, self.process, self.owner = scope, process, owner
        self.logs: dict[str, EventLog] = {}


current: ContextVar[McpSession | None] = ContextVar("agentstream_mcp_session", default=None)
"""The session of the request that is served; its transport's own tasks, begun by its first request, inherit it."""


class StreamEventStore(EventStore):
    """Keeps the events of MCP sessions as streams below `<prefix>/`, durable before a client sees them.

        store = StreamEventStore(Client())
        app = store.resumable(server.streamable_http_app(event_store=store))

    An event can be asked for `ttl` seconds after anything was last written or read beside it. A process that was not
    heard of for `lease` seconds is dead: whoever waits for its answer is told so, by an error.
    """

    def __init__(self, client: Client | AsyncClient, *, prefix: str = "mcp", ttl: int = 3600, lease: int = 15) -> None:
        for name, value in (("ttl", ttl), ("lease", lease)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}= is whole seconds, at least 1, not {value!r}")
        self._client = client.to_async() if isinstance(client, Client) else client
        self._prefix, self._ttl, self._lease = prefix, ttl, lease
        self._process = fresh_id()
        self._sessions: OrderedDict[str, McpSession] = OrderedDict()

    def resumable(self, app: Any) -> Any:
        """The ASGI app of a server that has this event store, with what tells its sessions apart around it."""
        from agentstream_mcp._serving import Resumable

        return Resumable(app, self)

    # --- what a transport asks for -----------------------------------------------------------------------------------

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keeps an event of one of the session's streams; it is durable when this returns. Gives its id."""
        session = self._current()
        log = session.logs.get(stream_id)
        if log is None:
            name = f"{stream_id}-{fresh_id()}"  # a client may use the id of a request again
            log = session.logs[stream_id] = EventLog(self._client, self._prefix, session.scope, name, self._ttl)
        last = isinstance(message, (JSONRPCResponse, JSONRPCError)) and stream_id != GET_STREAM_KEY
        text = None if message is None else message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            return str(await log.add(text, last=last))
        finally:
            if last:
                session.logs.pop(stream_id, None)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Hands on every event of the stream after that one, those that are still to come too, until its end.

        So none can fall between what is there and what comes. None: there is nothing more to be handed on.
        """
        session, after = self._current(), EventId.parse(last_event_id)
        if after is None or after.scope != session.scope:
            return None
        try:
            async with aclosing(self.follow(after, session)) as events:
                async for event in events:
                    if event is not None:
                        message = jsonrpc_message_adapter.validate_json(event[1], by_name=False)
                        await send_callback(EventMessage(message, str(event[0])))
        except NotFound:
            _logger.info("MCP: event %s is not there any more", last_event_id)
        return None

    def _current(self) -> McpSession:
        session = current.get()
        if session is None:
            raise AgentStreamError(
                "a StreamEventStore tells sessions apart by the app around the server's: "
                "app = store.resumable(server.streamable_http_app(event_store=store))"
            )
        return session

    # --- sessions of any process -------------------------------------------------------------------------------------

    def opened(self) -> McpSession:
        """A session that has no id yet."""
        return McpSession(fresh_id(), self._process)

    async def named(self, session_id: str, session: McpSession, owner: Any) -> None:
        """The session got its id: from now on every process finds it by that."""
        session.owner = owner
        said = {"scope": session.scope, "process": session.process, "owner": owner}
        await self._client.stream(self._place_of(session_id)).create(values=[said], ttl=self._ttl)
        self._remember(session_id, session)

    async def find(self, session_id: str) -> McpSession | None:
        """The session of this id, whichever process has it; None if there is none."""
        session = self._sessions.get(session_id)
        if session is not None:
            self._sessions.move_to_end(session_id)
            return session
        try:
            async for item in self._client.stream(self._place_of(session_id)).read():
                said = item.value
                session = McpSession(said["scope"], said["process"], said["owner"])
                self._remember(session_id, session)
                return session
        except NotFound:
            pass
        return None

    async def ended(self, session_id: str) -> None:
        """The client ended its session: nothing more comes."""
        session = self._sessions.pop(session_id, None)
        for log in list(session.logs.values()) if session is not None else ():
            with contextlib.suppress(NotFound):
                await end(self._client, self._prefix, log.last)
        with contextlib.suppress(NotFound):
            await self._client.stream(self._place_of(session_id)).delete()

    async def follow(self, after: EventId, session: McpSession) -> AsyncGenerator[tuple[EventId, str] | None, None]:
        """As `_log.follow`; ends too where the process that wrote is dead, and says so to who waits for an answer."""
        last = after
        async with aclosing(follow(self._client, self._prefix, after, self._lease)) as events:
            async for event in events:
                if event is not None:
                    last = event[0]
                elif not await self.alive(session):
                    name = last.stream.rpartition("-")[0]
                    if name == GET_STREAM_KEY:
                        return
                    await end(self._client, self._prefix, last, _died(name))
                    continue
                yield event

    async def alive(self, session: McpSession) -> bool:
        """Whether the process that has a session's transport lives."""
        if session.process == self._process:
            return True
        try:
            await self._client.stream(self._pulse_of(session.process)).head()
        except NotFound:
            return False
        return True

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """While this is open, others see that this process lives."""
        pulse = self._client.stream(self._pulse_of(self._process))
        await pulse.create(ttl=self._lease)
        task = asyncio.create_task(self._beat(pulse))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with contextlib.suppress(AgentStreamError, NotFound):
                await pulse.delete()

    async def _beat(self, pulse: Any) -> None:
        while True:
            await asyncio.sleep(self._lease / 4)
            try:
                async for _ in pulse.read():
                    pass
            except NotFound:
                await pulse.create(ttl=self._lease)
            except AgentStreamError as error:
                _logger.warning("MCP: the store cannot be told that this process lives: %s", error)

    def _place_of(self, session_id: str) -> str:
        return f"{self._prefix}/session/{hashlib.sha256(session_id.encode()).hexdigest()}"

    def _pulse_of(self, process: str) -> str:
        return f"{self._prefix}/process/{process}"

    def _remember(self, session_id: str, session: McpSession) -> None:
        self._sessions[session_id] = session
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)


def _died(request: str) -> str:
    """The answer to a request whose server is not there any more."""
    said = "the server's process ended before it answered; whether the request took effect is unknown. Ask again"
    error = types.ErrorData(code=types.CONNECTION_CLOSED, message=said)
    made = JSONRPCError(jsonrpc="2.0", id=int(request) if request.isdecimal() else request, error=error)
    return made.model_dump_json(by_alias=True, exclude_unset=True)
