"""The app inside somebody else's."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from agentstream import Client
from agentstream.server import app

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("mount", ["", "/durable", "/a/b"])
def test_in_starlette_below_any_path(mount: str) -> None:
    async def run() -> None:
        with Client("memory:") as client:
            inner = app(client)

            async def hello(request: object) -> PlainTextResponse:
                return PlainTextResponse("hello")

            outer = Starlette(routes=[Route("/hello", hello), Mount(mount or "/", inner)])
            transport = httpx.ASGITransport(app=outer)
            base = f"http://127.0.0.1:4437{mount}/v1/stream/"
            async with httpx.AsyncClient(transport=transport, base_url=base) as http:
                assert (await http.get("http://127.0.0.1:4437/hello")).text == "hello"
                made = await http.put("x/y%2Fz", headers=JSON, content=b"[1]")
                assert made.status_code == 201
                assert made.headers["location"] == f"{base}x/y%2Fz"
                fork = JSON | {"stream-forked-from": f"{mount}/v1/stream/x/y%2Fz"}
                assert (await http.put("fork", headers=fork)).status_code == 201
                assert (await http.get("fork")).json() == [1]
                asked = {"type": "pull-wake", "pattern": "x/*", "wake_stream": "w"}
                assert (await http.put("__ds/subscriptions/s", json=asked)).status_code == 201
            await inner.close()

    asyncio.run(run())


def test_in_one_event_loop_after_another() -> None:
    with Client("memory:") as client:
        inner = app(client)

        async def run(status: int) -> None:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=inner)) as http:
                asked = {"type": "pull-wake", "pattern": "x/*", "wake_stream": "w"}
                made = await http.put("http://localhost/v1/stream/__ds/subscriptions/s", json=asked)
                assert made.status_code == status

        for status in (201, 200, 200):
            asyncio.run(run(status))


def test_sessions_of_the_client_are_there() -> None:
    async def run() -> None:
        with Client("memory:") as client:
            session = client.session("talks/1")
            session.append("custom", {"a": 1})
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app(client))) as http:
                found = (await http.get("http://localhost/v1/stream/talks/1")).json()
                assert [change["type"] for change in found] == [event.type for event in session.events()]

    asyncio.run(run())
