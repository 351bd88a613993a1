"""Who comes again is given what follows, and the session is not read again for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentstream import AsyncClient, AsyncSession
from agentstream.frontends import app, to_ag_ui, views
from agentstream.frontends.application import Application

HANGING = 60


async def read(front: Application, last: int | None, count: int) -> list[tuple[int, str]]:
    """The next so many of a session, with their numbers; then the reader is gone."""
    gone = asyncio.Event()
    told: list[bytes] = []
    headers = [] if last is None else [(b"last-event-id", str(last).encode())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/session/s/ag-ui",
        "raw_path": b"/v1/session/s/ag-ui",
        "query_string": b"live=1",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message.get("body", b""))
        if b"".join(told).count(b"id: ") >= count:
            gone.set()

    await asyncio.wait_for(front(scope, receive, send), HANGING)
    found: list[tuple[int, str]] = []
    for block in b"".join(told).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "id" in fields:
            found.append((int(fields["id"]), fields["data"]))
    return found


def test_it_goes_on_from_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[bool] = []
    events = AsyncSession.events

    def watched(self: AsyncSession, **asked: Any) -> Any:
        starts.append(asked.get("start") is None)
        return events(self, **asked)

    async def test() -> None:
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            for n in range(20):
                await session.append("note", {"n": n})
            front = app(client, public=True)

            async def whole() -> list[tuple[int, str]]:
                fresh = app(client, public=True)
                made = [each async for each in session.events()]
                found = await read(fresh, None, len(list(to_ag_ui(made))))
                await fresh.close()
                return found

            def anew() -> bool:
                """Whether the session was read from its start."""
                said = any(starts)
                starts.clear()
                return said

            before = await whole()
            monkeypatch.setattr(AsyncSession, "events", watched)
            assert await read(front, None, len(before)) == before
            assert anew()
            # what it did not get before the connection broke, and what came since
            await session.append("note", {"n": "later"})
            rest = await read(front, 5, len(before) - 5)
            assert not anew()
            assert rest == (await whole())[6:]
            starts.clear()

            # what is not kept any more
            monkeypatch.setattr(views, "KEPT", 3)
            await session.append("note", {"n": "last"})
            assert (await read(front, len(before), 1)) == (await whole())[len(before) + 1 :]
            starts.clear()
            assert (await read(front, 2, 1)) == (await whole())[3:]
            assert anew()

            # another session of that name
            await session.delete()
            for n in range(30):
                await session.append("other", {"n": n})
            after = await whole()
            starts.clear()
            assert (await read(front, len(before), 1)) == after[len(before) + 1 :]
            assert anew()
            await front.close()

    asyncio.run(test())
