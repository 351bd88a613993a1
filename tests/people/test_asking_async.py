"""Questions of async agents: several open at once, other lanes that go on, cancellation, stops."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable
from typing import Any

import pytest
from acting import made
from people_kit import answer_plain, asked

from agentstream import AsyncClient, Client, Fenced, RunWaiting, aask, agent, ask, step
from agentstream.agents.waiting import room_of
from agentstream.backends.base import Backend
from agentstream.sessions.state import State


@step
async def act(name: str) -> str:
    made.append(name)
    return name.upper()


async def awaiting(run: Awaitable[Any]) -> RunWaiting:
    with pytest.raises(RunWaiting) as caught:
        await run
    return caught.value


def test_gathered_questions_stand_open_at_once_and_are_answered_one_by_one(aclient: AsyncClient) -> None:
    @agent
    async def asks() -> list[str]:
        return list(await asyncio.gather(*(aask(f"Q{n}?") for n in range(3))))

    async def main() -> None:
        session = aclient.session("s")
        stopped = await awaiting(session.run(asks))
        assert [question.prompt for question in stopped.questions] == ["Q0?", "Q1?", "Q2?"]
        for left in (2, 1, 0):
            (question, *_) = await session.questions()
            await session.answer(question, question.prompt.lower())
            if left:
                assert len((await awaiting(session.run(asks))).questions) == left
        assert await session.run(asks) == ["q0?", "q1?", "q2?"]
        assert (await session.replay(asks)).identical

    asyncio.run(main())


if sys.version_info >= (3, 11):

    def test_a_task_group_of_questions_ends_as_waiting_too(aclient: AsyncClient) -> None:
        @agent
        async def asks() -> list[str]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(aask(f"Q{n}?")) for n in range(2)]
            return [task.result() for task in tasks]

        async def main() -> None:
            session = aclient.session("s")
            stopped = await awaiting(session.run(asks))
            assert len(stopped.questions) == 2
            for question in stopped.questions:
                await session.answer(question, "yes")
            assert await session.run(asks) == ["yes", "yes"]

        asyncio.run(main())


def test_other_lanes_go_on_as_far_as_they_can(aclient: AsyncClient) -> None:
    @agent
    async def works() -> list[Any]:
        async def working() -> list[str]:
            return [await act(f"w{n}") for n in range(5)]

        return list(await asyncio.gather(aask("Go?"), working()))

    async def main() -> None:
        session = aclient.session("s")
        await awaiting(session.run(works))
        assert made == ["w0", "w1", "w2", "w3", "w4"]
        await session.answer((await session.questions())[0], "go")
        assert await session.run(works) == ["go", ["W0", "W1", "W2", "W3", "W4"]]
        assert len(made) == 5

    asyncio.run(main())


def test_an_answer_that_comes_while_another_lane_works_is_taken_without_stopping(aclient: AsyncClient) -> None:
    @agent
    async def works() -> list[str]:
        answered = asyncio.Event()

        @step
        async def long_work() -> str:
            await answered.wait()
            return "done"

        async def asking() -> str:
            answer = await aask("Go?")
            answered.set()
            return answer

        return list(await asyncio.gather(asking(), long_work()))

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        running = asyncio.ensure_future(session.run(works))
        await session.answer(await asked(session), "go")
        assert await running == ["go", "done"]
        statuses = [event.value["status"] async for event in session.events() if event.type == "status"]
        assert statuses == ["running", "finished"], "it never had to wait"

    asyncio.run(main())


def test_a_question_that_the_code_no_longer_waits_for_is_closed(aclient: AsyncClient, backend: Backend) -> None:
    @agent
    async def first() -> str:
        tasks = [asyncio.ensure_future(each) for each in (aask("Slow?"), act("fast"))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return str(done.pop().result())

    async def main() -> None:
        session = aclient.session("s")
        assert await session.run(first) == "FAST"
        assert await session.questions() == []
        (question,) = (await session.state()).questions.values()
        assert question.status == "closed"
        answer_plain(backend, "s", question.key, "late")
        assert [given.reason for given in (await session.state()).questions[question.key].answers] == ["late"]
        assert (await session.replay(first)).identical

    asyncio.run(main())


def test_a_question_of_a_task_that_nobody_waits_for_ends_the_run_too(aclient: AsyncClient) -> None:
    @agent
    async def asks() -> str:
        answered, answers = asyncio.Event(), list[str]()

        async def asking() -> None:
            answers.append(await aask("Well?"))
            answered.set()

        task = asyncio.ensure_future(asking())
        await answered.wait()
        await task
        return answers[0]

    async def main() -> None:
        session = aclient.session("s")
        await awaiting(session.run(asks))
        await session.answer((await session.questions())[0], "well")
        assert await session.run(asks) == "well"

    asyncio.run(main())


def test_what_a_run_waited_for_is_forgotten_with_its_worker() -> None:
    class Worker:
        state = State("s", "i", [])
        run = "r"

    worker: Any = Worker()
    room = weakref.ref(room_of(worker))
    assert room() is room_of(worker)
    del worker
    gc.collect()
    assert room() is None


def test_a_plain_agent_under_an_async_client_asks_too(aclient: AsyncClient) -> None:
    @agent
    def asks() -> str:
        return ask("Well?")

    async def main() -> None:
        session = aclient.session("s")
        await awaiting(session.run(asks))
        await session.answer((await session.questions())[0], "well")
        assert await session.run(asks) == "well"

    asyncio.run(main())


def test_the_wrong_form_says_which_is_the_right_one(client: Client, aclient: AsyncClient) -> None:
    @agent
    async def blocks() -> str:
        return ask("Well?")

    @agent
    def awaits() -> str:
        return asyncio.run(aask("Well?"))

    with pytest.raises(TypeError, match=r"await aask\(\)"):
        asyncio.run(aclient.session("s").run(blocks))
    with pytest.raises(TypeError, match=r"call ask\(\)"):
        client.session("t").run(awaits)


def test_a_worker_that_is_taken_over_while_it_waits_in_place_is_fenced(aclient: AsyncClient) -> None:
    @agent
    async def asks() -> str:
        return await aask("Well?", expires=4.0)

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        running = asyncio.ensure_future(session.run(asks))
        await asked(session)
        assert await session.with_options(take_over=True).cancel()
        with pytest.raises(Fenced):
            await running

    asyncio.run(main())


def test_a_run_cancelled_from_outside_while_parked_goes_on_later(aclient: AsyncClient) -> None:
    @agent
    async def asks() -> str:
        return await aask("Well?", expires=4.0)

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        running = asyncio.ensure_future(session.run(asks))
        question = await asked(session)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await session.answer(question, "well")
        assert await session.run(asks) == "well"

    asyncio.run(main())
