"""The async client in uvloop, the event loop of most servers that a program runs under."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from stores import STORES

from agentstream import AsyncClient, agent, step
from agentstream.backends.base import Backend
from agentstream.protocol.operations import Append, Create, Read

LARGE = 4_000_000
"""Bytes: more than a connection takes or keeps at once."""


@pytest.fixture(params=["memory", "disk", "server", "node"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(main, 60))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_an_agent_is_run_and_followed(backend: Backend) -> None:
    @step
    async def double(number: int) -> int:
        return 2 * number

    @agent
    async def doubling(count: int) -> int:
        return sum(await asyncio.gather(*map(double, range(count))))

    async def main() -> None:
        session = AsyncClient(backend).session("s")
        await session.append("note", 0)

        async def follow() -> list[str]:
            return [event.type async for event in session.follow()]

        follower, other = asyncio.ensure_future(follow()), asyncio.ensure_future(follow())
        assert await session.run(doubling, 5) == 20
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert (await session.replay(doubling)).identical
        await session.seal()
        assert await follower == [event.type async for event in session.events()]

    run(main())


def test_much_goes_there_and_comes_back(backend: Backend) -> None:
    async def main() -> None:
        large = b"x" * LARGE
        await backend.aexecute(Create("large", content_type="text/plain"))
        await backend.aexecute(Append("large", (large,), content_type="text/plain"))
        found, offset = b"", "-1"
        while len(found) < LARGE:
            page = await backend.aexecute(Read("large", offset))
            found, offset = found + b"".join(page.messages), page.offset
        assert found == large

    run(main())
