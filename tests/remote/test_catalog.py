"""Sessions on a server are listed by a catalog of streams, which is a hint and no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fault_proxy import FaultProxy
from node_server import node_server
from our_server import our_server

from agentstream import AsyncClient, Client
from agentstream.backends.remote import RemoteBackend
from agentstream.backends.remote.exchange import Backoff
from agentstream.errors import AgentStreamError
from agentstream.protocol.operations import Create, Read
from agentstream.sessions import codec

IDS = ["alone", "support/1", "support/2", "support/deep/3", "ünï/x y", "other/1"]


@pytest.fixture(params=["ours", "node"])
def client(request: pytest.FixtureRequest) -> Any:
    server: Any = our_server() if request.param == "ours" else node_server()
    with Client(server.place()) as made:
        yield made


def made(client: Client, *ids: str) -> None:
    for id in ids:
        client.session(id).append("note", {"id": id})


def test_sessions_are_listed(client: Client) -> None:
    assert client.sessions() == []
    made(client, *IDS)
    assert sorted(found.id for found in client.sessions()) == sorted(IDS)
    assert {found.id for found in client.sessions(prefix="support/")} == {"support/1", "support/2", "support/deep/3"}
    assert {found.id for found in client.sessions(prefix="support/de")} == {"support/deep/3"}
    assert {found.id for found in client.sessions(prefix="su")} == {"support/1", "support/2", "support/deep/3"}
    assert [found.id for found in client.sessions(prefix="alone")] == ["alone"]
    assert client.sessions(prefix="none/") == []
    newest = client.sessions(limit=1)
    made(client, "support/1")
    assert [found.id for found in client.sessions(limit=1)] == ["support/1"] != [newest[0].id]
    assert [found.id for found in client.sessions(text="nothing")] == []


def test_another_client_sees_what_comes_and_goes(client: Client) -> None:
    with Client(client.name) as other:
        made(client, "a/1", "a/2", "b")
        assert {found.id for found in other.sessions()} == {"a/1", "a/2", "b"}
        client.session("a/1").delete()
        client.session("b").delete()
        client.session("a/2").fork("c/1", at=1)
        assert {found.id for found in other.sessions()} == {"a/2", "c/1"}
        made(client, "b")
        assert {found.id for found in other.sessions()} == {"a/2", "b", "c/1"}


def test_a_session_that_lives_elsewhere_is_listed(client: Client) -> None:
    made(client, "s")
    branch = client.session("s").fork("branch")
    client.session("s").delete()
    made(client, "s")  # its own path is taken while the fork lives
    assert {found.id for found in client.sessions()} == {"s", "branch"}
    assert len(list(branch.events())) == 3


def test_tasks_list(client: Client) -> None:
    import asyncio

    async def listed() -> set[str]:
        async with AsyncClient(client.name) as other:
            await other.session("x/1").append("note", {})
            return {found.id for found in await other.sessions()}

    assert asyncio.run(listed()) == {"x/1"}


def test_the_catalog_is_written_before_the_stream(client: Client) -> None:
    proxy = FaultProxy(client.name, lambda number, method, path: None)
    with proxy, Client(proxy.url) as watched:
        made(watched, "a/1")
        writes = [
            path.rpartition("/v1/stream/")[2].partition("/")[2] for way, path, _ in proxy.requests if way != "GET"
        ]
        assert writes.index("~cat/a") < writes.index("a/1")
        proxy.requests.clear()
        watched.session("a/1").append("note", {})
        list(watched.session("a/1").events())
        assert not [path for _, path, _ in proxy.requests if "~cat" in path]  # only what makes or deletes writes it


def test_without_a_catalog_sessions_are_there_all_the_same(client: Client) -> None:
    def refuse(number: int, method: str, path: str) -> Any:
        return 403 if "~cat" in path else None

    with FaultProxy(client.name, refuse) as proxy, Client(proxy.url) as other:
        made(other, "a/1")
        assert len(list(other.session("a/1").events())) == 2
        other.session("a/1").delete()


def test_a_strange_catalog_is_no_trouble(client: Client) -> None:
    backend: Any = client._core.backend
    backend.execute(Create("~cat", (b"1", b'{"key":4}', b'"x"', b'{"key":"gone","headers":{"operation":"insert"}}')))
    made(client, "alone")
    assert [found.id for found in client.sessions()] == ["alone"]


def test_every_message_of_it_is_a_change(client: Client) -> None:
    made(client, "a/1")
    client.session("a/1").delete()
    backend: Any = client._core.backend
    names = [codec.loads(message) for message in backend.execute(Read("~cat/a")).messages]
    assert [(name["type"], name["key"], name["headers"]["operation"]) for name in names] == [
        ("stream", "a/1", "insert"),
        ("stream", "a/1", "delete"),
    ]


def test_what_a_catalog_is_not_enough_for(client: Client) -> None:
    with pytest.raises(AgentStreamError, match="cannot list all"):
        client.gc()


def test_names_are_remembered(client: Client) -> None:
    made(client, "a/1")
    client.sessions()
    backend: Any = client._core.backend
    assert isinstance(backend, RemoteBackend)
    backend._catalog.reset()
    assert [found.id for found in client.sessions()] == ["a/1"]


def test_many_make_sessions_at_once(client: Client) -> None:
    def make(number: int) -> None:
        with Client(client.name) as own:
            made(own, *(f"{folder}/{number}" for folder in ("a", "b", f"own {number}")), f"top {number}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(8)))
    expected = {f"{folder}/{n}" for n in range(8) for folder in ("a", "b", f"own {n}")} | {f"top {n}" for n in range(8)}
    assert sorted(found.id for found in client.sessions()) == sorted(expected)


@pytest.mark.parametrize("fault", ["drop", "refuse", "twice"])
def test_answers_are_lost(client: Client, fault: str) -> None:
    """Every second request about the catalog goes wrong once."""
    seen: list[str] = []

    def plan(number: int, method: str, path: str) -> str | None:
        if "/~cat" not in path or method == "GET":
            return None
        seen.append(path)
        return fault if len(seen) % 2 else None

    with FaultProxy(client.name, plan) as proxy:
        soon = Backoff(tries=6, first=0.002, longest=0.01)
        with Client(RemoteBackend(proxy.url, backoff=soon)) as through:
            made(through, "a/1", "a/2", "b/1")
            through.session("a/1").fork("c/1")
            through.session("a/2").delete()
    assert len(seen) > 4
    assert sorted(found.id for found in client.sessions()) == ["a/1", "b/1", "c/1"]


def test_sessions_are_searched(client: Client) -> None:
    made(client, "a/1", "a/2", "b/1")
    client.session("a/1").label("The first", {"team": "north"})
    client.session("a/2").append("message", {"role": "user", "text": "where is Order 7?"})
    client.session("a/2").fork("a/3", at=1)

    def found(**conditions: Any) -> list[str]:
        return sorted(each.id for each in client.sessions(**conditions))

    assert found(tag="team=north") == found(title="first") == ["a/1"]
    assert found(text="order 7") == ["a/2"]
    assert found(parent="a/2") == ["a/3"]
    assert len(client.sessions(limit=2, sort="created")) == 2
