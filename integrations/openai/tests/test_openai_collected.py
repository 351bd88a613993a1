"""Streams that the code has dropped half read: the garbage collector finds them, over any line of any thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from openai_kit import CHAT_STREAM_ANSWER, RESPONSE_STREAM_ANSWER, sync_client
from sdk_kit import attempts, check_offline, marker
from support.provider import Provider

from agentstream import Client, agent
from agentstream.adapters.here import run_here
from agentstream.backends.finalizing import elsewhere

HANGING = 60
STREAMS = {"chat": CHAT_STREAM_ANSWER, "responses": RESPONSE_STREAM_ANSWER}


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    """The collector comes when it is called."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def events_of(stream: Any) -> Iterator[Any]:
    """As the SDK's own iterator does, but for its oldest releases."""
    try:
        yield from stream
    finally:
        stream.close()


def first_of(openai: Any, kind: str) -> Any:
    """Leaves the stream in a cycle, as the SDK's own iterator is in one."""
    create = openai.chat.completions.create if kind == "chat" else openai.responses.create
    events = events_of(create(**STREAMS[kind].request))
    event = next(events).model_dump()
    dropped: list[Any] = [events]
    dropped.append(dropped)
    return event


def collected_within_the_locks() -> None:
    """The collector comes over a line of a thread that is just writing to the run, and puts down what it finds."""
    worker: Any = run_here()

    def collect() -> None:
        with ExitStack() as held:
            for lock in (worker.packer.lock, worker.writer._lock, worker.progress._lock, worker._lock):
                held.enter_context(lock)
            gc.collect()

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()
    collecting.join(HANGING)
    assert not collecting.is_alive()


def after_what_was_found() -> None:
    """Waits until what the collector has found is tidied up."""
    done = threading.Event()
    elsewhere(done.set)
    assert done.wait(HANGING)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_that_was_dropped_is_an_outcome_once_it_is_found(kind: str, tmp_path: Path) -> None:
    with Provider(STREAMS.values(), piece=200) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        live = True

        @agent
        def asks() -> Any:
            event = first_of(openai, kind)
            if live:
                collected_within_the_locks()
                after_what_was_found()
            return [event, marker()]

        session = client.session("s")
        first = session.run(asks)
        assert attempts(client, "s") == [["ok"], ["ok"]]
        model, after = session.state().steps
        assert model.outcome is not None
        assert model.outcome.index < after.last.start.index, "it was not written before the run's end"
        live = False
        check_offline(provider, session, asks, first)


def test_one_that_is_found_when_the_run_is_over_says_nothing_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Provider(STREAMS.values(), piece=200) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        ended = threading.Event()

        @agent
        def asks() -> Any:
            event = first_of(openai, "responses")
            elsewhere(lambda: ended.wait(HANGING))  # whoever tidies up is late
            collected_within_the_locks()
            return event

        session = client.session("s")
        session.run(asks)
        written = len(session.state().events)
        ended.set()
        after_what_was_found()
        assert len(session.state().events) == written
        assert attempts(client, "s") == [["ok"]]
        assert not caplog.records
