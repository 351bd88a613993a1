"""Children of async agents, and of the other kind than their parents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from acting import made
from people_kit import asked

from agentstream import (
    AsyncClient,
    Client,
    RunCancelled,
    RunWaiting,
    aask,
    agent,
    aspawn,
    spawn,
    step,
)


@step
async def act(name: str) -> str:
    await asyncio.sleep(0)
    made.append(name)
    return name.upper()


@agent
async def child(name: str) -> str:
    return await act(name) + await act(f"{name}!")


def test_children_in_parallel(aclient: AsyncClient) -> None:
    @agent
    async def parent(count: int) -> list[str]:
        children = [await aspawn(child, f"c{number}") for number in range(count)]
        return await asyncio.gather(*(each.result() for each in children))

    async def main() -> None:
        session = aclient.session("p")
        assert await session.run(parent, 3) == ["C0C0!", "C1C1!", "C2C2!"]
        assert [(node.id, node.status) for node in (await session.tree()).walk()] == [
            (id, "finished") for id in ("p", "p/0", "p/1", "p/2")
        ]
        assert (await session.replay(parent)).identical

    asyncio.run(main())
    assert len(made) == 6


def test_plain_children_of_async_parents_and_the_other_way_round(client: Client) -> None:
    @agent
    def plain(name: str) -> str:
        return name * 2

    @agent
    async def over_plain() -> str:
        return await (await aspawn(plain, "x")).result()

    @agent
    def over_async() -> str:
        return spawn(child, "y").result()

    assert asyncio.run(client.to_async().session("a").run(over_plain)) == "xx"
    assert client.session("b").run(over_async) == "YY!"


def test_a_child_goes_on_when_it_is_answered_while_its_parent_is_busy(aclient: AsyncClient) -> None:
    @agent
    async def asks() -> str:
        return await aask("Well?")

    @agent
    async def parent() -> list[str]:
        return list(await asyncio.gather((await aspawn(asks)).result(), answered()))

    @step
    async def answered() -> str:
        """While this step is made the run does not end as waiting."""
        session = aclient.session("p/0")
        await session.answer(await asked(session), "yes")
        return "answered"

    assert asyncio.run(aclient.session("p").run(parent)) == ["yes", "answered"]


def test_a_child_is_interrupted_with_its_loop_and_gone_on_with(aclient: AsyncClient) -> None:
    waits = [True]

    @step
    async def blocks() -> str:
        made.append("begun")
        if waits:
            await asyncio.Event().wait()
        return "done"

    @agent
    async def works() -> str:
        return await act("before") + await blocks()

    @agent
    async def parent() -> str:
        return await (await aspawn(works)).result()

    async def main() -> None:
        run = asyncio.ensure_future(aclient.session("p").run(parent))
        while "begun" not in made:
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(main())
    waits.clear()
    assert asyncio.run(aclient.session("p").run(parent)) == "BEFOREdone"
    assert made == ["before", "begun", "begun"]


def test_cancelling_a_child_that_works(aclient: AsyncClient) -> None:
    @agent
    async def blocks() -> None:
        await act("begun")
        await asyncio.Event().wait()

    @agent
    async def parent() -> Any:
        kid = await aspawn(blocks)
        await begun()
        cancelled = await kid.cancel()
        try:
            await kid.result()
        except RunCancelled:
            return [cancelled, await kid.status()]

    @step
    async def begun() -> None:
        while "begun" not in made:
            await asyncio.sleep(0)

    session = aclient.session("p")
    assert asyncio.run(session.run(parent)) == [True, "cancelled"]
    assert asyncio.run(session.replay(parent)).identical


def test_a_lane_that_waits_for_a_child_is_cancelled_and_the_child_is_not(aclient: AsyncClient) -> None:
    go: list[int] = []

    @agent
    async def slow() -> str:
        while not go:
            await asyncio.sleep(0.001)
        return "slow"

    @agent
    async def parent() -> list[str]:
        kid = await aspawn(slow)
        first = asyncio.ensure_future(kid.result())
        await act("x")
        first.cancel()
        (gone,) = await asyncio.gather(first, return_exceptions=True)
        go.append(1)
        return [type(gone).__name__, await kid.result()]

    session = aclient.session("p")
    assert asyncio.run(session.run(parent)) == ["CancelledError", "slow"]
    assert asyncio.run(session.replay(parent)).identical


def test_questions_of_several_children_stand_at_once(aclient: AsyncClient) -> None:
    @agent
    async def asks(what: str) -> str:
        return await aask(what)

    @agent
    async def parent() -> list[str]:
        kids = [await aspawn(asks, what) for what in ("a?", "b?")]
        return list(await asyncio.gather(*(kid.result() for kid in kids)))

    async def main() -> None:
        session = aclient.session("p")
        with pytest.raises(RunWaiting) as caught:
            await session.run(parent)
        assert {question.prompt for question in caught.value.questions} == {"a?", "b?"}
        for number, answer in enumerate("AB"):
            kid = aclient.session(f"p/{number}")
            await kid.answer((await kid.questions())[0], answer)
        assert await session.run(parent) == ["A", "B"]

    asyncio.run(main())
