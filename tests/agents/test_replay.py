"""Replay: offline, read-only, and exact about the first place where the code goes another way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from agents_kit import Way
from failing import FailingBackend

from agentstream import Client, NotFound, Report, Unavailable, current_session, step
from agentstream.protocol.operations import Read


class ReadOnce(FailingBackend):
    """Lets a record be read, and nothing after that."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, after=0)
        self.reading = True

    def _admit(self, operation: Any) -> None:
        assert self.reading, f"a replay executed {operation!r}"
        assert isinstance(operation, Read), f"a replay executed {operation!r}"


class Talk:
    def __init__(self, way: Way) -> None:
        self.ran: list[str] = []
        self.end: Any = None
        self.extra = False

        @step
        @way.of
        def work(name: str) -> str:
            self.ran.append(name)
            return name.upper()

        def talk(question: str, tone: str = "dry") -> Any:
            first = yield lambda: work(question)
            second = yield lambda: work(f"{first} {tone}")
            if isinstance(self.end, Exception):
                raise self.end
            return self.end or second

        self.work = work
        self.agent = way.agent(talk)


@pytest.fixture
def offline(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = urlsplit(backend.name).port  # where a record on a server is read from

    class Forbidden(socket.socket):
        def connect(self, address: Any) -> None:
            if keeper is None or address[1] != keeper:
                raise AssertionError("a replay opened a socket")
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Forbidden)


def test_nothing_is_touched(backend: Any, way: Way, offline: None) -> None:
    talk = Talk(way)
    assert way.run(backend, talk.agent, "hello") == "HELLO DRY"
    before = [event.raw for event in Client(backend).session("s").events()]
    talk.ran.clear()
    report = way.replay(ReadOnce(backend), talk.agent)
    assert isinstance(report, Report)
    assert (report.identical, report.result, report.steps, report.divergence) == (True, "HELLO DRY", 2, None)
    assert "identical" in str(report)
    assert talk.ran == []
    assert [event.raw for event in Client(backend).session("s").events()] == before


def test_io_outside_a_step_is_refused(backend: Any, way: Way) -> None:
    def body() -> Any:
        with contextlib.suppress(BaseException):
            yield lambda: Client(backend).session("other").append("note", {}) if not way.is_async else other()
        return "all is well"

    async def other() -> Any:
        from agentstream import AsyncClient

        return await AsyncClient(backend).session("other").append("note", {})

    agent = way.agent(body)
    way.run(backend, agent)
    size = len(list(Client(backend).session("other").events()))
    report = way.replay(backend, agent)
    assert "Do it in a step" in report.notes[0]
    assert report.result is None
    assert len(list(Client(backend).session("other").events())) == size


def test_how_it_ends(backend: Any, way: Way) -> None:
    talk = Talk(way)
    way.run(backend, talk.agent, "hello")
    talk.end = "other"
    found = way.replay(backend, talk.agent).divergence
    assert (found.kind, found.recorded, found.actual) == ("different_output", "HELLO DRY", "other")
    talk.end = ValueError("new")
    report = way.replay(backend, talk.agent)
    assert report.divergence.kind == "raised"
    assert report.divergence.actual == {"name": "ValueError", "text": "new"}
    assert "test_replay.py" in report.divergence.code
    # the cut that a divergence names is one where a branch goes on
    state = Client(backend).session("s").state()
    assert state.run is not None
    assert state.run.outcome is not None
    assert report.divergence.before.index == state.run.outcome.index

    talk.end = ValueError("as recorded")
    with pytest.raises(ValueError, match="as recorded"):
        way.run(backend, talk.agent, "hello", session="failed")
    assert way.replay(backend, talk.agent, session="failed").identical
    talk.end = ValueError("otherwise")
    assert way.replay(backend, talk.agent, session="failed").divergence.kind == "raised"
    talk.end = "fine"
    found = way.replay(backend, talk.agent, session="failed").divergence
    assert (found.kind, found.recorded["text"]) == ("did_not_raise", "as recorded")


@pytest.mark.usefixtures("unhurried")
def test_an_open_run_is_replayed_to_the_end_of_its_record(backend: Any, way: Way) -> None:
    talk = Talk(way)
    with pytest.raises(Unavailable):
        way.run(FailingBackend(backend, after=3), talk.agent, "hello")
    talk.ran.clear()
    report = way.replay(backend, talk.agent)
    assert (report.identical, report.result, report.steps) == (True, None, 1)
    assert "the record ends before function" in report.notes[0]
    assert talk.ran == []


def test_another_input(backend: Any, way: Way) -> None:
    talk = Talk(way)
    way.run(backend, talk.agent, "hello", "kind")
    assert way.replay(backend, talk.agent, input={"tone": "kind"}).identical
    for given in ("bye", ("bye",), {"question": "bye"}):
        report = way.replay(backend, talk.agent, input=given)
        assert report.divergence.step_index == 0
        assert report.divergence.diff == [
            {"op": "replace", "path": "/input/name", "value": "bye", "was": "hello"}
        ] or report.divergence.actual["input"] == {"name": "bye"}
    report = way.replay(backend, talk.agent, input={"tone": "rude"})
    assert (report.divergence.step_index, report.steps) == (1, 1)


def test_until(backend: Any, way: Way) -> None:
    talk = Talk(way)
    way.run(backend, talk.agent, "hello")
    starts = [event for event in Client(backend).session("s").events() if event.type == "step"]
    for until in (1, starts[1]):
        report = way.replay(backend, talk.agent, until=until)
        assert (report.identical, report.steps, report.result) == (True, 1, None)
        assert "as asked" in report.notes[0]
    for wrong in (True, "x"):
        with pytest.raises(TypeError, match="until="):
            way.replay(backend, talk.agent, until=wrong)
    with pytest.raises(ValueError, match="until="):
        way.replay(backend, talk.agent, until=-1)


def test_which_run(backend: Any, way: Way) -> None:
    talk = Talk(way)
    way.run(backend, talk.agent, "one", options={"run_id": "first"})
    way.run(backend, talk.agent, "two")
    assert way.replay(backend, talk.agent).result == "TWO DRY"
    assert way.replay(backend, talk.agent, run="first").result == "ONE DRY"
    with pytest.raises(NotFound, match="'third'"):
        way.replay(backend, talk.agent, run="third")
    with pytest.raises(NotFound):
        way.replay(backend, talk.agent, session="nowhere")


def test_a_run_in_a_replay_is_no_run(backend: Any) -> None:
    """Code that runs another session by hand does not do so in a replay."""
    ran: list[int] = []

    def inner() -> int:
        ran.append(1)
        return 1

    def outer() -> Any:
        assert current_session().id == "s"
        return Client(backend).session("inner").run(inner)

    session = Client(backend).session("s")
    assert session.run(outer) == 1
    report = session.replay(outer)
    assert ran == [1]
    assert report.result is None
    assert report.notes


def test_a_call_that_nobody_finished(backend: Any) -> None:
    """A stream that was left half read: the run's end is its end, and it is served as what was read of it."""
    from agentstream import adapters

    calls: list[Any] = []

    def read_on() -> int:
        call = adapters.open_step("model", "POST /x", {"a": 1})
        if call.served is None:
            call.feed("m", "half of")
            call.if_left = lambda: ("half of it", {"output_tokens": 2})
        else:
            assert call.served.value() == "half of it"
        calls.append(call)
        return 1

    session = Client(backend).session("s")
    assert session.run(read_on) == 1
    state = session.state()
    size = state.index
    assert (state.steps[0].result, state.usage) == ("half of it", {"output_tokens": 2})
    assert state.of_type("delta")[0].value["text"] == "half of"
    assert session.replay(read_on).identical
    call = calls[0]
    call.feed("m", "late")
    call.finish(1)
    call.cancel()
    call.abandon()
    asyncio.run(call.afinish(1))
    assert session.state().index == size
