"""Stop signals reach `session.run` through code that catches everything; a fenced worker writes nothing that counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agents_kit import Way
from failing import FailingBackend

from agentstream import AsyncClient, Client, Fenced, OutcomeUnknown, SessionBusy, Unavailable, step
from agentstream.backends.driving import drive
from agentstream.sessions.claims import release, win
from agentstream.sessions.core import Core


def taken_over(backend: Any) -> None:
    """Another worker takes the session, and does no more."""

    def take() -> Any:
        log = yield from Core(backend).require("s")
        claim = yield from win(log, take_over=True)
        yield from release(claim)

    drive(take(), backend)


def test_fenced_in_mid_run(backend: Any, way: Way) -> None:
    ran: list[int] = []
    reached: list[Any] = []

    @step
    @way.of
    def work(number: int) -> int:
        ran.append(number)
        if number == 1:
            taken_over(backend)
        return number

    def body() -> Any:
        for number in range(5):
            try:
                reached.append((yield lambda number=number: work(number)))
            except BaseException as error:
                reached.append(type(error).__name__)
        return "all is well"

    with pytest.raises(Fenced, match="taken over"):
        way.run(backend, way.agent(body))
    assert ran == [0, 1]
    assert reached == [0, "Stop", "Stop", "Stop", "Stop"]
    events = list(Client(backend).session("s").events())
    assert [event.type for event in events if event.claim == 1 and event.mark is None][-1] == "outcome"
    assert [event.key for event in events if event.type == "outcome"] == [
        event.key for event in events if event.type == "step"
    ][:1]
    assert not any(event.type == "outcome" and event.value.get("result") == "all is well" for event in events)


def test_unknown_cannot_be_swallowed(backend: Any, way: Way) -> None:
    ran: list[str] = []

    @step(effect="once")
    @way.of
    def pay() -> str:
        ran.append("pay")
        dying.after = 0
        return "paid"

    @step
    @way.of
    def tell() -> str:
        ran.append("tell")
        return "told"

    def body() -> Any:
        with contextlib.suppress(BaseException):
            yield pay
        with contextlib.suppress(BaseException):
            yield tell
        return "all is well"

    dying = FailingBackend(backend, after=100)
    agent = way.agent(body)
    with pytest.raises(Unavailable):
        way.run(dying, agent)
    session = Client(backend).session("s")
    with pytest.raises(OutcomeUnknown):
        way.run(backend, agent)
    with pytest.raises(OutcomeUnknown) as caught:
        way.run(backend, agent)
    assert ran == ["pay"]
    assert [found.key for found in session.unresolved()] == [caught.value.step]
    session.resolve(caught.value.step, error=ConnectionError("the bank said no"))
    dying.after = 100
    assert way.run(backend, agent) == "all is well"
    assert ran == ["pay", "tell"]  # the person's error was the outcome
    assert session.unresolved() == []


def test_stops_in_lanes_that_catch_everything(backend: Any) -> None:
    """In tasks and groups too, and nothing about them is left to be complained of."""
    complaints: list[Any] = []

    @step
    async def work(number: int) -> int:
        if number == 1:
            taken_over(backend)
        return number

    async def lane(number: int) -> Any:
        try:
            await work(number)
            return await work(number + 10)
        except BaseException:
            return "caught"

    async def agent() -> Any:
        left = asyncio.create_task(work(20))
        results = await asyncio.gather(*map(lane, range(3)), return_exceptions=True)
        await asyncio.wait([left])
        return results

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        with pytest.raises(Fenced):
            await AsyncClient(backend).session("s").run(agent)

    asyncio.run(main())
    assert complaints == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup came with Python 3.11")
def test_a_group_of_stops_is_one_stop(backend: Any) -> None:
    @step
    async def work(number: int) -> int:
        if number == 1:
            taken_over(backend)
        return number

    async def agent() -> None:
        async with asyncio.TaskGroup() as group:  # pyright: ignore[reportAttributeAccessIssue]
            for number in range(3):
                group.create_task(work(number))

    with pytest.raises(Fenced):
        asyncio.run(AsyncClient(backend).session("s").run(agent))


STOPPED = """
import sys
from agentstream import Client, Fenced, agent, step
@step
def work(number):
    print("ran", number, flush=True)
    if number == 1:
        sys.stdin.readline()
    return number
@agent
def go():
    reached = []
    for number in range(4):
        try:
            reached.append(work(number))
        except BaseException as error:
            reached.append(type(error).__name__)
    print(reached, flush=True)
    return "all is well"
try:
    print(Client(sys.argv[1]).session("s").run(go))
except Fenced as error:
    print("Fenced")
"""


def test_a_worker_that_was_stopped_and_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    worker = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdin is not None
    assert worker.stdout.readline() == "ran 0\n"
    assert worker.stdout.readline() == "ran 1\n"
    os.kill(worker.pid, signal.SIGSTOP)
    ran: list[int] = []

    @step
    def work(number: int) -> int:
        ran.append(number)
        return number

    def go() -> str:
        return str([work(number) for number in range(4)])

    with Client(store) as client:
        session = client.session("s")
        with pytest.raises(SessionBusy):
            session.run(go)
        assert session.with_options(take_over=True).run(go) == "[0, 1, 2, 3]"
        assert ran == [1, 2, 3]
        before = [event.raw for event in session.events()]
        os.kill(worker.pid, signal.SIGCONT)
        output, _ = worker.communicate("\n", timeout=60)
        assert output.splitlines() == ["[0, 'Stop', 'Stop', 'Stop']", "Fenced"]
        events = list(session.events())
        assert [event.raw for event in events][: len(before)] == before
        assert all(event.mark == "fenced" for event in events[len(before) :])
        assert session.state().runs.popitem()[1].result == "[0, 1, 2, 3]"


@pytest.mark.parametrize("backend", ["hostile"], indirect=True)
def test_a_server_that_forgets_who_was_fenced(backend: Any) -> None:
    """It refuses the old worker all the same, whose sequence it does not know."""
    ran: list[int] = []
    results: list[Any] = []

    def go() -> list[int]:
        return [work(number) for number in range(2)]

    @step
    def work(number: int) -> int:
        ran.append(number)
        if len(ran) == 1:
            results.append(Client(backend).session("s").with_options(take_over=True).run(go))
            backend.restart()
        return len(ran)

    with pytest.raises(Fenced):
        Client(backend).session("s").run(go)
    assert results == [[2, 3]]
    state = Client(backend).session("s").state()
    assert state.run is not None
    assert state.run.result == [2, 3]
    assert len([event for event in state.events if event.type == "outcome"]) == 3


def test_a_stop_beside_a_first_lane_that_waits_for_ever(backend: Any) -> None:
    @step
    async def work() -> None:
        taken_over(backend)

    async def waits() -> None:
        done = asyncio.Event()

        async def beside() -> None:
            await work()
            await work()
            done.set()

        task = asyncio.create_task(beside())
        await done.wait()
        await task

    with pytest.raises(Fenced):
        asyncio.run(AsyncClient(backend).session("s").run(waits))
