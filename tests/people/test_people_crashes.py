"""A crash after each append, and lost replies: questions are asked once, answers are kept, nothing is made twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from failing import FailingBackend
from hostile import HostileBackend

from agentstream import AsyncClient, Client, RunWaiting, StoreError, aask, agent, ainbox, ask, asleep, step
from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append
from agentstream.sessions.keys import StepKey


@step(approve=True)
def pay(amount: int) -> str:
    return f"paid {amount}"


@step
def act(name: Any) -> str:
    return f"did {name}"


@agent
def plain() -> list[str]:
    return [act("first"), act(ask("Which?", choices=["red", "blue"])), pay(3)]


@agent
async def wide() -> list[Any]:
    async def lane(n: int) -> str:
        answer = await aask(f"Q{n}?")
        await asleep(0.001)
        return act(answer)

    answers = await asyncio.gather(*(lane(n) for n in range(3)))
    heard = await ainbox()
    return [*answers, len(heard)]


ANSWERS = {"Which?": "blue", "May pay be called?": True, "Q0?": "a", "Q1?": "b", "Q2?": "c"}


def go_on(client: Client, function: Any) -> Any:
    """Answers and runs until it has come to its end."""
    session = client.session("s").with_options(take_over=True, max_attempts=99)
    while True:
        try:
            if function is wide:
                return asyncio.run(session.to_async().run(function))
            return session.run(function)
        except RunWaiting as waiting:
            asked = waiting.questions
        for question in asked:
            session.answer(question, ANSWERS[question.prompt])


def finished_well(client: Client, function: Any) -> None:
    state = client.session("s").state()
    asked = Counter(place.identity for key in state.questions if (place := StepKey.parse(key)) is not None)
    assert set(asked.values()) == {1}, "no question was asked twice"
    finished = Counter(
        place.identity
        for event in state.of_type("outcome")
        if "result" in event.value and (place := StepKey.parse(event.key)) is not None
    )
    assert set(finished.values()) == {1}, "no finished step was made again"
    report = client.session("s").replay(function) if function is plain else None
    assert report is None or report.identical, report


@pytest.mark.parametrize("function", [plain, wide])
@pytest.mark.parametrize("hostile", [False, True])
def test_a_crash_after_each_append(function: Any, hostile: bool) -> None:
    for after in range(1, 40):
        inner: Backend = HostileBackend() if hostile else EmbeddedBackend(None)
        failing = FailingBackend(inner, after=after)
        try:
            result = go_on(Client(failing), function)
        except StoreError:
            result = None
        if isinstance(inner, HostileBackend):
            inner.restart()
        fresh = Client(inner)
        if result is None:
            result = go_on(fresh, function)
        expected = ["did first", "did blue", "paid 3"] if function is plain else ["did a", "did b", "did c", 0]
        assert result == expected
        finished_well(fresh, function)
        inner.close()
        if not failing.dead:
            return
    raise AssertionError("it never came to its end within 40 appends")


@pytest.mark.parametrize("function", [plain, wide])
@pytest.mark.parametrize("every", [2, 3, 5])
def test_lost_replies_of_appends(function: Any, every: int) -> None:
    count = 0

    def drops(operation: Any) -> bool:
        nonlocal count
        count += isinstance(operation, Append)
        return isinstance(operation, Append) and count % every == 0

    client = Client(HostileBackend(drop_replies=drops))
    result = go_on(client, function)
    assert result[-1] in ("paid 3", 0)
    finished_well(client, function)


def test_an_async_client_of_a_crashed_store_says_store_error() -> None:
    async def main() -> None:
        client = AsyncClient(FailingBackend(EmbeddedBackend(None), after=3))
        with pytest.raises(StoreError):
            await client.session("s").run(wide)

    asyncio.run(main())
