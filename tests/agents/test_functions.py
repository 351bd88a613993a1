"""Whatever can be called can be an agent or a step: methods, partials, objects, builtins; and what is wrong is said."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest

from agentstream import AsyncClient, Client, NotSerializable, agent, step


class Money(pydantic.BaseModel):
    amount: int


class Desk:
    @agent
    def answer(self, question: str) -> str:
        return question.upper()

    @agent
    async def later(self, question: str) -> str:
        return question.upper()

    @agent
    def words(self, question: str) -> Iterator[str]:
        yield from question.split()

    @classmethod
    @agent
    def of_the_class(cls, question: str) -> str:
        return question.upper()

    @agent
    def hands_on(self, question: str) -> str:
        return self.answer(question)


class Doubling:
    def __call__(self, number: int) -> int:
        return number * 2


class DoublingLater:
    async def __call__(self, number: int) -> int:
        return number * 2


def test_an_agent_taken_from_an_object_runs_without_it_among_its_arguments() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        assert session.run(Desk().answer, "hi") == "HI"
        run = session.state().run
        assert run is not None
        assert (run.agent, run.arguments) == ("Desk.answer", {"question": "hi"})
        assert session.replay(Desk().answer).identical
        assert client.session("class").run(Desk.of_the_class, "hi") == "HI"
        assert list(client.session("words").stream(Desk().words, "a b")) == ["a", "b"]


def test_an_async_agent_taken_from_an_object() -> None:
    async def run() -> str:
        async with AsyncClient("memory:") as client:
            return await client.session("s").run(Desk().later, "hi")

    assert asyncio.run(run()) == "HI"


def test_an_object_is_no_argument_of_a_child_run() -> None:
    with Client("memory:") as client, pytest.raises(NotSerializable, match=r"Desk\.answer\.self is of type"):
        client.session("s").run(Desk().hands_on, "hi")


@pytest.mark.parametrize(
    ("function", "result"),
    [(Doubling(), 8), (functools.partial(max, 7), 7), (max, 4), (int, 4)],
    ids=["object", "partial", "max", "int"],
)
def test_callables_of_any_kind(function: Callable[..., Any], result: int) -> None:
    arguments = (1, 4) if function is max else (4,)
    with Client("memory:") as client:
        assert client.session("agent").run(function, *arguments) == result
        assert client.session("agent").replay(function).identical
        wrapped = step(function)

        def calls() -> Any:
            return wrapped(*arguments)

        assert client.session("step").run(calls) == result
        assert client.session("step").replay(calls).identical


def test_an_object_whose_call_is_async() -> None:
    double = step(DoublingLater())

    async def calls() -> int:
        return await double(4)

    async def run() -> tuple[int, int]:
        async with AsyncClient("memory:") as client:
            return await client.session("agent").run(DoublingLater(), 4), await client.session("step").run(calls)

    assert asyncio.run(run()) == (8, 8)


def total(*moneys: Money, **named: Money) -> int:
    return sum(money.amount for money in (*moneys, *named.values()))


def test_models_among_any_number_of_arguments_are_made_again() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        assert session.run(total, Money(amount=1), Money(amount=2), tip=Money(amount=3)) == 6
        assert session.replay(total).identical


def test_a_call_that_does_not_fit_names_the_function() -> None:
    def two(a: int, b: int) -> int:
        return a + b

    with Client("memory:") as client:
        with pytest.raises(TypeError, match=r"^two\(\): missing a required argument: 'b'"):
            client.session("s").run(two, 1)
        with pytest.raises(TypeError, match=r"^two\(\): missing a required argument: 'b'"):
            client.session("s").run(lambda: step(two)(1))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "options",
    [{"retries": True}, {"retries": "2"}, {"timeout": True}, {"timeout": "1"}, {"kind": ""}, {"kind": 3}],
    ids=str,
)
def test_options_of_a_step_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))}= is a "):
        step(**options)


# --- another input to a replay ----------------------------------------------------------------------------------------


def pay(money: Money, times: int = 1) -> int:
    return money.amount * times


def listed(first: int, /, *rest: int, last: int = 0, **named: int) -> list[int]:
    return [first, *rest, last, *named.values()]


@pytest.mark.parametrize(
    ("given", "result"),
    [({"times": 3}, 6), ({"money": {"amount": 5}}, 10), (Money(amount=5), 10), ((Money(amount=5),), 5)],
    ids=str,
)
def test_a_replay_with_another_input_keeps_the_types_of_the_rest(given: Any, result: int) -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(pay, Money(amount=2), 2)
        assert session.replay(pay, input=given).result == result


@pytest.mark.parametrize(
    ("given", "result"),
    [(9, [9, 2, 3, 4, 5]), ({"last": 9}, [1, 2, 3, 9, 5]), ({"rest": [9]}, [1, 9, 4, 5]), ((9,), [9, 0])],
    ids=str,
)
def test_a_replay_with_another_input_keeps_the_rest_of_the_call(given: Any, result: list[int]) -> None:
    with Client("memory:") as client:
        session = client.session("s")
        assert session.run(listed, 1, 2, 3, last=4, more=5) == [1, 2, 3, 4, 5]
        assert session.replay(listed, input=given).result == result


def test_what_names_no_run_is_refused() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(pay, Money(amount=2))
        with pytest.raises(TypeError, match="run= is the id of a run"):
            session.replay(pay, run=["x"])  # type: ignore[arg-type]
