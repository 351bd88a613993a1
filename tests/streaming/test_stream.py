"""`session.stream`: what a run of a generator agent gives, and what leaving it leaves behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from failing import FailingBackend
from streaming_kit import Streams

from agentstream import (
    AgentStreamError,
    AsyncClient,
    Client,
    Diverged,
    RunPending,
    RunWaiting,
    SessionBusy,
    Unavailable,
    agent,
    ask,
    current_session,
    step,
)


class Outside:
    """A counting step, and an agent of either kind that says what it gave."""

    def __init__(self, way: Streams) -> None:
        self.did: list[int] = []
        self.ended: list[str] = []

        @step
        def work(number: int) -> int:
            self.did.append(number)
            return number * 10

        def counting(count: int) -> Any:
            try:
                for number in range(count):
                    got = yield "do", work, number
                    yield "say", {"number": number, "got": got}
                return f"{count} done"
            finally:
                self.ended.append("tidied up")

        self.work = work
        self.agent = way.agent(counting)


def expected(count: int) -> list[dict[str, int]]:
    return [{"number": number, "got": number * 10} for number in range(count)]


# --- what comes ------------------------------------------------------------------------------------------------------


def test_items_come_and_the_run_is_recorded(backend: Any, way: Streams) -> None:
    outside = Outside(way)
    assert way.go(backend, outside.agent, 4) == expected(4)
    state = Client(backend).session("s").state()
    assert state.status == "finished"
    assert state.run is not None
    assert state.run.result == (None if way.is_async else "4 done")
    assert outside.did == [0, 1, 2, 3]
    assert outside.ended == ["tidied up"]


def test_the_iterators_value_is_the_result() -> None:
    outside = Outside(Streams("sync"))
    stream = Client("memory:").session("s").stream(outside.agent, 1)

    def consumer() -> Generator[Any, None, Any]:
        return (yield from stream)

    gone = consumer()
    assert list(iter(lambda: next(gone, None), None)) == expected(1)
    again = Client("memory:").session("s").stream(outside.agent, 0)
    with pytest.raises(StopIteration) as end:
        next(again)
    assert end.value.value == "0 done"


def test_leaving_interrupts_and_the_same_call_goes_on(backend: Any, way: Streams) -> None:
    outside = Outside(way)
    for taken in range(1, 4):
        assert way.go(backend, outside.agent, 4, take=taken) == expected(taken)
        assert outside.ended == ["tidied up"] * taken
        state = Client(backend).session("s").state()
        assert state.status == "abandoned"
        assert len(state.runs) == 1
        assert not state.of_type("error")
    assert way.go(backend, outside.agent, 4, options={}) == expected(4)  # the lease is free: nothing to take over
    assert outside.did == [0, 1, 2, 3]
    assert Client(backend).session("s").status() == "finished"


def test_a_run_id_makes_the_items_come_from_the_record(backend: Any, way: Streams) -> None:
    outside = Outside(way)
    options = {"run_id": "order 7"}
    assert way.go(backend, outside.agent, 3, options=options) == expected(3)
    before = [event.raw for event in Client(backend).session("s").events()]
    assert way.go(backend, outside.agent, 3, options=options) == expected(3)
    assert way.go(backend, outside.agent, 3, options=options, take=2) == expected(2)
    assert outside.did == [0, 1, 2]
    assert [event.raw for event in Client(backend).session("s").events()] == before

    def counting(count: int) -> Any:
        yield "do", outside.work, 99

    with pytest.raises(Diverged):
        way.go(backend, way.agent(counting), 3, options=options)
    with pytest.raises(RunPending):
        way.go(backend, outside.agent, 4, options=options)


def test_crashed_after_every_append(backend: Any, way: Streams) -> None:
    for after in range(1, 60):
        outside = Outside(way)
        failing = FailingBackend(backend, after=after)
        try:
            items = way.go(failing, outside.agent, 3, session=f"s{after}")
        except Unavailable:
            returned = list(outside.did)[:-1]
        else:
            assert items == expected(3)
            assert after > 3
            return
        again = Outside(way)
        assert way.go(backend, again.agent, 3, session=f"s{after}") == expected(3)
        assert not set(returned) & set(again.did)
    raise AssertionError("the run never came to its end")


def test_what_the_agent_raises_comes_out(backend: Any, way: Streams) -> None:
    broken = [True]

    def failing() -> Any:
        yield "say", 1
        if broken:
            raise KeyError("not there")
        yield "say", 2

    fn = way.agent(failing)
    with pytest.raises(KeyError, match="not there"):
        way.go(backend, fn)
    assert Client(backend).session("s").status() == "failed"
    broken.clear()
    assert way.go(backend, fn) == [1, 2]


def test_code_that_swallows_a_stop_gives_nothing_more(backend: Any, way: Streams) -> None:
    outside = Outside(way)
    way.go(backend, outside.agent, 3, take=2)
    shown: list[Any] = []

    def counting(count: int) -> Any:
        for number in range(5):
            try:
                outside.work(number + 7)
            except BaseException as error:
                shown.append(type(error).__name__)
            yield "say", "a stale answer"

    with pytest.raises(Diverged):
        shown += way.go(backend, way.agent(counting), 3)
    assert shown == ["Stop"]


def test_a_question_ends_the_stream_as_waiting() -> None:
    @agent
    def asking() -> Iterator[str]:
        yield "thinking"
        yield f"so it is {ask('Which?')}"

    session = Client("memory:").session("s")
    stream = session.stream(asking)
    assert next(stream) == "thinking"
    with pytest.raises(RunWaiting):
        next(stream)
    session.answer(session.questions()[0], "blue")
    assert list(session.stream(asking)) == ["thinking", "so it is blue"]


# --- who may ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_streamed_or_run(backend: Any) -> None:
    @agent
    def plain() -> int:
        return 1

    def yielding() -> Iterator[int]:
        yield 1

    async def ayielding() -> AsyncIterator[int]:
        yield 1

    session = Client(backend).session("s")
    with pytest.raises(TypeError, match=r"session\.run\(plain"):
        session.stream(plain)  # type: ignore[arg-type,type-var]
    with pytest.raises(TypeError, match=r"session\.stream\("):
        session.run(yielding)
    with pytest.raises(TypeError, match="async for"):
        session.stream(ayielding)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="missing a required argument"):
        session.stream(agent(lambda_generator))
    with pytest.raises(AgentStreamError, match="outside a run"):
        agent(lambda_generator)(1)
    assert list(session.stream(yielding)) == [1]
    assert session.replay(yielding).identical


def lambda_generator(needed: int) -> Iterator[int]:
    yield needed


def test_busy_while_somebody_reads(backend: Any) -> None:
    outside = Outside(Streams("sync"))
    session = Client(backend).session("s")
    stream = session.stream(outside.agent, 3)
    next(stream)
    with pytest.raises(SessionBusy):
        next(session.stream(outside.agent, 3))
    stream.close()
    assert list(session.stream(outside.agent, 3)) == expected(3)


def test_gone_through_to_its_end_where_nobody_asks_for_items(backend: Any, way: Streams) -> None:
    outside = Outside(way)
    way.go(backend, outside.agent, 3, take=1)
    if way.is_async:

        async def resume() -> Any:
            return await AsyncClient(backend).session("s").resume(outside.agent)

        assert asyncio.run(resume()) is None
    else:
        assert Client(backend).session("s").resume(outside.agent) == "3 done"  # type: ignore[comparison-overlap]
    assert outside.did == [0, 1, 2]
    assert Client(backend).session("s").status() == "finished"


# --- leaving, in all its ways ----------------------------------------------------------------------------------------


def test_dropped_without_a_close(backend: Any) -> None:
    outside = Outside(Streams("sync"))
    session = Client(backend).session("s")
    for item in session.stream(outside.agent, 5):
        if item["number"] == 2:
            break
    gc.collect()
    assert outside.ended == ["tidied up"]
    assert list(session.stream(outside.agent, 5)) == expected(5)
    assert outside.did == [0, 1, 2, 3, 4]


def test_an_exception_thrown_in_is_the_consumers(backend: Any) -> None:
    outside = Outside(Streams("sync"))
    session = Client(backend).session("s")
    stream = session.stream(outside.agent, 5)
    next(stream)
    with pytest.raises(LookupError, match="mine"):
        stream.throw(LookupError("mine"))
    assert session.status() == "abandoned"
    assert outside.ended == ["tidied up"]


def test_steps_made_while_tidying_up_are_refused(backend: Any, way: Streams) -> None:
    met: list[str] = []

    @step
    def note(text: str) -> str:
        met.append(text)
        return text

    def tidy() -> Any:
        try:
            yield "say", (yield "do", note, "first")
            yield "say", "second"
        finally:
            try:
                note("while tidying up")
            except Exception as error:
                met.append(repr(error))

    way.go(backend, way.agent(tidy), take=1)
    assert met == ["first"]
    assert [each.input for each in Client(backend).session("s").state().steps] == [{"text": "first"}]


@pytest.mark.parametrize("leave", ["break", "cancel", "cancel a task", "drop"])
def test_ways_to_leave_an_async_stream(backend: Any, leave: str) -> None:
    ended: list[str] = []

    async def main() -> None:
        gone = asyncio.Event()
        reached = asyncio.Event()

        @step
        async def work(number: int) -> int:
            return number

        @agent
        async def endless() -> AsyncIterator[Any]:
            try:
                yield await work(0)
                reached.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append("tidied up")
                gone.set()

        @agent
        async def counting() -> AsyncIterator[Any]:
            try:
                for number in range(9):
                    yield await work(number)
            finally:
                ended.append("tidied up")
                gone.set()

        session = AsyncClient(backend).session("s")
        if leave == "break":
            async for item in session.stream(counting):
                if item == 2:
                    break
        elif leave == "drop":
            stream = session.stream(counting)
            await stream.__anext__()
            del stream
            gc.collect()
        else:
            stream = session.stream(endless)
            assert await stream.__anext__() == 0
            if leave == "cancel":
                waiting = asyncio.ensure_future(stream.__anext__())
                await reached.wait()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            else:
                closing = asyncio.ensure_future(stream.aclose())
                await closing
        await gone.wait()
        state = await session.state()
        assert not state.of_type("error")
        assert state.run is not None
        assert state.run.open

    asyncio.run(main())
    assert ended == ["tidied up"]


# --- a context, a thread and a pace of its own -----------------------------------------------------------------------

mood: contextvars.ContextVar[str] = contextvars.ContextVar("mood", default="none")


def test_context_variables_stay_where_they_are(backend: Any, way: Streams) -> None:
    seen: list[str] = []

    def moody() -> Any:
        for number in range(3):
            seen.append(mood.get())
            mood.set(f"the agent's {number}")
            yield "say", number

    fn = way.agent(moody)

    def consumer() -> None:
        mood.set("the consumer's")
        if way.name == "sync":
            for number in Client(backend).session("s").stream(fn):
                assert mood.get() == ("the consumer's" if not number else "changed")
                mood.set("changed")
            return

        async def consume() -> None:
            async for number in AsyncClient(backend).session("s").stream(fn):
                assert mood.get() == ("the consumer's" if not number else "changed")
                mood.set("changed")

        asyncio.run(consume())

    contextvars.copy_context().run(consumer)
    assert seen == ["the consumer's", "the agent's 0", "the agent's 1"]


def test_asked_for_from_many_threads(backend: Any) -> None:
    outside = Outside(Streams("sync"))

    @agent
    def outer(count: int) -> Iterator[Any]:
        yield from outside.agent(count)
        yield outside.work(77)

    items: list[Any] = []
    stream = Client(backend).session("s").stream(outer, 6)

    def ask_for_one() -> None:
        items.append(next(stream, None))

    while not items or items[-1] is not None:
        thread = threading.Thread(target=ask_for_one)
        thread.start()
        thread.join()
    assert items == [*expected(6), 770, None]
    session = Client(backend).session("s")
    assert {each.lane for each in session.state().steps} == {"0"}
    assert session.replay(outer).identical


def test_the_agent_goes_on_only_when_it_is_asked(backend: Any, way: Streams) -> None:
    outside = Outside(way)
    if way.name == "sync":
        stream = Client(backend).session("s").stream(outside.agent, 5)
        for taken in range(1, 4):
            next(stream)
            assert len(outside.did) == taken
        stream.close()
        return

    async def consume() -> None:
        stream = AsyncClient(backend).session("s").stream(outside.agent, 5)
        for taken in range(1, 4):
            await stream.__anext__()
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(outside.did) == taken
        await stream.aclose()

    asyncio.run(consume())


def test_a_timeout_around_a_yield_is_the_agents(backend: Any) -> None:
    @agent
    async def impatient() -> AsyncIterator[Any]:
        task = asyncio.current_task()
        assert task is not None
        try:
            asyncio.get_running_loop().call_soon(task.cancel)
            yield "slow reader"
        except asyncio.CancelledError:
            yield "went on"

    async def main() -> list[Any]:
        items = []
        async for item in AsyncClient(backend).session("s").stream(impatient):
            for _ in range(5):
                await asyncio.sleep(0)
            items.append(item)
        return items

    assert asyncio.run(main()) == ["slow reader", "went on"]


# --- one inside another ----------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    good: bool


def test_a_generator_agent_inside_a_run_is_a_child_run(backend: Any) -> None:
    outside = Outside(Streams("sync"))
    after: list[str] = []

    @agent
    def judging(count: int) -> Generator[int, str, Verdict]:
        heard = []
        for number in range(count):
            heard.append((yield outside.work(number)))
        return Verdict(heard == ["good"] * count)

    @agent
    def outer() -> Iterator[Any]:
        child = judging(2)
        assert next(child) == 0
        yield outside.work(50)  # the caller's own, between the child's
        assert child.send("good") == 10
        with pytest.raises(StopIteration) as end:
            child.send("good")
        yield end.value.value
        for item in outside.agent(3):
            yield item
            if item["number"] == 1:
                break
        after.append(current_session().id)
        yield "the end"

    session = Client(backend).session("s").with_options(run_id="r", take_over=True)
    everything = [500, Verdict(True), *expected(2), "the end"]
    for taken in range(1, len(everything)):
        stream = session.stream(outer)
        assert [next(stream) for _ in range(taken)] == everything[:taken]
        stream.close()
    assert list(session.stream(outer)) == everything
    assert list(session.stream(outer)) == everything
    assert sorted(outside.did) == [0, 0, 1, 1, 50]
    state = session.state()
    assert [(run.agent, run.status) for run in state.runs.values()] == [
        ("outer", "finished"),
        ("judging", "finished"),
        ("counting", "cancelled"),
    ]
    assert {(each.run, each.lane, each.ordinal): each.input["number"] for each in state.steps} == {
        ("r/0/0#1", "0", 0): 0,
        ("r", "0", 1): 50,
        ("r/0/0#1", "0", 1): 1,
        ("r/0/2#1", "0", 0): 0,
        ("r/0/2#1", "0", 1): 1,
    }
    assert session.replay(outer).identical


def test_async_generators_inside_one_another(backend: Any) -> None:
    @step
    async def work(number: int) -> int:
        return number

    @agent
    async def inner(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield await work(number)

    @agent
    async def outer() -> AsyncIterator[Any]:
        async for number in inner(2):
            yield number, await work(number + 100)
        yield [number async for number in inner(1)]

    async def main() -> None:
        session = AsyncClient(backend).session("s")
        stream = session.stream(outer)
        assert await stream.__anext__() == (0, 100)
        await stream.aclose()
        assert [item async for item in session.stream(outer)] == [(0, 100), (1, 101), [0]]
        assert (await session.replay(outer)).identical
        assert {each.lane for each in (await session.state()).steps} == {"0"}

    asyncio.run(main())
