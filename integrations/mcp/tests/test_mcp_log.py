"""The event store by itself: parts, ends, ids, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import agentstream_mcp._log as log
import pytest
from agentstream_mcp import StreamEventStore
from agentstream_mcp._events import McpSession, current
from agentstream_mcp._log import EventId
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCNotification, JSONRPCResponse

from agentstream import AgentStreamError, AsyncClient, Client

EXAMPLE = Path(__file__).parents[1] / "examples" / "served.py"


def note(number: int) -> Any:
    return JSONRPCNotification(jsonrpc="2.0", method="notifications/n", params={"n": number, "large": 2**60, "f": 1.0})


def answer() -> Any:
    return JSONRPCResponse(jsonrpc="2.0", id="r", result={"done": True})


async def replayed(store: StreamEventStore, after: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []

    async def take(event: EventMessage) -> None:
        found.append((str(event.event_id), event.message))

    assert await store.replay_events_after(after, take) is None
    return found


def test_a_long_stream_is_kept_in_parts_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "PART", 3)

    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            store = StreamEventStore(client)
            session = McpSession("scope", store._process)
            current.set(session)
            ids = [await store.store_event("r", None)]
            ids += [await store.store_event("r", note(number)) for number in range(8)]
            ids.append(await store.store_event("r", answer()))
            assert len(set(ids)) == len(ids)
            assert {EventId.parse(id)[2] for id in ids} == {0, 1, 2, 3}  # type: ignore[index]
            told = [*zip(ids[1:], [*map(note, range(8)), answer()], strict=True)]
            for place, id in enumerate(ids):
                assert await replayed(store, id) == told[place:]
            other = StreamEventStore(AsyncClient(tmp_path))
            assert await replayed(other, ids[0]) == told
            assert session.logs == {}, "a request that was answered is not kept in mind"
            again = await store.store_event("r", note(1))
            assert EventId.parse(again)[1] != EventId.parse(ids[0])[1]  # type: ignore[index]

    asyncio.run(main())


def test_what_is_no_event_of_this_session_gives_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            store = StreamEventStore(client)
            current.set(McpSession("mine", store._process))
            mine = await store.store_event("r", note(1))
            await store.store_event("r", answer())
            current.set(McpSession("other", store._process))
            for id in (
                mine,
                mine.replace("mine", "other"),
                "",
                "x",
                "other.r.0.1",
                "../../x.r.0.1",
                f"{mine}9",
                "\0",
                "a.b.c.d",
            ):
                assert await replayed(store, id) == []

    asyncio.run(main())


def test_without_the_app_around_it_the_store_says_so(tmp_path: Path) -> None:
    store = StreamEventStore(Client(tmp_path))
    current.set(None)
    with pytest.raises(AgentStreamError, match="resumable"):
        asyncio.run(store.store_event("1", None))
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="ttl="):
            StreamEventStore(Client(tmp_path), ttl=wrong)  # type: ignore[arg-type]


def test_the_example(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the tool runs: tea") == 1
    assert "replayed: True" in done.stdout


def test_a_stream_of_another_process_is_given_to_its_owner_alone(tmp_path: Path) -> None:
    """Where the server asks for tokens: whoever else has the session's id is answered as the server answered."""

    async def not_here(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def person(name: str) -> Any:
        token = SimpleNamespace(client_id=name, subject=None, claims=None)
        return SimpleNamespace(access_token=token)

    async def asked(store: StreamEventStore, after: str, user: Any) -> tuple[int, bytes]:
        headers = [(b"mcp-session-id", b"the-id"), (b"last-event-id", after.encode())]
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "headers": headers, "user": user}
        await store.resumable(not_here)(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            writer, reader = StreamEventStore(client), StreamEventStore(client)
            session = writer.opened()
            await writer.named("the-id", session, ["ada", None, None])
            current.set(session)
            first = await writer.store_event("r", note(1))
            await writer.store_event("r", answer())
            status, body = await asked(reader, first, person("ada"))
            assert status == 200
            assert b'"done":true' in body
            for stranger in (person("eve"), None):
                assert await asked(reader, first, stranger) == (404, b"")

    asyncio.run(main())
