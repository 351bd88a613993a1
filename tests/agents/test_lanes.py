"""Lanes: which is which, who came first, and what is said of one that changed."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from agents_kit import WatchingBackend
from failing import FailingBackend

from agentstream import AsyncClient, Client, Diverged, Unavailable, agent, in_run, recorded, step


def arun(backend: Any, agent: Any, session: str = "s") -> Any:
    return asyncio.run(AsyncClient(backend).session(session).with_options(take_over=True).run(agent))


def areplay(backend: Any, agent: Any, session: str = "s") -> Any:
    return asyncio.run(AsyncClient(backend).session(session).replay(agent))


# --- who came first ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_races_are_decided_alike(backend: Any, seed: int) -> None:
    """FIRST_COMPLETED and as_completed, with what follows depending on who won."""
    chance = random.Random(seed)

    @step
    async def work(name: str) -> str:
        await asyncio.sleep(chance.choice((0, 0, 0, 0.0005, 0.001, 0.003)))
        return name

    async def twice(name: str) -> str:
        return await work(f"{name}, then {await work(name)}")

    async def agent() -> list[str]:
        seen: list[str] = []
        tasks = {asyncio.create_task(twice(name)) for name in "abcd"}
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            seen.append("+".join(sorted(task.result() for task in done)))
            seen.append(await work(f"saw {seen[-1]}"))
        for each in asyncio.as_completed([twice(name) for name in "xyz"]):
            seen.append(await each)
            seen.append(await work(f"and {seen[-1]}"))
        return seen

    for after in (4 + seed, 14 + seed):
        try:
            arun(FailingBackend(backend, after=after), agent)
        except Unavailable:
            continue
        break
    result = arun(backend, agent) if Client(backend).session("s").state().status != "finished" else None
    report = areplay(backend, agent)
    assert report.identical, report
    assert result in (None, report.result)


def test_outcomes_of_one_append_come_one_by_one(backend: Any) -> None:
    """They are durable at the same moment; the code sees them in the order of the log, live and later."""

    class Gathering(WatchingBackend):
        """Holds outcomes back until it may, so that what comes meanwhile goes out in one."""

        may: threading.Event

        def submit(self, operation: Any) -> Future[Any]:
            future: Future[Any] = Future()

            def do() -> None:
                if any(b'"outcome"' in message for message in operation.body):
                    assert self.may.wait(30)
                future.set_result(self.inner.execute(operation))

            threading.Thread(target=do).start()
            return future

    gathering = Gathering(backend)
    gathering.may = threading.Event()

    @step
    async def work(name: str) -> str:
        return name

    async def agent() -> list[str]:
        tasks = [asyncio.create_task(work(name)) for name in "abcdef"]
        for _ in range(5):
            await asyncio.sleep(0)
        gathering.may.set()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = sorted(task.result() for task in done)
        await asyncio.wait(tasks)
        return first

    result = arun(gathering, agent)
    assert result == ["a"]
    assert areplay(backend, agent).identical


def test_a_start_that_was_recorded_between(backend: Any) -> None:
    """Code that acted on the first outcome after a while, before the second one came, does so again."""
    may, done = asyncio.Event(), asyncio.Event()
    live = True

    @step
    async def work(name: str) -> str:
        if name == "second" and live:
            await may.wait()
        if name == "in between" and live:
            may.set()
            await done.wait()  # its outcome is the last, its start is not
        return name

    async def agent() -> list[str]:
        tasks = [asyncio.create_task(work(name)) for name in ("first", "second")]
        tasks[1].add_done_callback(lambda task: done.set())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(200):  # longer than any turn is waited for
            await asyncio.sleep(0)
        seen = [str(task.done()) for task in tasks]
        await work("in between")
        await asyncio.wait(tasks)
        return seen

    assert arun(backend, agent) == ["True", "False"]
    live = False
    report = areplay(backend, agent)
    assert report.identical, report


# --- which is which ---------------------------------------------------------------------------------------------------


def lanes_of(changed: str | None, ran: list[str]) -> Any:
    @step
    async def work(name: str) -> str:
        ran.append(name)
        return name

    async def lane(name: str) -> list[str]:
        return [await work(f"{name} {n}" + ("!" if f"{name} {n}" == changed else "")) for n in range(3)]

    async def agent() -> Any:
        return await asyncio.gather(*map(lane, "abc"))

    return agent


@pytest.mark.parametrize("changed", ["a 0", "b 0", "c 0", "a 1", "b 2"])
def test_one_lane_changed(backend: Any, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open run diverges before any tool runs, and names the lane's step."""
    monkeypatch.setattr("agentstream.agents.progress.STALLED", 0.1)  # waited for again and again
    whole = lanes_of(None, [])

    async def fails_at_the_end() -> None:
        await whole()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        arun(backend, _named("agent", fails_at_the_end))
    ran: list[str] = []
    for catch in (False, True):
        changed_agent = lanes_of(changed, ran)

        with pytest.raises(Diverged) as caught:
            arun(backend, _named("agent", _catching(changed_agent) if catch else changed_agent))
        assert caught.value.divergence.recorded["input"] == {"name": changed}
        assert caught.value.divergence.actual["input"] == {"name": changed + "!"}
    assert ran == []


def _catching(agent: Any) -> Any:
    async def catching() -> Any:
        try:
            return await agent()
        except BaseException:
            return "all is well"

    return catching


def _named(name: str, function: Any) -> Any:
    function.__name__ = function.__qualname__ = name
    return function


def test_a_lane_too_many_and_one_too_few(backend: Any) -> None:
    @step
    async def work(name: str) -> str:
        return name

    names = ["a", "b", "c"]

    async def agent() -> Any:
        return await asyncio.gather(*map(work, names))

    arun(backend, agent)
    names.append("d")
    report = areplay(backend, agent)
    assert (report.divergence.kind, report.divergence.actual["input"]) == ("extra_call", {"name": "d"})
    del names[2:]
    report = areplay(backend, agent)
    assert (report.divergence.kind, report.divergence.recorded["input"]) == ("missing_call", {"name": "c"})
    names[:] = ["c", "a", "b"]  # only another order
    report = areplay(backend, agent)
    assert report.divergence.kind == "different_output"
    assert report.steps == 3


@pytest.mark.parametrize("seed", range(30))
def test_lanes_that_begin_alike(backend: Any, seed: int) -> None:
    """Who is who shows only at their second step, which comes in any order, on each life another one."""
    ran: list[int] = []
    returned: set[int] = set()

    @step
    async def work(number: int) -> int:
        ran.append(number)
        await asyncio.sleep(0)
        return number

    chance = random.Random(seed)

    async def lane(number: int) -> int:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        recorded.now()
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        result = await work(number)
        returned.add(number)
        return result

    async def agent() -> Any:
        return await asyncio.gather(*map(lane, range(4)))

    for life in range(30):
        ran.clear()
        before = set(returned)
        try:
            result = arun(FailingBackend(backend, after=2 + life % 3), agent)
        except Unavailable:
            assert not before & set(ran)
            continue
        assert result == [0, 1, 2, 3]
        assert not before & set(ran)
        return
    raise AssertionError("the run never came to its end")


def test_lanes_in_lanes(backend: Any) -> None:
    @step
    async def work(name: str) -> str:
        return name

    async def inner(name: str) -> list[str]:
        return list(await asyncio.gather(*(work(f"{name}{n}") for n in range(2))))

    async def lane(name: str) -> list[str]:
        return [await work(name), *(await inner(name))]

    async def agent() -> Any:
        return await asyncio.gather(*map(lane, "ab"))

    result = arun(backend, agent)
    assert result == [["a", "a0", "a1"], ["b", "b0", "b1"]]
    assert areplay(backend, agent).identical
    lanes = sorted(found.lane for found in Client(backend).session("s").state().steps)
    assert lanes == ["0.0", "0.0.0", "0.0.1", "0.1", "0.1.0", "0.1.1"]


def test_a_task_in_its_lane_stays_in_it(backend: Any) -> None:
    """Also where its context is another for a while, and a pool's thread is none."""

    @step
    def work(number: int) -> int:
        return number

    def fn() -> list[int]:
        with ThreadPoolExecutor(1) as pool:
            return list(pool.map(in_run(work), range(3)))

    assert Client(backend).session("s").run(fn) == [0, 1, 2]
    assert [found.lane for found in Client(backend).session("s").state().steps] == ["0.0", "0.1", "0.2"]


def test_a_thousand_lanes(backend: Any) -> None:
    @step
    async def work(number: int) -> int:
        return number

    async def agent() -> int:
        return sum(await asyncio.gather(*map(work, range(1000))))

    with pytest.raises(Unavailable):
        arun(FailingBackend(backend, after=2), agent)
    assert arun(backend, agent) == 499500
    report = areplay(backend, agent)
    assert (report.identical, report.steps) == (True, 1000)


def test_lanes_that_begin_alike_are_known_by_the_lanes_they_open(backend: Any) -> None:
    """Threads come in another order when they go on: what each of them opened is still its own."""
    made: list[int] = []

    @step
    def alike() -> str:
        return "alike"

    @step
    def work(number: int) -> int:
        made.append(number)
        return number

    def life(order: list[int], *, fails: bool) -> list[int]:
        came = [threading.Event() for _ in order]
        all_came = threading.Barrier(len(order), timeout=60)

        def lane(number: int) -> int:
            place = order.index(number)
            assert not place or came[place - 1].wait(60)
            alike()
            came[place].set()
            all_came.wait()
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(in_run(work), number).result()

        @agent(name="alike")
        def opens() -> list[int]:
            with ThreadPoolExecutor(len(order)) as pool:
                results = [made.result() for made in [pool.submit(in_run(lane), n) for n in range(len(order))]]
            if fails:
                raise ValueError("again")
            return results

        return Client(backend).session("s").run(opens)

    with pytest.raises(ValueError, match="again"):
        life([0, 1, 2], fails=True)
    assert life([2, 0, 1], fails=False) == [0, 1, 2]
    assert sorted(made) == [0, 1, 2]
