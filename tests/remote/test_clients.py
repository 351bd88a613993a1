"""HTTP clients: own and handed in, of either package, per thread, loop and process; headers and parameters."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from typing import Any

import pytest
from fault_proxy import FaultProxy
from node_server import node_server

from agentstream import AsyncClient, Client, agent, step
from agentstream.backends.base import LeaseHeld, TakeLease
from agentstream.backends.remote import RemoteBackend
from agentstream.backends.remote.exchange import Backoff
from agentstream.errors import StoreError, Unavailable
from agentstream.protocol.operations import Append, Create, Follow, Head, Producer, Read

LIBRARIES = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]
packages = pytest.mark.parametrize("library", [importlib.import_module(name) for name in LIBRARIES], ids=LIBRARIES)


@step
def double(number: int) -> int:
    return number * 2


@step
async def adouble(number: int) -> int:
    return number * 2


@agent
def sums(count: int) -> int:
    return sum(double(number) for number in range(count))


@agent
async def asums(count: int) -> int:
    return sum([await adouble(number) for number in range(count)])


@packages
def test_a_sync_client_that_is_handed_in(library: Any) -> None:
    asked: list[str] = []
    with library.Client(event_hooks={"request": [lambda request: asked.append(request.method)]}) as http:
        client = Client(node_server().place(), http_client=http)
        assert client.session("s").run(sums, 3) == 6
        assert {"PUT", "POST", "GET"} <= set(asked)

        async def elsewhere() -> int:
            return await client.to_async().session("t").run(asums, 3)

        assert asyncio.run(elsewhere()) == 6  # in threads, where it blocks no loop
        client.close()
        assert not http.is_closed  # whoever made it closes it


@packages
def test_an_async_client_that_is_handed_in(library: Any) -> None:
    async def run() -> int:
        async with library.AsyncClient() as http:
            client = AsyncClient(node_server().place(), http_client=http)
            result = await client.session("s").run(asums, 3)
            with pytest.raises(TypeError, match="sync"):
                client.to_sync().session("s").state()
            await client.close()
            assert not http.is_closed
            return result

    assert asyncio.run(run()) == 6


@packages
def test_errors_of_either_package_are_ours(library: Any) -> None:
    with library.Client() as http:
        backend = RemoteBackend("http://127.0.0.1:9/v1", http_client=http, backoff=Backoff(tries=1))
        with pytest.raises(Unavailable):
            backend.execute(Read("s"))
        backend.close()


def test_what_is_no_client() -> None:
    with pytest.raises(TypeError, match="httpx"):
        RemoteBackend("http://127.0.0.1:9/v1", http_client=object())
    with pytest.raises(ValueError, match="headers="):
        Client("memory:", headers={"a": "b"})


def test_a_client_is_closed_once_and_says_so() -> None:
    client = Client(node_server().place())
    client.session("s").append("note", 1)
    client.close()
    client.close()
    with pytest.raises(StoreError, match="closed"):
        client.session("s").state()


def test_fresh_headers_and_parameters_with_every_request_and_retry() -> None:
    with FaultProxy(node_server().place(), lambda number, method, path: 503 if number in (1, 2) else None) as proxy:
        count = iter(range(100))
        backend = RemoteBackend(
            proxy.url,
            headers={"authorization": lambda: f"Bearer {next(count)}", "x-fixed": "always", "content-type": "mine/own"},
            params={"a b": "c&d", "zone": lambda: "eu"},
            backoff=Backoff(first=0.001),
        )
        backend.execute(Create("s"))
        offset = backend.execute(Append("s", (b"1",), producer=Producer("me", 0, 0))).offset
        backend.execute(Read("s", offset))
        assert [headers["authorization"] for _, _, headers in proxy.requests] == [f"Bearer {n}" for n in range(5)]
        assert {headers["x-fixed"] for _, _, headers in proxy.requests} == {"always"}
        assert proxy.requests[0][2]["content-type"] == "application/json"  # what the protocol says is not overwritten
        assert all("a%20b=c%26d" in path and "zone=eu" in path for _, path, _ in proxy.requests)
        names = [pair.partition("=")[0] for pair in proxy.requests[-1][1].partition("?")[2].split("&")]
        assert names == sorted(names)  # one request has one address, for caches on the way
        backend.close()


def test_headers_that_are_awaited() -> None:
    with FaultProxy(node_server().place(), lambda number, method, path: None) as proxy:

        async def token() -> str:
            await asyncio.sleep(0)
            return "Bearer awaited"

        async def run() -> None:
            async with AsyncClient(proxy.url, headers={"authorization": token}) as client:
                await client.session("s").append("note", 1)

        asyncio.run(run())
        assert {headers["authorization"] for _, _, headers in proxy.requests} == {"Bearer awaited"}
        backend = RemoteBackend(proxy.url, headers={"authorization": token})
        with pytest.raises(TypeError, match="AsyncClient"):
            backend.execute(Head("s"))
        backend.close()


def test_every_live_connection_has_fresh_headers() -> None:
    def plan(number: int, method: str, path: str) -> Any:
        return ("cut", 300) if "live=sse" in path else None

    count = iter(range(1000))
    with FaultProxy(node_server().place(), plan) as proxy:
        backend = RemoteBackend(
            proxy.url, headers={"x-count": lambda: str(next(count))}, backoff=Backoff(20, 0.001, 0.001)
        )
        backend.execute(Create("s"))
        found = backend.follow(Follow("s"))
        for number in range(3):
            backend.execute(Append("s", (b"%d" % number,)))
            while (page := next(found)).messages != (b"%d" % number,):
                assert not page.messages
        found.close()  # type: ignore[attr-defined]
        counts = [int(told["x-count"]) for _, _, told in proxy.requests]
        assert counts == sorted(set(counts))
        assert sum("live=sse" in path for _, path, _ in proxy.requests) > 1
        backend.close()


def test_one_pool_a_loop_and_none_is_made_per_call() -> None:
    backend = RemoteBackend(node_server().place())
    made: list[Any] = []

    async def twice() -> None:
        for _ in range(2):
            await backend.aexecute(Create("s"))
            made.append(await backend._sender._async_client())

    asyncio.run(twice())
    asyncio.run(twice())
    assert made[0] is made[1] is not made[2] is made[3]
    assert all(client.is_closed for client in made)  # each with its loop
    first = backend._sender._sync_client()
    backend.execute(Create("s"))
    assert backend._sender._sync_client() is first
    backend.close()
    assert first.is_closed


def test_a_forked_child_has_connections_of_its_own() -> None:
    backend = RemoteBackend(node_server().place())
    backend.execute(Create("s"))
    backend.execute(TakeLease("s", "token"))
    inherited = backend._sender._sync_client()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            backend.execute(Append("s", (b"1",)))
            held = backend.execute(LeaseHeld("s", "token")) and not backend._leases._held
            fresh = backend._sender._sync_client() is not inherited
            backend.close()
            code = 0 if held and fresh else 2
        finally:
            os._exit(code)
    for number in range(20):
        backend.execute(Append("s", (b'"%d"' % number,)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(backend.execute(Read("s")).messages) == 21
    assert backend.execute(LeaseHeld("s", "token"))  # the child did not let go of the parent's
    backend.close()


def test_the_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    url = node_server().place()
    monkeypatch.setenv("AGENTSTREAM_URL", url)
    with Client() as client:
        assert client.name == url
        assert client.session("s").run(sums, 2) == 2
    with Client(f"{url}/") as client:
        assert client.session("s").state().status == "finished"
