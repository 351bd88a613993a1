"""The server's app in this process, asked without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from agentstream.backends.embedded import EmbeddedBackend
from agentstream.server import app
from agentstream.server.application import Application

T = TypeVar("T")

ROOT = "/v1/stream"
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain"}


@asynccontextmanager
async def asking(application: Application, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app; streams are asked for by their path alone."""
    transport = httpx.ASGITransport(app=application, client=options.pop("peer", ("127.0.0.1", 5)))  # type: ignore[arg-type]
    base = options.pop("base_url", f"http://127.0.0.1:4437{ROOT}/")
    try:
        async with httpx.AsyncClient(transport=transport, base_url=base, **options) as client:
            yield client
    finally:
        await application.close()


def served(test: Callable[[httpx.AsyncClient], Awaitable[T]], backend: Any = None, **options: Any) -> T:
    """Runs `test` with a client of an app over `backend` (a new one in memory)."""

    async def run() -> T:
        own = backend if backend is not None else EmbeddedBackend(None)
        names = ("peer", "base_url", "headers")
        asked = {name: options.pop(name) for name in names if name in options}
        try:
            async with asking(app(own, **options), **asked) as client:
                return await test(client)
        finally:
            if backend is None:
                own.close()

    return asyncio.run(run())


def code_of(response: httpx.Response) -> str:
    """The stable code of a refusal, which is a JSON problem that says its own status."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["detail"]
    return problem["code"]


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """What `condition` gives, once it gives something."""
    while True:
        found = await condition()
        if found:
            return found
        await asyncio.sleep(0.01)
