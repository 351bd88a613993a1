"""Many waiters, several event loops, cancellation: nothing occupies a thread, nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentstream.backends.embedded import EmbeddedBackend, reading
from agentstream.protocol.errors import StreamNotFound
from agentstream.protocol.operations import NOW, START, Append, Create, Delete, Producer, Read

FOLLOWERS = 1000


@pytest.fixture(params=["disk", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedBackend]:
    made = EmbeddedBackend(tmp_path / "store" if request.param == "disk" else None)
    yield made
    made.close()


async def follow(backend: EmbeddedBackend, path: str) -> list[bytes]:
    """Everything up to closure."""
    messages: list[bytes] = []
    offset = START
    while True:
        batch = await backend.aexecute(Read(path, offset, wait=60))
        messages += batch.messages
        offset = batch.offset
        if batch.closed:
            return messages


async def until_waiting(backend: EmbeddedBackend, count: int) -> None:
    while sum(len(entries) for entries in backend._hub._entries.values()) < count:
        await asyncio.sleep(0.001)


def test_a_thousand_followers_use_no_thread_each(backend: EmbeddedBackend) -> None:
    async def scenario() -> None:
        await backend.aexecute(Create("s"))
        before = threading.active_count()
        followers = [asyncio.create_task(follow(backend, "s")) for _ in range(FOLLOWERS)]
        await until_waiting(backend, FOLLOWERS)
        assert threading.active_count() <= before + 1  # the one that looks for other processes
        for n in range(3):
            await backend.aexecute(Append("s", (b"%d" % n,), close=n == 2))
        results = await asyncio.gather(*followers)
        assert results == [[b"0", b"1", b"2"]] * FOLLOWERS

    asyncio.run(scenario())
    assert not backend._hub._entries


def test_followers_share_what_one_has_read(backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    def counted(*args: Any) -> reading.Page:
        nonlocal reads
        reads += 1
        return read(*args)

    read = reading.read
    monkeypatch.setattr(reading, "read", counted)

    async def scenario() -> None:
        await backend.aexecute(Create("s"))
        followers = [asyncio.create_task(follow(backend, "s")) for _ in range(100)]
        await until_waiting(backend, 100)
        for n in range(10):
            await backend.aexecute(Append("s", (b"%d" % n,), close=n == 9))
            await until_waiting(backend, 100 if n < 9 else 0)
        assert await asyncio.gather(*followers) == [[b"%d" % n for n in range(10)]] * 100

    asyncio.run(scenario())
    assert reads < 100  # of 2,000 without sharing


def test_a_page_that_is_shared_is_never_older_than_what_this_process_wrote(backend: EmbeddedBackend) -> None:
    async def scenario() -> None:
        await backend.aexecute(Create("s"))
        waiting = asyncio.create_task(backend.aexecute(Read("s", wait=60)))  # keeps the hub awake
        await until_waiting(backend, 1)
        tail = (await backend.aexecute(Read("s", wait=0))).offset
        assert (await backend.aexecute(Read("s", tail, wait=0))).messages == ()
        await backend.aexecute(Append("s", (b"1",)))
        assert (await backend.aexecute(Read("s", tail, wait=0))).messages == (b"1",)
        await waiting
        await backend.aexecute(Delete("s"))
        with pytest.raises(StreamNotFound):
            await backend.aexecute(Read("s", tail, wait=0))

    asyncio.run(scenario())


def test_each_life_of_a_stream_is_told_from_the_others(backend: EmbeddedBackend) -> None:
    lives: set[str | None] = set()
    for _ in range(3):
        backend.execute(Create("s"))
        empty = backend.execute(Read("s")).life
        backend.execute(Append("s", (b"1",)))
        assert backend.execute(Read("s")).life == empty
        lives.add(empty)
        backend.execute(Delete("s"))
    assert len(lives) == 3
    assert None not in lives


def test_only_followers_of_what_changed_are_woken(backend: EmbeddedBackend) -> None:
    async def scenario() -> None:
        for path in "st":
            await backend.aexecute(Create(path))
        woken = asyncio.create_task(backend.aexecute(Read("s", NOW, wait=60)))
        asleep = asyncio.create_task(backend.aexecute(Read("t", NOW, wait=60)))
        await until_waiting(backend, 2)
        entry = next(iter(backend._hub._entries["t"]))
        await backend.aexecute(Append("s", (b"1",)))
        assert (await woken).messages == (b"1",)
        assert not entry.future.done()
        await backend.aexecute(Append("t", (b"2",)))
        assert (await asleep).messages == (b"2",)

    asyncio.run(scenario())


def test_a_cancelled_wait_leaves_nothing(backend: EmbeddedBackend) -> None:
    async def scenario() -> None:
        await backend.aexecute(Create("s"))
        waits = [asyncio.create_task(backend.aexecute(Read("s", NOW, wait=60))) for _ in range(50)]
        await until_waiting(backend, 50)
        for wait in waits:
            wait.cancel()
        assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*waits, return_exceptions=True))
        assert not backend._hub._entries
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(backend.aexecute(Read("s", NOW, wait=60)), 0.01)
        assert not backend._hub._entries

    asyncio.run(scenario())


def test_deleting_a_stream_wakes_its_followers(backend: EmbeddedBackend) -> None:
    async def scenario() -> None:
        await backend.aexecute(Create("s"))
        wait = asyncio.create_task(backend.aexecute(Read("s", NOW, wait=60)))
        await until_waiting(backend, 1)
        await backend.aexecute(Delete("s"))
        with pytest.raises(StreamNotFound):
            await wait

    asyncio.run(scenario())


def test_several_loops_in_several_threads(backend: EmbeddedBackend) -> None:
    backend.execute(Create("s"))

    async def write(name: str) -> None:
        appends = (
            backend.aexecute(Append("s", (b'["%b",%d]' % (name.encode(), n),), producer=Producer(name, 0, n)))
            for n in range(100)
        )
        await asyncio.gather(*appends)

    threads = [threading.Thread(target=lambda name=name: asyncio.run(write(name))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = backend.execute(Read("s")).messages
    assert len(messages) == len(set(messages)) == 400


def test_a_loop_that_ended_does_not_hinder_a_commit(backend: EmbeddedBackend) -> None:
    async def leave_behind() -> None:
        await backend.aexecute(Create("s"))
        with backend._connections.lock:
            append = asyncio.ensure_future(backend.aexecute(Append("s", (b"1",))))
            await asyncio.sleep(0)
            append.cancel()

    asyncio.run(leave_behind())
    assert backend.submit(Append("s", (b"2",))).result(60).offset
    assert backend.execute(Read("s")).messages[-1] == b"2"
