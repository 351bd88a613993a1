"""Streamable HTTP of a real server: resumed from any event, in another process, and after the server was killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from mcp import ClientSession, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_kit import Process, Raw, forwarding, gate, progress_in

Connect = Callable[..., Raw]

WHOLE = [1.0, 2.0, 3.0, "counted to 3"]
DIED = "the server's process ended before it answered; whether the request took effect is unknown. Ask again"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcp")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Process]:
    with Process(folder) as made:
        yield made


@pytest.fixture(scope="module")
def other(folder: Path) -> Iterator[Process]:
    with Process(folder) as made:
        yield made


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as open_ones:
        yield lambda *place: open_ones.enter_context(closing(Raw(*place)))


def test_a_stream_is_resumed_from_each_of_its_events(connect: Connect, server: Process, other: Process) -> None:
    """In the process that has the session, and in another one: what is missing comes, once, and nothing else."""
    client = connect(server.url)
    with client.call("count", to=3, gate="") as events:
        told = list(events)
    assert progress_in(told) == WHOLE
    assert told[0][1] is None, "the first event only says where the stream begins"
    for url in (server.url, other.url):
        for place, (event, _) in enumerate(told):
            with client.get(event, url=url) as (status, rest):
                found = list(rest)
            if place == len(told) - 1 and url == other.url:
                assert (status, found) in ((200, []), (404, []))
            else:
                assert (status, found) == (200, told[place + 1 :])


def test_another_process_hands_on_what_comes_live(
    connect: Connect, server: Process, other: Process, tmp_path: Path
) -> None:
    """Hung up in the middle of a call, and resumed elsewhere while the tool still works."""
    client, closed = connect(server.url), gate(tmp_path / "gate")
    with client.call("count", to=3, gate=str(closed)) as events:
        first = [next(events) for _ in range(3)]
    with client.get(first[1][0], url=other.url) as (status, events):
        assert status == 200
        assert next(events) == first[2]
        closed.write_text("")
        assert progress_in([first[2], *events]) == WHOLE[1:]


def test_streams_of_others_are_not_to_be_had(connect: Connect, server: Process, other: Process) -> None:
    """An event's id is no key to it: it is given to the session that it is of, and to nobody else."""
    mine, foreign = connect(server.url), connect(server.url)
    with foreign.call("count", to=3, gate="") as events:
        told = list(events)
    for url in (server.url, other.url):
        with mine.get(told[0][0], url=url) as (_, events):
            assert list(events) == []
        with connect(url, "made-up").get(told[0][0], url=url) as (status, _):
            assert status == 404
    for made_up in ("1", "a.b.c", told[0][0] + "0", told[0][0] + ".x", "." * 9):
        with foreign.get(made_up) as (_, events):
            assert list(events) == []


def test_a_session_that_its_client_ended_is_no_more(connect: Connect, server: Process, other: Process) -> None:
    client = connect(server.url)
    with client.call("count", to=3, gate="") as events:
        told = list(events)
    assert client.delete() == 200
    for url in (server.url, other.url):
        with client.get(told[0][0], url=url) as (status, _):
            assert status == 404


def test_an_answer_outlives_its_server(connect: Connect, folder: Path, tmp_path: Path) -> None:
    """The client hung up, the tool came to its end, the server was killed: another one has the answer."""
    closed = gate(tmp_path / "gate")
    with Process(folder) as killed:
        client = connect(killed.url)
        with client.call("count", to=3, gate=str(closed)) as events:
            first = [next(events) for _ in range(2)]
        closed.write_text("")
        with client.get(first[-1][0]) as (_, events):
            assert progress_in(list(events)) == WHOLE[1:]
        killed.kill()
        with Process(folder) as again, client.get(first[-1][0], url=again.url) as (status, events):
            assert (status, progress_in(list(events))) == (200, WHOLE[1:])


def test_a_call_whose_server_was_killed_is_answered_with_an_error(
    folder: Path, server: Process, tmp_path: Path
) -> None:
    """The SDK's own client, unaware of it: it resumes, and is told; without that it would wait for ever."""
    closed, reached = gate(tmp_path / "gate"), asyncio.Event()

    async def main() -> None:
        with Process(folder) as killed:
            servers = [killed]

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                if progress == 2:
                    reached.set()

            async def replace() -> None:
                await reached.wait()
                servers.append(server)
                await asyncio.to_thread(killed.kill)

            task = asyncio.create_task(replace())
            async with (
                forwarding(servers) as url,
                streamable_http_client(url) as (read, write),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                with pytest.raises(MCPError, match=DIED):
                    await session.call_tool("count", {"to": 3, "gate": str(closed)}, progress_callback=on_progress)
                await task

    asyncio.run(asyncio.wait_for(main(), 60))


def test_notifications_that_nobody_asked_for_are_resumed_too(
    connect: Connect, folder: Path, server: Process, other: Process
) -> None:
    """In another process while the session lives; once its server is dead what is left, and then nothing: 404."""
    with Process(folder) as killed:
        client = connect(killed.url)
        with client.get(None) as (_, events):
            for _ in range(2):
                with client.call("announce") as answer:
                    list(answer)
            first, second = next(events), next(events)
        assert first[1]["method"] == second[1]["method"] == "notifications/tools/list_changed"
        with client.get(first[0], url=other.url) as (status, events):
            assert (status, next(events)) == (200, second)
            with client.call("announce") as answer:
                list(answer)
            third = next(events)
        killed.kill()
        with client.get(second[0], url=other.url) as (status, events):
            assert (status, list(events)) == (200, [third])
        with client.get(third[0], url=other.url) as (status, events):
            assert (status, list(events)) == (404, [])
