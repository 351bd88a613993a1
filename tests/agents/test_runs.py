"""The run's contract: what a call of `session.run` means in a session as it is."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pydantic
import pytest
from agents_kit import Way
from failing import FailingBackend

from agentstream import (
    AgentStreamError,
    AsyncClient,
    Client,
    RunCancelled,
    RunExhausted,
    RunPending,
    SessionBusy,
    Unavailable,
    agent,
    current_session,
    current_step,
    in_run,
    outside_run,
    step,
)


class Broken(Exception):
    pass


def two_agents(way: Way) -> tuple[Any, Any, dict[str, Any]]:
    outside: dict[str, Any] = {"broken": True, "ran": 0}

    @step
    @way.of
    def work(question: str) -> str:
        outside["ran"] += 1
        return question.upper()

    def first(question: str, *, times: int = 1) -> Any:
        answer = yield lambda: work(question)
        if outside["broken"]:
            raise Broken
        return answer * times

    def second(question: str) -> Any:
        return (yield lambda: work(question))

    return way.agent(first), way.agent(second), outside


def test_an_open_run_in_the_way(backend: Any, way: Way) -> None:
    first, second, outside = two_agents(way)
    with pytest.raises(Broken):
        way.run(backend, first, "a", times=2)
    calls: list[tuple[Any, tuple[str], dict[str, Any]]]
    calls = [(second, ("a",), {}), (first, ("b",), {"times": 2}), (first, ("a",), {})]
    for fn, args, kwargs in calls:
        with pytest.raises(RunPending) as caught:
            way.run(backend, fn, *args, **kwargs)
        assert (caught.value.agent, caught.value.arguments) == ("first", {"question": "a", "times": 2})
        assert "session.resume" in str(caught.value)
    with pytest.raises(RunPending):
        way.resume(backend, second)
    outside["broken"] = False
    assert way.resume(backend, first) == "AA"
    assert outside["ran"] == 1
    assert way.run(backend, second, "c") == "C"  # the session is free


def test_equal_arguments(backend: Any, way: Way) -> None:
    """However they are given."""
    first, _, outside = two_agents(way)
    with pytest.raises(Broken):
        way.run(backend, first, "a", times=2)
    outside["broken"] = False
    assert way.run(backend, first, times=2, question="a") == "AA"
    assert outside["ran"] == 1
    assert way.run(backend, first, "a", times=2) == "AA"  # it was finished: this is a new run
    assert outside["ran"] == 2


def test_cancel(backend: Any, way: Way) -> None:
    first, _, outside = two_agents(way)
    named = {"run_id": "mine", "take_over": True}
    with pytest.raises(Broken):
        way.run(backend, first, "a", options=named)
    session = Client(backend).session("s")
    assert session.cancel()
    assert not session.cancel()
    assert session.state().status == "cancelled"
    with pytest.raises(RunCancelled):
        way.run(backend, first, "a", options=named)
    outside["broken"] = False
    assert way.run(backend, first, "a") == "A"
    assert outside["ran"] == 2


def test_a_named_run(backend: Any, way: Way) -> None:
    first, second, outside = two_agents(way)
    outside["broken"] = False
    named = {"run_id": "order/1#2", "take_over": True}
    for _ in range(3):
        assert way.run(backend, first, "a", options=named) == "A"
    assert outside["ran"] == 1
    assert [run.id for run in Client(backend).session("s").state().runs.values()] == ["order/1#2"]
    with pytest.raises(RunPending, match="is finished"):
        way.run(backend, first, "b", options=named)
    with pytest.raises(RunPending):
        way.run(backend, second, "a", options=named)
    assert way.run(backend, first, "a", options={"run_id": "other"}) == "A"
    assert outside["ran"] == 2


def test_exhausted(backend: Any, way: Way) -> None:
    """Only claims that added no outcome count."""
    progress = 0

    @step
    @way.of
    def work(number: int) -> int:
        return number

    def body() -> Any:
        for number in range(progress):
            yield lambda number=number: work(number)
        raise Broken

    fn = way.agent(body)
    options = {"max_attempts": 3, "take_over": True}
    for life in range(8):
        progress += life % 2
        with pytest.raises(Broken):
            way.run(backend, fn, options=options)
    for _ in range(3):
        with pytest.raises(Broken):
            way.run(backend, fn, options=options)
    claims = Client(backend).session("s").state().highest_claim
    for _ in range(2):
        with pytest.raises(RunExhausted):
            way.run(backend, fn, options=options)
    state = Client(backend).session("s").state()
    assert state.status == "exhausted"
    assert state.highest_claim == claims + 1  # the second did not even claim
    assert Client(backend).session("s").cancel()
    with pytest.raises(Broken):
        way.run(backend, fn, options=options)


def test_one_worker_a_session(backend: Any) -> None:
    inside, go_on = threading.Event(), threading.Event()

    @step
    def wait() -> int:
        inside.set()
        go_on.wait(30)
        return 1

    def fn() -> int:
        return wait()

    session = Client(backend).session("s")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(session.run, fn)
        assert inside.wait(30)
        with pytest.raises(SessionBusy, match="take_over"):
            session.run(fn)
        assert session.state().status == "running"
        assert [event.type for event in session.events()][-1] in ("status", "step")  # another thread may read
        go_on.set()
        assert running.result() == 1


def test_children(backend: Any, way: Way) -> None:
    ran: list[str] = []
    broken = True

    @step
    @way.of
    def work(name: str) -> str:
        ran.append(name)
        return name

    def child_body(name: str) -> Any:
        first = yield lambda: work(f"{name} 1")
        second = yield lambda: work(f"{name} 2")
        return [first, second]

    child_body.__name__ = "child"
    child = agent(way.agent(child_body))

    def parent_body() -> Any:
        first = yield lambda: child("a")
        second = yield lambda: child("b")
        if broken:
            raise Broken
        return first + second

    parent = way.agent(parent_body)
    with pytest.raises(Broken):
        way.run(backend, parent)
    broken = False
    assert way.run(backend, parent) == ["a 1", "a 2", "b 1", "b 2"]
    assert ran == ["a 1", "a 2", "b 1", "b 2"]
    runs = list(Client(backend).session("s").state().runs.values())
    assert [(run.agent, run.status) for run in runs[1:]] == [("child", "finished")] * 2
    assert [run.result for run in runs[1:]] == [["a 1", "a 2"], ["b 1", "b 2"]]
    assert {run.parent for run in runs[1:]} == {runs[0].key}
    assert Client(backend).session("s").state().run is not None
    assert way.replay(backend, parent).identical
    with pytest.raises(AgentStreamError, match=r"session\.run\(child"):
        asyncio.run(child("x")) if way.is_async else child("x")


class Answer(pydantic.BaseModel):
    text: str
    parts: list[int]


@dataclasses.dataclass
class Order:
    id: str
    amount: float


def test_typed_results(backend: Any) -> None:
    @step
    def answer(order: Order) -> Answer:
        return Answer(text=order.id, parts=[1])

    @agent
    def fn(order: Order) -> Order:
        assert isinstance(order, Order)
        given = answer(order)
        assert isinstance(given, Answer)
        return Order(given.text, 2.0)

    session = Client(backend).session("s").with_options(run_id="r")
    for _ in range(2):
        assert session.run(fn, Order("x", 1.5)) == Order("x", 2.0)
    report = session.replay(fn)
    assert (report.identical, report.result) == (True, Order("x", 2.0))


def test_what_is_decorated_stays_what_it_is() -> None:
    @step(name="other")
    def look(order: str, *, deep: bool = False) -> dict[str, Any]:
        """Looks an order up."""
        return {"order": order, "deep": deep, "attempt": current_step().attempt}

    @step
    async def alook(order: str) -> str:
        return order

    @agent
    def talk(question: str) -> str:
        """Answers."""
        return question

    assert look.__doc__ == "Looks an order up."
    assert str(inspect.signature(look)) == "(order: 'str', *, deep: 'bool' = False) -> 'dict[str, Any]'"
    assert talk.__doc__ == "Answers."
    assert inspect.iscoroutinefunction(inspect.unwrap(alook))
    assert asyncio.iscoroutinefunction(alook)
    assert look("a", deep=True) == {"order": "a", "deep": True, "attempt": 1}  # outside a run it is what it was
    assert asyncio.run(alook("a")) == "a"
    assert len({current_step().idempotency_key for _ in range(3)}) == 3


def test_lost_context(backend: Any) -> None:
    @step
    def work(number: int) -> int:
        return number

    said: list[str] = []

    def fn() -> list[int]:
        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(AgentStreamError, match="in_run") as caught:
                pool.submit(work, 1).result()
            said.append(str(caught.value))

            def on_purpose() -> int:
                with outside_run():
                    return work(2)

            return [pool.submit(on_purpose).result(), pool.submit(in_run(work), 3).result()]

    session = Client(backend).session("s")
    assert session.run(fn) == [2, 3]
    assert "outside_run" in said[0]
    assert [(found.lane, found.input) for found in session.state().steps] == [("0.0", {"number": 3})]


def test_an_async_step_in_a_plain_agent(backend: Any) -> None:
    @step
    async def work() -> int:
        return 1

    def fn() -> Any:
        return work()

    with pytest.raises(TypeError, match="work is an async step"):
        Client(backend).session("s").run(fn)

    async def afn() -> int:
        return await work()

    with pytest.raises(TypeError, match="AsyncClient"):
        Client(backend).session("t").run(afn)  # pyright: ignore[reportUnusedCoroutine]
    with pytest.raises(TypeError, match="is a step, not an agent"):
        Client(backend).session("t").run(work)  # pyright: ignore[reportUnusedCoroutine]


def test_a_plain_step_in_an_async_agent_and_a_plain_agent_in_a_loop(backend: Any) -> None:
    @step
    def work(number: int) -> int:
        return number

    async def afn() -> list[int]:
        return [work(1), *(await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(3))))]

    def fn() -> int:
        assert type(current_session()).__name__ == "Session"
        with ThreadPoolExecutor(1) as pool:  # the first step is made by another thread
            return pool.submit(in_run(work), 1).result() + work(2)

    async def main() -> None:
        client = AsyncClient(backend)
        assert await client.session("s").run(afn) == [1, 0, 1, 2]
        assert await client.session("t").run(fn) == 3
        assert (await client.session("s").replay(afn)).identical
        assert (await client.session("t").replay(fn)).identical
        assert [found.lane for found in (await client.session("t").state()).steps] == ["0.0", "0"]

    asyncio.run(main())


def test_history_inside_a_run(backend: Any, way: Way) -> None:
    """It reads as of the run's start, also where it goes on later; what is appended is a step."""
    seen: list[tuple[int, int]] = []
    broken = True

    @step
    @way.of
    def work() -> int:
        return 1

    def read() -> Any:
        session = current_session()
        if not way.is_async:
            return len(list(session.events())), len(session.state().messages)  # type: ignore[arg-type]

        async def reading() -> tuple[int, int]:
            events = [event async for event in session.events()]  # type: ignore[union-attr]
            return len(events), len((await session.state()).messages)  # type: ignore[misc]

        return reading()

    def append() -> Any:
        return current_session().append("note", {"n": 1})

    def body() -> Any:
        seen.append((yield read))
        yield work
        event = yield append
        assert (event.type, event.value) == ("note", {"n": 1})
        seen.append((yield read))
        if broken:
            raise Broken
        return len(seen)

    fn = way.agent(body)
    session = Client(backend).session("s")
    session.append("message", {"role": "user", "text": "hello"})
    with pytest.raises(Broken):
        way.run(backend, fn)
    broken = False
    session.append("message", {"role": "user", "text": "more"})
    assert way.run(backend, fn) == 4
    assert way.replay(backend, fn).identical is False or seen[-1] == seen[0]
    assert len(set(seen)) == 1
    assert seen[0][1] == 1
    assert len([event for event in session.events() if event.type == "note"]) == 1


def test_a_process_forked_in_a_run(backend: Any) -> None:
    @step
    def work() -> int:
        return 1

    def fn() -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                work()
                said = b"made a step"
            except AgentStreamError as error:
                said = str(error).encode()
            os.write(writing, said)
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading) as said_by_child:
            assert "forked from inside a run" in said_by_child.read()
        return work()

    assert Client(backend).session("s").run(fn) == 1


def test_a_task_that_outlives_the_run(backend: Any) -> None:
    late: list[asyncio.Task[int]] = []

    @step
    async def work(number: int) -> int:
        return number

    async def later() -> int:
        await ended.wait()
        return await work(2)

    async def fn() -> int:
        late.append(asyncio.create_task(later()))
        return await work(1)

    async def main() -> None:
        nonlocal ended
        ended = asyncio.Event()
        session = AsyncClient(backend).session("s")
        assert await session.run(fn) == 1
        ended.set()
        with pytest.raises(AgentStreamError, match="the run has ended"):
            await late[0]
        assert len((await session.state()).steps) == 1

    ended: Any = None
    asyncio.run(main())


def test_a_run_begun_in_a_step_of_another(backend: Any) -> None:
    """It is no part of that step: it has a session, and steps, of its own."""

    @step
    def work() -> int:
        return 1

    def inner() -> int:
        return work()

    @step
    def outer_step() -> int:
        return Client(backend).session("inner").run(inner)

    def outer() -> int:
        return outer_step()

    assert Client(backend).session("outer").run(outer) == 1
    assert len(Client(backend).session("inner").state().steps) == 1
    assert len(Client(backend).session("outer").state().steps) == 1


@pytest.mark.usefixtures("unhurried")
def test_the_result_is_lost_only_if_it_is_not_on_record(backend: Any, way: Way) -> None:
    """A run that crashed before its end was written goes to its end without doing anything."""
    first, _, outside = two_agents(way)
    outside["broken"] = False
    for after in (2, 3):
        with pytest.raises(Unavailable):
            way.run(FailingBackend(backend, after=after), first, "a", session=f"s{after}")
        outside["ran"] = 0
        assert way.run(backend, first, "a", session=f"s{after}") == "A"
        assert outside["ran"] == (1 if after == 2 else 0)
