"""Live reads: what they bring, what they cost, how they end."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_kit import JSON, TEXT
from serving_kit import HANGING, Served, serving

from agentstream import Client, agent, step
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol import sse
from agentstream.protocol.operations import Append, Batch, Create, Delete, Follow, Read
from agentstream.server import live as live_module
from agentstream.server.exchange import Exchange
from agentstream.server.live import Live
from agentstream.server.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, "--long-poll-timeout", "30") as served:
        yield served


def events(response: httpx.Response) -> Iterator[tuple[str, str]]:
    """The server-sent events of a response, as they come."""
    name, data = "", []
    for line in response.iter_lines():
        if not line and name:
            yield name, "\n".join(data)
            name, data = "", []
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))


class TestOverHttp:
    def test_what_is_appended_comes_with_the_offset_after_it(self, server: Served) -> None:
        with httpx.Client(timeout=HANGING) as client:
            client.put(f"{server.url}/a", headers=JSON, content=b"[1,2]")
            with client.stream("GET", f"{server.url}/a?offset=-1&live=sse") as response:
                found = events(response)
                assert next(found) == ("data", "[1,2]")
                first = json.loads(next(found)[1])
                assert first["upToDate"] is True
                client.post(f"{server.url}/a", headers=JSON, content=b"3")
                assert next(found) == ("data", "[3]")
                second = json.loads(next(found)[1])
                client.post(f"{server.url}/a", headers=JSON | {"stream-closed": "true"}, content=b"4")
                assert next(found) == ("data", "[4]")
                assert json.loads(next(found)[1]) == {
                    "streamNextOffset": "0000000000000004",
                    "streamClosed": True,
                }
                assert list(found) == []  # over: the stream is closed
            # where a reader went on from the first control, it misses nothing
            page = client.get(f"{server.url}/a?offset={first['streamNextOffset']}")
            assert page.json() == [3, 4]
            assert first["streamNextOffset"] < second["streamNextOffset"]

    def test_a_stream_that_is_deleted_ends_its_readers(self, server: Served) -> None:
        with httpx.Client(timeout=HANGING) as client:
            client.put(f"{server.url}/a", headers=TEXT, content=b"1")
            with client.stream("GET", f"{server.url}/a?offset=-1&live=sse") as response:
                found = events(response)
                assert [next(found)[0], next(found)[0]] == ["data", "control"]
                client.delete(f"{server.url}/a")
                client.put(f"{server.url}/a", headers=TEXT, content=b"another life")
                assert [event for event in found if event[0] == "data"] == []

    def test_a_session_that_this_process_writes_is_followed_by_url(self, tmp_path: Path) -> None:
        @step
        def look(place: str) -> str:
            return f"seen {place}"

        @agent
        def tour(places: list[str]) -> list[str]:
            return [look(place) for place in places]

        with serving(tmp_path) as server, Client(tmp_path) as client, httpx.Client(timeout=HANGING) as http:
            session = client.session("tours/Süd 1")
            run = threading.Thread(target=lambda: session.run(tour, ["a", "b"]))
            session.append("custom", {"before": True})
            url = f"{server.url}/tours/S%C3%BCd%201?offset=-1&live=sse"
            with http.stream("GET", url) as response:
                run.start()
                seen: list[Any] = []
                for name, data in events(response):
                    seen += json.loads(data) if name == "data" else []
                    if any(change["type"] == "status" and change["value"]["status"] == "finished" for change in seen):
                        break
            run.join(HANGING)
            assert seen == [json.loads(event.raw) for event in session.events()]


class TestEnding:
    def test_sigterm_ends_live_reads_and_then_the_server(self, server: Served) -> None:
        with httpx.Client(timeout=HANGING) as client:
            client.put(f"{server.url}/a", headers=TEXT, content=b"1")
            offset = client.head(f"{server.url}/a").headers["stream-next-offset"]
            answers: list[httpx.Response] = []
            asked = threading.Event()

            def poll() -> None:
                asked.set()
                answers.append(client.get(f"{server.url}/a?offset={offset}&live=long-poll"))

            poller = threading.Thread(target=poll)
            with client.stream("GET", f"{server.url}/a?offset=-1&live=sse") as response:
                found = events(response)
                assert [next(found)[0], next(found)[0]] == ["data", "control"]
                poller.start()
                asked.wait(HANGING)
                server.process.send_signal(signal.SIGTERM)
                assert list(found) == []  # the response came to its proper end
            poller.join(HANGING)
            # it waited, or the server was no longer there for it
            assert [answer.status_code for answer in answers] in ([204], [])
        assert server.process.wait(HANGING) == 0

    def test_a_restart_loses_nothing(self, tmp_path: Path) -> None:
        producer = {"producer-id": "p", "producer-epoch": "0"}
        with httpx.Client(timeout=HANGING) as client:
            for life in range(3):
                with serving(tmp_path) as server:
                    url = f"{server.url}/a"
                    client.put(url, headers=JSON)
                    for number in range(life * 5, life * 5 + 5):
                        headers = JSON | producer | {"producer-seq": str(number)}
                        assert client.post(url, headers=headers, content=str(number)).status_code == 200
                    # the one before is known still, by whoever serves now
                    headers = JSON | producer | {"producer-seq": str(max(0, life * 5 - 1))}
                    assert client.post(url, headers=headers, content=b"again").status_code == 400  # no JSON
                    assert client.post(url, headers=headers, content=b"0").status_code == 204
                    assert client.get(url).json() == list(range(life * 5 + 5))
                    server.kill() if life % 2 else server.terminate()

    def test_several_serve_one_store(self, tmp_path: Path) -> None:
        with serving(tmp_path) as one, serving(tmp_path) as other, httpx.Client(timeout=HANGING) as client:
            client.put(f"{one.url}/a", headers=JSON)
            with client.stream("GET", f"{other.url}/a?offset=-1&live=sse") as response:
                found = events(response)
                assert next(found)[0] == "control"
                for number in range(3):
                    client.post(f"{(one, other)[number % 2].url}/a", headers=JSON, content=str(number))
                    assert next(found) == ("data", f"[{number}]")
                    assert next(found)[0] == "control"


class Wire:
    """The other end of an exchange without a socket: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.gone = asyncio.Event()
        self.came = asyncio.Event()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.sent.append(message.get("body", b""))
        self.came.set()

    def exchange(self, settings: Settings) -> Exchange:
        scope = {"method": "GET", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}
        return Exchange(scope, self.receive, self.send, settings)


class Counting(EmbeddedBackend):
    """Counts the pages that it reads from the store."""

    def __init__(self) -> None:
        super().__init__(None)
        self.pages = 0

    def _page(self, operation: Read, page_bytes: int) -> Batch:
        self.pages += 1
        return super()._page(operation, page_bytes)


def following(test: Callable[[Live, Counting, list[Wire]], Any], readers: int, **settings: Any) -> None:
    async def run() -> None:
        backend = Counting()
        backend.execute(Create("a", (b"0",)))
        live = Live(backend, Settings(**settings))
        wires = [Wire() for _ in range(readers)]
        follow = Follow("a", "0000000000000001")
        tasks = [asyncio.create_task(live.follow(wire.exchange(Settings(**settings)), follow)) for wire in wires]
        try:
            await test(live, backend, wires)
        finally:
            live.stop()
            await asyncio.wait_for(asyncio.gather(*tasks), HANGING)
            backend.close()

    asyncio.run(run())


async def all_have(wires: list[Wire], text: bytes) -> None:
    for wire in wires:
        while text not in b"".join(wire.sent):
            wire.came.clear()
            await asyncio.wait_for(wire.came.wait(), HANGING)


def test_one_append_is_read_and_written_as_events_once_however_many_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Any] = []
    real = sse.events_of
    monkeypatch.setattr(live_module, "events_of", lambda *args: encoded.append(args) or real(*args))

    async def test(live: Live, backend: Counting, wires: list[Wire]) -> None:
        await all_have(wires, b"control")
        for number in range(5):
            encoded.clear()
            backend.pages = 0
            await backend.aexecute(Append("a", (b'"fresh %d"' % number,)))
            await all_have(wires, b"fresh %d" % number)
            assert backend.pages <= 4
            assert sum(b"fresh" in args[0].messages[0] for args in encoded if args[0].messages) <= 2

    following(test, 200)


def test_who_hangs_up_is_waited_for_no_longer() -> None:
    async def test(live: Live, backend: Counting, wires: list[Wire]) -> None:
        await all_have(wires, b"control")
        assert len(live._reading) == 20
        for wire in wires[5:]:
            wire.gone.set()
        while len(live._reading) > 5:
            await asyncio.sleep(0)
        await backend.aexecute(Append("a", (b'"more"',)))
        await all_have(wires[:5], b"more")
        assert not any(b"more" in b"".join(wire.sent) for wire in wires[5:])

    following(test, 20)


def test_offsets_of_one_life_of_a_path_are_not_those_of_the_next() -> None:
    async def run() -> None:
        backend = EmbeddedBackend(None)
        backend.execute(Create("a", (b"0",)))
        wire = Wire()
        task = asyncio.create_task(Live(backend, Settings()).follow(wire.exchange(Settings()), Follow("a")))
        await all_have([wire], b"control")
        backend.execute(Delete("a"))
        backend.execute(Create("a", (b"0", b'"of another life"')))
        await asyncio.wait_for(task, HANGING)
        assert b"life" not in b"".join(wire.sent)
        backend.close()

    asyncio.run(run())


def test_a_connection_ends_after_its_time_and_is_kept_alive_until_then() -> None:
    async def run() -> None:
        backend = EmbeddedBackend(None)
        backend.execute(Create("a", (b"0",)))
        settings = Settings(sse=0.2, heartbeat=0.01)
        wire = Wire()
        await asyncio.wait_for(Live(backend, settings).follow(wire.exchange(settings), Follow("a")), HANGING)
        assert wire.sent[0].startswith(b"event: data")
        assert b": \n\n" in wire.sent
        assert wire.sent[-1] == b""
        backend.close()

    asyncio.run(run())
