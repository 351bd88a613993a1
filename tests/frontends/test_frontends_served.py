"""`/v1/session/{id}/ag-ui` and `/ai-sdk` of `agentstream serve`: live, resumed, looked at by the npm clients."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from frontends_kit import call_model, everything, peers, said
from our_server import our_server

from agentstream import AsyncClient, Client, Session, agent, delta
from agentstream.frontends import app, to_ag_ui, to_ai_sdk

HANGING = 60


class Place:
    """A root on the server, written through its streams and looked at as a front end does."""

    def __init__(self) -> None:
        root = our_server().place()
        self.client = Client(root)
        self._sessions = root.replace("/v1/stream/", "/v1/session/")

    def url(self, session: str, form: str, query: str = "") -> str:
        return f"{self._sessions}/{session}/{form}{query}"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    place = Place()
    with place.client:
        everything(place.client.session("whole"))
        yield place


def plain(text: str) -> str:
    """Without what the server calls the sessions: they are below a root of their own there."""
    return re.sub(r'"[0-9a-f]{12}/', '"', text)


def parts(text: str) -> list[tuple[int | None, Any]]:
    """The ids and the data of a response; without its `[DONE]`."""
    found: list[tuple[int | None, Any]] = []
    for block in plain(text).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields and fields["data"] != "[DONE]":
            found.append((int(fields["id"]) if "id" in fields else None, json.loads(fields["data"])))
    return found


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=HANGING)


def test_the_same_for_every_reader_from_anywhere(place: Place) -> None:
    session = place.client.session("whole")
    expected = list(to_ag_ui(session.events()))
    url = place.url("whole", "ag-ui")
    answer = get(url)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = parts(answer.text)
    assert [data for _, data in told] == expected
    assert [id for id, _ in told] == list(range(len(told)))
    for start in (0, 1, 7, len(told) - 1):
        assert parts(get(f"{url}?startIndex={start}").text) == told[start:]
        assert parts(get(url, **{"Last-Event-ID": str(start)}).text) == told[start + 1 :]
    assert parts(get(f"{url}?startIndex=-3").text) == told[-3:]
    assert get(url, **{"Last-Event-ID": str(len(told) - 1)}).status_code == 204  # an EventSource then stops


def test_a_run_from_anywhere(place: Place) -> None:
    session = place.client.session("whole")
    first, second = session.state().runs
    url = place.url("whole", "ai-sdk", f"?run={first}")
    answer = get(url)
    chunks = parts(answer.text)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["x-workflow-run-id"] == first
    tail = int(answer.headers["x-workflow-stream-tail-index"])
    assert [data for _, data in chunks] == list(to_ai_sdk(session.events(), run=first))
    assert [id for id, _ in chunks] == [*range(tail + 1), None]  # the end is no part of the sequence
    for start in (0, 3, tail, -2):
        assert parts(get(f"{url}&startIndex={start}").text) == chunks[start if start >= 0 else start - 1 :]
    assert parts(get(place.url("whole", "ai-sdk", "?startIndex=0")).text)[0][1]["messageId"] == second
    assert get(place.url("whole", "ai-sdk")).status_code == 204  # nothing to resume
    assert get(place.url("whole", "ai-sdk", "?run=none")).status_code == 404


def test_the_npm_clients_read_what_is_served(place: Place) -> None:
    [chat] = peers("ai-sdk-http", place.url("whole", "ai-sdk"))
    assert chat == {"message": None, "none": True}
    for start in ("0", "-2"):
        [workflow] = peers("workflow", place.url("whole", "ai-sdk"), start)
        assert workflow["errors"] == []
        assert workflow["seen"][-1] == "finish"
    [agui] = peers("ag-ui-http", place.url("whole", "ag-ui"))
    assert [message["role"] for message in agui["messages"]].count("tool") == 1
    assert agui["events"][-1] == "RUN_FINISHED"


class Held:
    """An agent that says a word, and the next when it is let."""

    def __init__(self, session: Session, *, fails: bool = False) -> None:
        self._go = threading.Event()
        self._more = threading.Event()

        @agent
        def talk() -> str:
            call_model(1, [{"role": "user", "content": "q"}], said("first"))
            delta("spoken")
            self._go.wait(HANGING)
            call_model(2, [{"role": "user", "content": "q"}], said("second"))
            if fails:
                raise ValueError("no more")
            return "done"

        self._thread = threading.Thread(target=self._run, args=(session, talk))
        session.append("message", {"role": "user", "content": "q"})
        self._thread.start()
        next(event for event in session.follow() if event.type == "outcome")

    def _run(self, session: Session, talk: Any) -> None:
        try:
            session.run(talk)
        except ValueError:
            return

    def let(self) -> None:
        self._go.set()
        self._thread.join(HANGING)


@pytest.mark.parametrize(("form", "fails"), [("ag-ui", False), ("ai-sdk", False), ("ai-sdk", True)])
def test_live(form: str, fails: bool, place: Place) -> None:
    name = f"live-{form}-{fails}"
    session = place.client.session(name)
    held = Held(session, fails=fails)
    text = ""
    try:
        with httpx.stream("GET", place.url(name, form), timeout=HANGING) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_text():
                text += piece
                if "first " in text and not held._go.is_set():
                    assert "second" not in text
                    held.let()
    finally:
        held.let()
    told = [data for _, data in parts(text)]
    if form == "ag-ui":
        assert told == list(to_ag_ui(session.events()))
        assert told[-1]["type"] == "RUN_FINISHED"
    else:
        assert told == list(to_ai_sdk(session.events()))
        assert [chunk["type"] for chunk in told[-2:]] == (["error", "finish"] if fails else ["data-result", "finish"])
        assert text.endswith("data: [DONE]\n\n")


def test_who_joins_gets_what_is_open(place: Place) -> None:
    session = place.client.session("joined")
    held = Held(session)
    try:
        with httpx.stream("GET", place.url("joined", "ag-ui", "?start=now"), timeout=HANGING) as answer:
            text = ""
            for piece in answer.iter_text():
                text += piece
                held.let()
    finally:
        held.let()
    told = [data for _, data in parts(text)]
    assert [each["type"] for each in told[:2]] == ["RUN_STARTED", "MESSAGES_SNAPSHOT"]
    [made] = peers("ag-ui", stdin=[told])
    said_by = [message["content"].strip() for message in made["messages"] if message["role"] == "assistant"]
    assert sorted(said_by) == ["first", "second", "spoken"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "whole/other", 404),
        ("GET", "missing/ag-ui", 404),
        ("GET", "missing/ai-sdk", 404),
        ("GET", "whole/ag-ui?startIndex=x", 400),
        ("GET", "~at/ag-ui", 400),
        ("POST", "whole/ag-ui", 405),
        ("HEAD", "whole/ag-ui", 200),
        ("OPTIONS", "whole/ag-ui", 204),
    ],
)
def test_what_is_refused(method: str, path: str, status: int, place: Place) -> None:
    url = f"{place._sessions}/{path}" if not path.startswith("~") else f"{our_server().url[:-7]}/session/{path}"
    answer = httpx.request(method, url, timeout=HANGING)
    assert answer.status_code == status
    if status >= 400:
        assert answer.json()["status"] == status


def asked(application: Any, path: str, *, peer: str = "127.0.0.1", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=application, client=(peer, 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_who_may_look() -> None:
    with Client("memory:") as client:
        client.session("a/1").append("note", 1)
        plain = app(client)
        assert asked(plain, "/v1/session/a/1/ag-ui").status_code == 200
        assert asked(plain, "/v1/session/a/1/ag-ui", peer="10.0.0.1").status_code == 403
        assert asked(plain, "/v1/session/a/1/ag-ui", origin="https://evil.example").status_code == 403
        allowed = asked(
            app(client, origins=["https://ui.example"]), "/v1/session/a/1/ag-ui", origin="https://ui.example"
        )
        assert allowed.headers["access-control-allow-origin"] == "https://ui.example"
        closed = app(client, tokens=["read:a-long-secret@a/"])
        assert asked(closed, "/v1/session/a/1/ag-ui").status_code == 401
        with_token = {"authorization": "Bearer a-long-secret"}
        assert asked(closed, "/v1/session/a/1/ag-ui", **with_token).status_code == 200
        assert asked(closed, "/v1/session/b/1/ag-ui", **with_token).status_code == 403
        assert asked(app(client, public=True, root="/x"), "/x/a/1/ag-ui", peer="10.0.0.1").status_code == 200


def test_what_the_app_takes() -> None:
    with pytest.raises(TypeError, match="takes a Client"):
        app(object())
    with Client("memory:") as client, pytest.raises(ValueError, match="slash"):
        app(client, root="v1/")

    async def by_an_async_client() -> None:
        async with AsyncClient("memory:") as client:
            app(client)

    asyncio.run(by_an_async_client())
