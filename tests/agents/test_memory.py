"""A process that runs agents all day keeps nothing of the runs that have ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections import Counter

import pytest
from agents_kit import Way

from agentstream import AsyncClient, Client, step
from agentstream.agents.calls import START_WITHIN
from agentstream.agents.timer import timer
from agentstream.backends.embedded import EmbeddedBackend

RUNS = 1000
GROWN = RUNS // 5
"""Objects of a kind more than after the first tenth, at most."""


def counted() -> Counter[str]:
    """What there is when what the last runs left to the timer is done."""
    flushed = threading.Event()
    timer.in_line(START_WITHIN, flushed.set)
    assert flushed.wait(60)
    for _ in range(3):
        gc.collect()
    return Counter(
        f"{type(each).__module__}.{type(each).__qualname__}"
        for each in gc.get_objects()
        # a connection of `sqlite3` keeps up to 200 of these, of cursors that are gone
        if not (type(each) is weakref.ref and each() is None)
    )


def test_runs_leave_nothing(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them fail."""
    monkeypatch.setattr("agentstream.backends.embedded.writing._REMEMBERED", GROWN // 4)  # streams, of all there are
    backend = EmbeddedBackend(None)

    @step
    async def awork(number: int) -> int:
        return number

    @step
    def work(number: int) -> int:
        return number

    async def aagent(number: int) -> float:
        return 1 / sum(await asyncio.gather(awork(number), awork(number)))

    def agent(number: int) -> float:
        return 1 / work(number)

    client, aclient = Client(backend), AsyncClient(backend)
    before: Counter[str] = Counter()
    loop = asyncio.new_event_loop()
    for number in range(RUNS):
        with contextlib.suppress(ZeroDivisionError):
            if way.is_async:
                loop.run_until_complete(aclient.session(f"s{number}").run(aagent, number % 2))
            else:
                client.session(f"s{number}").run(agent, number % 2)
        if number == RUNS // 10:
            before = counted()
    loop.close()
    after = counted()
    grown = after - before  # earlier tests of this process may have left something
    assert {kind: count for kind, count in grown.items() if count > GROWN} == {}
    assert {kind: count for kind, count in grown.items() if kind.startswith("agentstream.agents.") and count > 20} == {}
    backend.close()
