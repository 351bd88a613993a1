"""Rows as lines, at once and as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from agentstream.errors import AgentStreamError
from agentstream.inspector.failures import failure
from agentstream.inspector.requests import lines
from agentstream.inspector.sessions import PATIENCE, Open, Sessions

CHUNK = 2_000
"""Rows that are handed on at once: others are served in between."""


async def rows(held: Open, after: int, incarnation: str | None) -> AsyncGenerator[bytes, None]:
    """The rows there are from `after` on, with what frames them."""
    async for part in _Reader(held).begin(after, incarnation):
        yield part


async def live_rows(
    sessions: Sessions, session: str, after: int, incarnation: str | None
) -> AsyncGenerator[bytes, None]:
    """As `rows`; then what comes, until the session is sealed or gone, or nobody reads any more."""
    held: Open | None = None
    forks_seen = False
    try:
        with sessions.beginning():
            held = await sessions.follow(session)
            reader = _Reader(held)
            async for part in reader.begin(after, incarnation):
                yield part
        while True:
            news = held.news
            part = reader.fresh()
            if part:
                yield part
                continue
            if sessions.closing:
                return
            if held.ended is not None:
                yield lines([_ended(held.ended)])
                return
            if held.told.sealed and not forks_seen:  # nothing else comes any more, by which they would be told
                await sessions.see_forks(held)
                forks_seen = True
                continue
            if held.told.sealed:
                yield lines([{"sealed": True}])
                return
            try:
                await asyncio.wait_for(news.wait(), PATIENCE)
            except (TimeoutError, asyncio.TimeoutError):
                yield lines([{"beat": round(time.time() * 1000)}])
    finally:
        if held is not None:
            sessions.leave(held)


class _Reader:
    """What one reader of a session has been sent."""

    def __init__(self, held: Open) -> None:
        self._told = held.told
        self._head: dict[str, Any] = {}
        self._sent = 0
        self._changes = 0

    async def begin(self, after: int, incarnation: str | None) -> AsyncGenerator[bytes, None]:
        told = self._told
        self._changes = len(told.changed)
        self._head = await asyncio.to_thread(told.head)
        begin: list[Any] = [{"head": self._head}]
        if after > told.size or incarnation not in (None, told.incarnation):
            begin.append({"reset": 0})
            after = 0
        self._sent = after
        yield lines(begin)
        while self._sent < told.size:
            stop = min(self._sent + CHUNK, told.size)
            if len(told.rows) < stop:
                await asyncio.to_thread(told.make, stop - len(told.rows))
            part = lines(told.rows[self._sent : stop])
            self._sent = stop
            yield part
        yield self.fresh() + lines([{"ready": self._sent}])

    def fresh(self) -> bytes:
        """What came and changed since; empty where that is nothing."""
        told = self._told
        changed = sorted({index for index in told.changed[self._changes :] if index < self._sent})
        self._changes = len(told.changed)
        first, self._sent = self._sent, told.size
        if not changed and first == self._sent and self._head["sealed"] == told.sealed:
            return b""
        # rows that changed without an event: a worker died, or a rewind made them count otherwise
        known = None if changed and first == self._sent else self._head
        head = told.head(known, told.events[first : self._sent])
        news = [] if head == self._head else [{"head": head}]
        self._head = head
        return lines([*news, *(told.rows[index] for index in changed), *told.rows[first : self._sent]])


def _ended(error: AgentStreamError) -> dict[str, Any]:
    status, body = failure(error)
    return {"gone" if status in (404, 410) else "error": body["error"]}
