"""The messages of one SSE stream of an MCP session, in agentstream streams: a long one in several, one after the other.

An item is the text of a JSON-RPC message, `null` for an event that only says where the stream begins, or `{"next": n}`
as the last of a part that goes on in another. What a client is given as an event's id says where it stands.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from urllib.parse import quote, unquote

import anyio

from agentstream import AsyncClient, AsyncStream, StreamClosed

PART = 1000
"""Events of one part: those before the last but one are forgotten when nobody has asked for them for their TTL."""

_FORM = re.compile(r"([0-9A-Za-z]{1,64})\.([^./]{1,512})\.(\d{1,9})\.(\d{1,9})", re.ASCII)

_log = logging.getLogger("agentstream")


class EventId(NamedTuple):
    """Where an event stands: the `number`th item of a part of `stream`; `scope` is its MCP session's."""

    scope: str
    stream: str
    part: int
    number: int

    def __str__(self) -> str:
        return f"{self.scope}.{_name(self.stream)}.{self.part}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """The id that `str()` wrote; None for anything else."""
        found = _FORM.fullmatch(text)
        return cls(found[1], unquote(found[2]), int(found[3]), int(found[4])) if found else None


def _name(stream: str) -> str:
    return quote(stream, safe="").replace(".", "%2E")


def _path(prefix: str, event: EventId) -> str:
    return f"{prefix}/{event.scope}/{_name(event.stream)}.{event.part}"


class EventLog:
    """One SSE stream, as the process that writes it holds it."""

    def __init__(self, client: AsyncClient, prefix: str, scope: str, stream: str, ttl: int) -> None:
        self._client, self._prefix, self._ttl = client, prefix, ttl
        self.last = EventId(scope, stream, -1, PART)
        self._lock = anyio.Lock()

    async def add(self, text: str | None, *, last: bool) -> EventId:
        """Appends an event, durable when this returns; after the `last` nothing comes. Raises StoreError."""
        async with self._lock:
            before = self.last
            here = self._stream(before)
            if before.number >= PART:
                added = before._replace(part=before.part + 1, number=1)
                await self._stream(added).create(values=[text], closed=last, ttl=self._ttl)
                if before.part >= 0:
                    await here.seal({"next": added.part})
            else:
                added = before._replace(number=before.number + 1)
                try:
                    await (here.seal(text) if last else here.append(text))
                except StreamClosed:
                    _log.warning("MCP: this process was taken for dead, and what it says of %s is dropped", before)
                    return before
            self.last = added
            return added

    def _stream(self, event: EventId) -> AsyncStream:
        return self._client.stream(_path(self._prefix, event), content_type="application/json")


async def follow(
    client: AsyncClient, prefix: str, after: EventId, wait: float
) -> AsyncGenerator[tuple[EventId, str] | None, None]:
    """What comes after an event, until the stream's end; None where `wait` seconds nothing came.

    NotFound where the event is not there any more.
    """
    while True:
        items = client.stream(_path(prefix, after)).follow(f"-1,{after.number}", wait=wait)
        following = None
        async with aclosing(items):
            async for item in items:
                after, value = after._replace(number=after.number + 1), item.value
                if isinstance(value, dict):
                    following = value.get("next")
                elif isinstance(value, str):
                    yield after, value
        if isinstance(following, int):
            after = after._replace(part=following, number=0)
        elif items.closed:
            return
        else:
            yield None


async def end(client: AsyncClient, prefix: str, of: EventId, *last: str) -> None:
    """Ends the part of a stream that an event is in, with `last` as its last message; nothing where it has ended."""
    try:
        await client.stream(_path(prefix, of)).seal(*last)
    except StreamClosed:
        return
