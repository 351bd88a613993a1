"""Open questions that a branch inherits: each is its own lane's, and no answer is taken for another question."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from people_kit import waiting

from agentstream import AsyncClient, Client, RunWaiting, aask, agent, ask, in_run, step


@step
def act(name: str) -> str:
    return name


def lane(n: int) -> str:
    return act(f"{n} is done") if n == 2 else ask(f"Q{n}?")


@agent
def threads() -> list[str]:
    with ThreadPoolExecutor(3) as pool:
        return [made.result() for made in [pool.submit(in_run(lane), n) for n in range(3)]]


def test_each_lane_of_a_branch_has_the_answer_to_its_own_question(client: Client) -> None:
    """Its questions are all that is known of such a lane, and by them it is found again."""
    session = client.session("s")
    asked = waiting(lambda: session.run(threads)).questions
    branch = session.fork("branch")
    for question in asked:
        branch.answer(question, f"answer to {question.prompt}")
    assert branch.run(threads) == ["answer to Q0?", "answer to Q1?", "2 is done"]
    assert len(branch.state().questions) == 2
    assert branch.replay(threads).identical
    assert {question.key for question in session.questions()} == {question.key for question in asked}


def test_tasks_of_a_branch_too(aclient: AsyncClient) -> None:
    @step
    async def aact(name: str) -> str:
        return name

    async def alane(n: int) -> str:
        return await aact(f"{n} is done") if n == 2 else await aask(f"Q{n}?")

    @agent
    async def tasks() -> list[str]:
        return list(await asyncio.gather(*map(alane, range(3))))

    async def main() -> None:
        session = aclient.session("s")
        with pytest.raises(RunWaiting) as caught:
            await session.run(tasks)
        branch = await session.fork("branch")
        for question in caught.value.questions:
            await branch.answer(question, f"answer to {question.prompt}")
        assert await branch.run(tasks) == ["answer to Q0?", "answer to Q1?", "2 is done"]
        assert (await branch.replay(tasks)).identical

    asyncio.run(main())


def test_a_branch_with_other_code_asks_anew(client: Client) -> None:
    @agent(name="asks")
    def before() -> str:
        return ask("Red?")

    @agent(name="asks")
    def after() -> str:
        return ask("Blue?")

    session = client.session("s")
    (red,) = waiting(lambda: session.run(before)).questions
    branch = session.fork("branch")
    branch.answer(red, "yes, red")
    (blue,) = waiting(lambda: branch.run(after)).questions
    assert (blue.prompt, blue.answer) == ("Blue?", None)
    branch.answer(blue, "yes, blue")
    assert branch.run(after) == "yes, blue"
    assert branch.replay(after).identical
