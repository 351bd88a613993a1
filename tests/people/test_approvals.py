"""Approvals: a person is asked before a step acts, and a refusal is an outcome the model can be told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from failing import FailingBackend
from people_kit import answer_plain, waiting
from pydantic import BaseModel

from agentstream import (
    AgentStreamError,
    AnswerRefused,
    AsyncClient,
    Client,
    Denied,
    NotFound,
    RunWaiting,
    StoreError,
    agent,
    outside_run,
    step,
)
from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend

made: list[tuple[str, int]] = []


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


@step(effect="once", approve=True)
def refund(order: str, amount: int) -> str:
    made.append((order, amount))
    return f"refunded {amount}"


@step
def tell(text: str) -> str:
    return text


@agent
def support(order: str) -> str:
    try:
        return tell(refund(order, amount=10))
    except Denied as denied:
        return tell(f"{denied} / {denied.reason}")


def test_an_approved_step_is_made_once(client: Client) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(support, "A1")).questions
    assert (question.kind, question.step, question.arguments) == ("approval", "refund", {"order": "A1", "amount": 10})
    assert made == []
    session.answer(question, True, by="ann")
    assert session.run(support, "A1") == "refunded 10"
    assert made == [("A1", 10)]
    assert [step.name for step in session.state().steps] == ["approve", "refund", "tell"]
    assert session.replay(support).identical


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (False, "refund was not approved / None"),
        ({"approved": False, "reason": "too much"}, "refund was not approved: too much / too much"),
    ],
)
def test_a_denied_step_is_not_made_and_says_why(client: Client, answer: Any, said: str) -> None:
    session = client.session("s")
    session.answer(waiting(lambda: session.run(support, "A1")).questions[0], answer)
    assert session.run(support, "A1") == said
    assert made == []
    report = session.replay(support)
    assert (report.identical, report.result) == (True, said)
    refused = next(step for step in session.state().steps if step.name == "refund")
    assert refused.error is not None
    assert refused.error["name"] == "Denied"


def test_a_denial_that_nobody_catches_fails_the_run_and_is_not_asked_again(client: Client) -> None:
    @agent
    def strict() -> str:
        return refund("A1", 10)

    session = client.session("s")
    session.answer(waiting(lambda: session.run(strict)).questions[0], False)
    for _ in range(2):
        with pytest.raises(Denied):
            session.run(strict)
        assert (made, session.questions(), session.status()) == ([], [], "failed")


def test_what_is_neither_yes_nor_no_is_invalid(client: Client, backend: Backend) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(support, "A1")).questions
    for nonsense in ("yes", 1, None, {"reason": "?"}, {"approved": "true"}):
        with pytest.raises(AnswerRefused) as caught:
            session.answer(question, nonsense)
        assert caught.value.reason == "invalid"
    answer_plain(backend, "s", question.key, {"approved": True, "reason": None, "at": "the desk"})
    assert session.run(support, "A1") == "refunded 10"


def test_an_approval_may_be_of_other_arguments(client: Client) -> None:
    """The step is called, recorded and replayed with what was approved."""
    session = client.session("s")
    (question,) = waiting(lambda: session.run(support, "A1")).questions
    session.answer(question, {"approved": True, "arguments": {"amount": 4}}, by="ann")
    assert session.run(support, "A1") == "refunded 4"
    assert made == [("A1", 4)]
    called = next(step for step in session.state().steps if step.name == "refund")
    assert called.input == {"order": "A1", "amount": 4}
    report = session.replay(support)
    assert (report.identical, report.result, made) == (True, "refunded 4", [("A1", 4)])


@pytest.mark.parametrize(
    "edited", [{"amount": "a lot"}, {"sum": 3}, {"order": None}, {"amount": [1]}, {"amount": 3, "more": True}]
)
def test_arguments_that_the_step_does_not_take_approve_nothing(client: Client, edited: Any) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(support, "A1")).questions
    session.answer(question, {"approved": True, "arguments": edited})
    (again,) = waiting(lambda: session.run(support, "A1")).questions
    assert (again.key, again.answers[0].reason, made) == (question.key, "invalid", [])
    session.answer(again, True)
    assert session.run(support, "A1") == "refunded 10"


class Order(BaseModel):
    id: str


@step(approve=True)
def ship(order: Order, *rest: int, fast: bool = False, note: Any = "none") -> str:
    return f"{order.id} {rest} {fast} {note}"


def test_edited_arguments_are_of_their_types(client: Client) -> None:
    @agent
    def ships() -> str:
        return ship(Order(id="A1"), 1, 2)

    session = client.session("s")
    (question,) = waiting(lambda: session.run(ships)).questions
    session.answer(question, {"approved": True, "arguments": {"order": {"id": "B2"}, "fast": True, "note": [1]}})
    assert session.run(ships) == "B2 (1, 2) True [1]"
    assert session.replay(ships).identical


def test_a_denial_has_no_arguments(client: Client) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(support, "A1")).questions
    session.answer(question, {"approved": False, "arguments": {"amount": 4}})
    assert waiting(lambda: session.run(support, "A1")).questions[0].answers[0].reason == "invalid"


def test_an_approval_is_for_these_arguments_only(client: Client) -> None:
    session = client.session("s")
    session.answer(waiting(lambda: session.run(support, "A1")).questions[0], True)

    @agent(name="support")
    def dearer(order: str) -> str:
        return tell(refund(order, amount=1000))

    assert "different args" in str(session.replay(dearer).divergence)
    assert made == []


def test_async_steps_are_approved_too(aclient: AsyncClient) -> None:
    @step(approve=True, key=lambda self, amount: amount)
    async def pay(self: object, amount: int) -> int:
        made.append(("pay", amount))
        return amount

    @agent
    async def pays() -> list[int]:
        return list(await asyncio.gather(pay(object(), 1), pay(object(), 2)))

    async def main() -> None:
        session = aclient.session("s")
        with pytest.raises(RunWaiting) as caught:
            await session.run(pays)
        assert sorted(question.arguments for question in caught.value.questions) == [1, 2]
        for question in await session.questions():
            await session.answer(question, True)
        assert await session.run(pays) == [1, 2]

    asyncio.run(main())


def test_where_nobody_can_be_asked_nothing_is_made(client: Client) -> None:
    with pytest.raises(AgentStreamError, match="approval"):
        refund("A1", 1)

    @step
    def outer() -> str:
        return refund("A1", 1)

    with pytest.raises(AgentStreamError):
        client.session("s").run(agent(lambda: outer()))
    assert made == []
    with outside_run():
        assert refund("A1", 1) == "refunded 1"


def test_approve_is_yes_or_no() -> None:
    with pytest.raises(TypeError, match="approve="):
        step(approve="maybe")  # type: ignore[call-overload]


def denied_in_the_end(client: Client) -> str:
    session = client.session("s").with_options(take_over=True)
    while True:
        try:
            return session.run(support, "A1")
        except RunWaiting as stopped:
            asked = stopped.questions
        for question in asked:
            session.answer(question, False)


def test_a_denied_step_is_never_unknown_wherever_it_crashed() -> None:
    """Nothing was acted out: a crash between its start and its outcome leaves nothing to find out."""
    crashed = True
    after = 0
    while crashed:
        after += 1
        store = EmbeddedBackend(None)
        failing = FailingBackend(store, after=after)
        with contextlib.suppress(StoreError):
            denied_in_the_end(Client(failing))
        crashed = failing.dead
        with contextlib.suppress(NotFound):
            assert "once" not in [
                step.effect for step in Client(store).session("s").state().steps if step.name == "refund"
            ]
        store.close()
    assert (made, after > 5) == ([], True)
