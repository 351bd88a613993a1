"""The inspector's app in this process, over a store of its own; and `agentstream ui` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from agentstream import AsyncClient
from agentstream.inspector.app import Application
from agentstream.inspector.service import Inspector

T = TypeVar("T")
TOKEN = "a-token-of-this-test"
ORIGIN = "http://127.0.0.1:4438"


class Page:
    """What the page does: asks with its token, from its own origin."""

    def __init__(self, http: httpx.AsyncClient, inspector: Inspector) -> None:
        self.http = http
        self.inspector = inspector
        self.client = inspector.client

    async def get(self, path: str, /, *, fails: int = 200, **parameters: Any) -> Any:
        """What a GET answers; what it is told where it fails with this status."""
        return self._told(await self.http.get(f"/api/{path}", params=parameters), fails)

    async def post(self, path: str, body: Any, *, fails: int = 200) -> Any:
        return self._told(await self.http.post(f"/api/{path}", json=body), fails)

    @staticmethod
    def _told(response: httpx.Response, status: int) -> Any:
        assert response.status_code == status, response.text[:500]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        if status < 400:
            return response.json()
        error = response.json()["error"]
        assert error["message"]
        return error

    async def rows(self, session: str, **parameters: Any) -> list[Any]:
        """The lines of a session's rows."""
        response = await self.http.get("/api/rows", params={"session": session, **parameters})
        assert response.status_code == 200, response.text[:500]
        return [json.loads(line) for line in response.text.splitlines()]

    async def event(self, session: str, index: int) -> Any:
        """One event's document."""
        (found,) = (await self.get("events", session=session, at=index))["events"]
        return found


@asynccontextmanager
async def looking(store: Path | str | Any, **options: Any) -> AsyncIterator[Page]:
    """A page over a store (or a client)."""
    client = store if isinstance(store, AsyncClient) else AsyncClient(store)
    inspector = Inspector(client, **options)
    app = Application(inspector, TOKEN)
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 5), raise_app_exceptions=True)  # type: ignore[arg-type]
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as http:
            yield Page(http, inspector)
    finally:
        await app.close()
        await client.close()


def looked(store: Path | str | Any, test: Callable[[Page], Awaitable[T]], **options: Any) -> T:
    """Runs `test` with a page over a store."""

    async def run() -> T:
        async with looking(store, **options) as page:
            return await asyncio.wait_for(test(page), 60)

    return asyncio.run(run())


@contextmanager
def ui(*arguments: str, folder: Path, **variables: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """`agentstream ui` as a process: the origin and the token of the URL that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agentstream.cli", "ui", "--no-browser", *arguments],
        env={**os.environ, **variables},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        origin, _, fragment = line.partition("/#/")
        assert origin, process.stderr.read() if process.stderr is not None else ""
        yield origin, fragment.rpartition("token=")[2], process
    finally:
        process.kill()
        process.communicate()
