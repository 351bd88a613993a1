"""How a worker writes: in order, nothing lost, whoever waits is answered."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentstream import Client, adapters, agent
from agentstream.agents import writer as writers
from agentstream.agents.timer import Timer
from agentstream.agents.writer import Writer
from agentstream.backends.driving import drive
from agentstream.errors import Fenced, StoreError
from agentstream.protocol.operations import Append, Create, Producer, Read
from agentstream.sessions.claims import Claim


def made(backend: Any) -> Writer:
    """A writer of a claim that the log has."""
    claim = Claim("s", 1, "nonce", 1)
    backend.execute(Create("s"))
    first = claim.producer(0)
    backend.execute(Append("s", (b'"claim"',), producer=Producer(first.id, first.epoch, 0)))
    return Writer(backend, "s", claim)


def written(backend: Any) -> list[bytes]:
    messages: list[bytes] = []
    batch = backend.execute(Read("s"))
    while True:
        messages += batch.messages
        if batch.up_to_date:
            return messages[1:]
        batch = backend.execute(Read("s", batch.offset))


def test_what_is_put_goes_before_what_is_waited_for(backend: Any) -> None:
    writer = made(backend)
    writer.put(b"1", b"2")
    drive(writer.durable(b"3"), backend)
    assert written(backend) == [b"1", b"2", b"3"]
    assert writer.idle


def test_more_than_one_append_takes_is_all_written(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "LARGEST", 100)
    writer = made(backend)
    messages = [b'"%060d"' % n for n in range(20)]
    writer.put(*messages)
    drive(writer.durable(), backend)
    assert written(backend) == messages


def test_many_threads_wait_for_their_own(backend: Any) -> None:
    writer = made(backend)

    def write(n: int) -> None:
        for m in range(20):
            message = b"[%d,%d]" % (n, m)
            drive(writer.durable(message), backend)
            assert message in written(backend)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    found = written(backend)
    assert len(found) == 120
    for n in range(6):
        assert [m for m in found if m.startswith(b"[%d," % n)] == [b"[%d,%d]" % (n, m) for m in range(20)]


def test_what_nobody_waits_for_is_written_soon(backend: Any) -> None:
    writer = made(backend)
    writer.put(b"1", within=0.01)
    writer.put(b"2", within=0.01)
    while not writer.idle:
        threading.Event().wait(0.001)
    assert written(backend) == [b"1", b"2"]


def test_a_stopped_run_keeps_only_what_is_waited_for(backend: Any) -> None:
    writer = made(backend)
    drive(writer.durable(b"1"), backend)
    writer.put(b"2")
    writer.discard()
    drive(writer.durable(b"3"), backend)
    assert written(backend) == [b"1", b"3"]


def test_a_superseded_worker_is_told_once_and_ever_after(backend: Any) -> None:
    writer = made(backend)
    told: list[Exception] = []
    writer.stopped = told.append
    first = writer.claim.producer(0)
    backend.execute(Append("s", (b'"other"',), producer=Producer(first.id, first.epoch + 1, 0)))
    for _ in range(2):
        with pytest.raises(Fenced):
            drive(writer.durable(b"1"), backend)
    assert len(told) == 1
    assert written(backend) == [b'"other"']


class Broken:
    """A backend whose disk has just failed."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.name, self.traits = inner, inner.name, inner.traits

    def execute(self, operation: Any) -> Any:
        raise StoreError("the disk is gone")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_trouble_with_the_store_reaches_who_waits(backend: Any) -> None:
    writer = made(backend)
    broken: Any = Broken(backend)
    writer.put(b"1")
    with pytest.raises(StoreError, match="the disk is gone"):
        drive(writer.durable(b"2"), broken)
    with pytest.raises(StoreError, match="the disk is gone"):
        writer.put(b"3")
    assert writer.idle


def test_tokens_fed_by_many_threads_all_arrive(backend: Any) -> None:
    @agent
    def talk() -> str:
        call = adapters.open_step("model", "talk", {})

        def feed(n: int) -> None:
            for _ in range(500):
                call.feed("m" if n % 2 else "other", f"{n}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(feed, range(4)))
        return call.finish("done")

    session = Client(backend).session("s")
    session.run(talk)
    deltas = [event for event in session.events() if event.type == "delta"]
    text = "".join(event.value["text"] for event in deltas)
    assert sorted(text) == sorted("0123" * 500)
    assert len({event.key for event in deltas}) == len(deltas)
    for event in deltas:
        assert set(event.value["text"]) <= set("13" if event.value["target"] == "m" else "02")


def test_a_line_is_called_in_order_and_so_are_single_calls() -> None:
    timer, called, all_of_them, alone = Timer(), [], threading.Event(), threading.Event()
    for n in range(200):
        timer.in_line(0.01, functools.partial(called.append, n))
    timer.in_line(0.01, all_of_them.set)
    timer.later(0.0, alone.set)
    assert alone.wait(60)
    assert all_of_them.wait(60)
    assert called == list(range(200))


def test_a_call_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> None:
        raise ValueError("no")

    timer, done = Timer(), threading.Event()
    timer.in_line(0.0, failing)
    timer.in_line(0.0, done.set)
    assert done.wait(60)
    assert "a delayed flush failed" in caplog.text
