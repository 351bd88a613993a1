"""What the garbage collector ends is tidied up, and never within the locks that its thread holds just then."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agentstream import AsyncClient, Client, agent, step
from agentstream.adapters.here import run_here
from agentstream.backends import finalizing
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.backends.finalizing import elsewhere

HANGING = 60


@pytest.fixture(params=["disk", "memory"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedBackend]:
    backend = EmbeddedBackend(tmp_path if request.param == "disk" else None)
    yield backend
    backend.close()


def collected_within(backend: EmbeddedBackend, *locks: Any) -> None:
    """The collector comes over a line of a thread that commits, wakes and takes leases; waits for what it found."""

    def collect() -> None:
        with ExitStack() as held:
            for lock in (backend._connections.lock, backend._hub._lock, backend._leases._lock, *locks):
                held.enter_context(lock)
            gc.collect()

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()
    collecting.join(HANGING)
    assert not collecting.is_alive()
    tidied_up = threading.Event()
    elsewhere(tidied_up.set)
    assert tidied_up.wait(HANGING)


@step
def work(number: int) -> int:
    return number


@step
async def awork(number: int) -> int:
    return number


def only_the_collector_finds(*found: Any) -> None:
    cycle: list[Any] = list(found)
    cycle.append(cycle)


@pytest.fixture
def by_hand() -> Iterator[None]:
    """The collector comes when it is called."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("by_hand")
def test_an_event_loop_that_was_dropped(engine: EmbeddedBackend) -> None:
    """With a run, a step and a follower in it."""
    client = Client(engine)
    client.session("followed").append("note", 0)
    running = asyncio.Event()

    @agent
    async def waits() -> None:
        await awork(1)
        running.set()
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async def follow(seen: Callable[[], None]) -> None:
            async for _ in AsyncClient(engine).session("followed").follow(1):
                seen()

        follows = asyncio.Event()
        tasks = [asyncio.ensure_future(follow(follows.set))]
        await follows.wait()
        tasks.append(asyncio.ensure_future(AsyncClient(engine).session("s").run(waits)))
        await running.wait()
        only_the_collector_finds(*tasks)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    del loop
    client.session("followed").append("note", 1)  # nobody is there to be woken by it
    assert client.session("s").status() == "running"
    collected_within(engine)
    assert client.session("s").status() == "abandoned"
    assert not engine._hub._entries


@pytest.mark.usefixtures("by_hand")
def test_an_event_loop_that_was_dropped_in_the_midst_of_a_step(engine: EmbeddedBackend) -> None:
    client = Client(engine)
    locks: list[Any] = []

    @step
    async def stands() -> None:
        running.set()
        await asyncio.get_running_loop().create_future()

    @agent
    async def waits() -> None:
        worker = run_here()
        assert worker is not None
        assert worker.writer is not None
        locks[:] = [worker._lock, worker.progress._lock, worker.writer._lock, worker.packer.lock]
        await stands()

    async def main() -> None:
        task = asyncio.ensure_future(AsyncClient(engine).session("s").run(waits))
        await running.wait()
        only_the_collector_finds(task)

    running = asyncio.Event()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    del loop
    collected_within(engine, *locks)
    assert client.session("s").status() == "abandoned"
    assert not [found for found in client.session("s").state().steps if found.outcome is not None]


@pytest.mark.usefixtures("by_hand")
def test_a_stream_that_was_dropped(engine: EmbeddedBackend) -> None:
    client = Client(engine)

    @agent
    def counts() -> Iterator[int]:
        for number in range(3):
            yield work(number)

    items = client.session("s").stream(counts)
    assert next(items) == 0
    only_the_collector_finds(items)
    del items
    assert client.session("s").status() == "running"
    collected_within(engine)
    assert client.session("s").status() == "abandoned"
    assert list(client.session("s").stream(counts)) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who is called by the collector
def test_an_interrupt_over_noting_that_a_collection_ends_leaves_nobody_in_it() -> None:
    interrupts = 0

    def interrupt(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal interrupts
        if event == "call" and frame.f_code is finalizing._note.__code__ and frame.f_locals["phase"] == "stop":
            interrupts += 1
            raise KeyboardInterrupt

    class Found:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            if finalizing.in_collector():
                elsewhere(tidied_up.set)

    tidied_up = threading.Event()
    Found()
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        gc.collect()
    finally:
        sys.settrace(before)
    assert interrupts == 1
    assert not finalizing.in_collector()
    after = threading.Event()
    elsewhere(after.set)
    assert after.wait(HANGING)
    assert tidied_up.wait(HANGING)
