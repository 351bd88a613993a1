"""`delta` and `emit`: each thing said is in the record once, and what does not stand is void."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from failing import FailingBackend
from streaming_kit import Streams

from agentstream import AsyncClient, Client, NotSerializable, agent, delta, emit, step
from agentstream.adapters import muted


class Speech:
    """An agent that speaks before, within and after its steps; one of them fails at its first attempt."""

    def __init__(self) -> None:
        self.refuse = True
        self.did: list[int] = []

        @step(retries=1)
        def think(number: int) -> int:
            self.did.append(number)
            delta(f"<thought {number}>")
            delta("hm", kind="reasoning", target="thoughts")
            emit("progress", {"thinking": number})
            if number == 1 and self.refuse:
                self.refuse = False
                raise OSError("not today")
            return number

        def speech() -> Any:
            for number in range(3):
                delta(f"[before {number}]")
                emit("note", number)
                yield "do", think, number
                yield "say", number
            delta("[the ")
            delta("end]")
            emit("custom", {"ended": True}, key="ended")

        self.body = speech


WHOLE = "[before 0]<thought 0>[before 1]<thought 1>[before 2]<thought 2>[the end]"


def said(backend: Any, session: str = "s") -> tuple[str, list[Any], list[Any]]:
    handle = Client(backend).session(session)
    state = handle.state()
    return (
        handle.output().text,
        [event.value for event in state.of_type("note")],
        [event.value for event in state.of_type("custom")],
    )


def test_said_once(backend: Any, way: Streams) -> None:
    speech = Speech()
    way.go(backend, way.agent(speech.body))
    assert said(backend) == (WHOLE, [0, 1, 2], [{"ended": True}])
    output = Client(backend).session("s").output()
    assert output.of_kind("reasoning") == {"thoughts": "hmhmhm"}
    assert [piece.text for piece in output.pieces if piece.void] == ["<thought 1>", "hm"]
    run = Client(backend).session("s").state().run
    assert run is not None
    assert output.texts[run.key] == "[before 0][before 1][before 2][the end]"
    assert output.texts[f"{run.key}/0/1"] == "<thought 1>"


def test_said_once_whenever_it_crashes(backend: Any, way: Streams) -> None:
    for after in range(1, 80):
        speech = Speech()
        failing = FailingBackend(backend, after=after)
        name = f"s{after}"
        try:
            way.go(failing, way.agent(speech.body), session=name)
        except Exception:
            pass
        else:
            assert after > 4
            return
        again = Speech()
        again.refuse = speech.refuse and 1 not in speech.did
        way.go(backend, way.agent(again.body), session=name)
        assert said(backend, name) == (WHOLE, [0, 1, 2], [{"ended": True}])
    raise AssertionError("the run never came to its end")


def test_said_once_whenever_it_is_left(backend: Any, way: Streams) -> None:
    speech = Speech()
    fn = way.agent(speech.body)
    for taken in (1, 2, 2, 3):
        way.go(backend, fn, take=taken)
    way.go(backend, fn)
    assert said(backend) == (WHOLE, [0, 1, 2], [{"ended": True}])
    before = Client(backend).session("s").state().index
    assert Client(backend).session("s").replay(fn).identical if not way.is_async else True
    assert Client(backend).session("s").state().index == before


def test_a_failed_end_is_said_anew() -> None:
    """What was said after the last step is void once the run goes on: another end may be told."""
    weather = ["rain"]
    session = Client("memory:").session("s")

    @step
    def look() -> str:
        if weather == ["rain"]:
            raise OSError
        return "sun"

    @agent
    def report() -> str:
        delta("so: ")
        try:
            seen = look()
        except OSError:
            delta("nothing to be seen")
            emit("seen", "nothing")
            raise
        delta(f"there is {seen}")
        emit("seen", seen)
        return seen

    with pytest.raises(OSError):  # noqa: PT011
        session.run(report)
    assert session.output().text == "so: nothing to be seen"
    weather.clear()
    assert session.run(report) == "sun"
    assert session.output().text == "so: there is sun"
    assert [event.value for event in session.state().of_type("seen")] == ["nothing", "sun"]


def test_an_attempt_that_failed_for_good_is_void() -> None:
    session = Client("memory:").session("s")

    @step
    def fail() -> None:
        delta("in vain ")
        raise OSError

    @agent
    def careful() -> None:
        try:
            fail()
        except OSError:
            delta("so be it")

    session.run(careful)
    assert session.output().text == "so be it"
    assert [piece.text for piece in session.output().pieces if piece.void] == ["in vain "]


def test_tasks_that_have_made_no_step_yet(backend: Any) -> None:
    @step
    async def work(number: int) -> int:
        return number

    async def speak(number: int) -> None:
        delta(f"a{number}", target=f"t{number}")
        emit("note", number)
        delta(f"b{number}", target=f"t{number}")
        if number:
            await work(number)
            delta(f"c{number}", target=f"t{number}")

    @agent
    async def many() -> None:
        await asyncio.gather(*(speak(number) for number in range(3)))
        await work(9)
        raise_once()

    broken = [True]

    def raise_once() -> None:
        if broken:
            broken.clear()
            raise KeyError

    async def main() -> None:
        session = AsyncClient(backend).session("s")
        with pytest.raises(KeyError):
            await session.run(many)
        await session.run(many)
        assert (await session.output()).texts == {"t1": "a1b1c1", "t2": "a2b2c2", "t0": "a0b0"}
        assert sorted(event.value for event in (await session.state()).of_type("note")) == [0, 1, 2]

    asyncio.run(main())


def test_where_there_is_nobody_to_hear_it() -> None:
    delta("outside a run")
    emit("note", 1)

    @agent
    def quiet() -> None:
        with muted():
            delta("part of something else")
            emit("note", 1)

    session = Client("memory:").session("s")
    session.run(quiet)
    assert session.output().pieces == []
    assert not session.state().of_type("note")


def test_bad_things_to_say() -> None:
    for wrong in (
        lambda: delta(1),  # type: ignore[arg-type]
        lambda: delta("x", target=3),  # type: ignore[arg-type]
        lambda: emit("message", "no mapping"),
    ):
        with pytest.raises((TypeError, ValueError)):
            wrong()
    with pytest.raises(ValueError, match="kind="):
        delta("x", kind="tune")
    for kind in ("outcome", "claim", "delta", "answer", "session", ""):
        with pytest.raises(ValueError, match=r"events|type"):
            emit(kind, {})
    with pytest.raises(NotSerializable):
        emit("note", object())
