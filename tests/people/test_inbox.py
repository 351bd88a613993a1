"""The inbox: new messages read as a step, waiting for one, and being interrupted by one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from acting import made
from people_kit import append_plain, waiting

from agentstream import (
    AgentStreamError,
    AsyncClient,
    AsyncSession,
    Client,
    Interrupted,
    agent,
    ainbox,
    ainterrupted,
    inbox,
    interrupted,
    interruptible,
    step,
)
from agentstream.backends.base import Backend


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "parts": [{"type": "text", "text": text}], **more}


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["parts"][0]["text"] for message in messages]


def test_only_what_came_since_the_run_began_and_each_once(client: Client, backend: Backend) -> None:
    session = client.session("s")
    session.append("message", said("long before"))

    @step
    def person_says(*words: str) -> None:
        for word in words:
            append_plain(backend, "s", "message", said(word), key=word)

    @agent
    def reads() -> list[list[str]]:
        heard = [texts(inbox())]
        person_says("one", "two")
        heard.append(texts(inbox()))
        person_says("three", "three")  # the same key: appended twice, said once
        heard.append(texts(inbox()))
        return [*heard, texts(inbox())]

    assert session.run(reads) == [[], ["one", "two"], ["three"], []]
    session.append("message", said("long after"))
    report = session.replay(reads)
    assert (report.identical, report.result) == (True, [[], ["one", "two"], ["three"], []])


def test_a_run_waits_for_a_message(client: Client, backend: Backend) -> None:
    @agent
    def chats() -> list[str]:
        heard: list[str] = []
        while "bye" not in heard:
            heard += texts(inbox(wait=True))
        return heard

    session = client.session("s")
    for word in ("hello", "there", "bye"):
        stopped = waiting(lambda: session.run(chats))
        assert (stopped.questions, stopped.until) == ((), None)
        append_plain(backend, "s", "message", said(word), key=word)
    assert session.run(chats) == ["hello", "there", "bye"]
    assert session.replay(chats).identical


def test_what_the_run_itself_says_is_not_in_its_inbox(client: Client) -> None:
    @agent
    def talks() -> list[Any]:
        client.session("s").append("message", said("mine"))
        return inbox()

    assert client.session("s").run(talks) == []


def test_a_crash_after_reading_loses_no_message(client: Client) -> None:
    @step
    def act(words: list[str]) -> list[str]:
        made.append("acted")
        if len(made) == 1:
            raise KeyboardInterrupt
        return words

    @agent
    def reads() -> list[str]:
        return act(texts(inbox(wait=True)))

    session = client.session("s")
    waiting(lambda: session.run(reads))
    session.append("message", said("hello"))
    with pytest.raises(KeyboardInterrupt):
        session.run(reads)
    session.append("message", said("too late for this one"))
    assert session.run(reads) == ["hello"]


def test_two_lanes_never_get_the_same_message(aclient: AsyncClient, backend: Backend) -> None:
    @agent
    async def reads() -> list[list[str]]:
        return [texts(heard) for heard in await asyncio.gather(*(ainbox(wait=True) for _ in range(3)))]

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        for n in range(3):
            with pytest.raises(Exception, match="waits for a message"):
                await session.run(reads)
            append_plain(backend, "s", "message", said(f"m{n}"), key=f"m{n}")
        heard: Any = await session.run(reads)
        assert sorted(word for words in heard for word in words) == ["m0", "m1", "m2"]
        assert (await session.replay(reads)).identical

    asyncio.run(main())


def test_an_interruption_can_be_looked_for(client: Client, backend: Backend) -> None:
    @step
    def person_says(word: str, **more: Any) -> None:
        append_plain(backend, "s", "message", said(word, **more), key=word)

    @agent
    def looks() -> list[Any]:
        seen: list[Any] = [interrupted()]
        person_says("hm")
        seen.append(interrupted())
        person_says("stop", interrupt=True)
        seen.append(interrupted())
        return [*seen, texts(inbox()), interrupted()]

    session = client.session("s")
    assert session.run(looks) == [False, False, True, ["hm", "stop"], False]
    assert session.replay(looks).identical


def test_it_can_be_looked_for_in_async_agents(aclient: AsyncClient) -> None:
    @agent
    async def looks() -> bool:
        return await ainterrupted()

    assert asyncio.run(aclient.session("s").run(looks)) is False


# --- blocks that are interrupted -------------------------------------------------------------------------------------


def worker(client: AsyncClient, *, steps: int = 2) -> Any:
    """An agent that is interrupted in a step, or between steps, and goes on with what it was told."""

    @step
    async def act(name: str) -> str:
        made.append(name)
        return name

    @step
    async def endless() -> None:
        made.append("endless")
        await asyncio.Event().wait()

    @agent
    async def works() -> list[str]:
        done: list[str] = []
        try:
            async with interruptible():
                for n in range(steps):
                    done.append(await act(f"a{n}"))
                await endless()
        except Interrupted:
            done += texts(await ainbox())
        return [*done, await act("after")]

    return works


async def interrupts(session: AsyncSession, step_name: str) -> None:
    """Waits until a step of this name begins, and appends the message."""
    async for event in session.follow():
        if event.type == "step" and event.value["name"] == step_name:
            break
    await session.append("message", said("stop it", interrupt=True))


def test_a_block_is_interrupted_live_and_replayed_alike(aclient: AsyncClient) -> None:
    works = worker(aclient)

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        result, _ = await asyncio.gather(session.run(works), interrupts(session, "endless"))
        assert result == ["a0", "a1", "stop it", "after"]
        assert made == ["a0", "a1", "endless", "after"]
        report = await session.replay(works)
        assert (report.identical, report.result) == (True, result), report
        assert len(made) == 4

    asyncio.run(main())


def test_an_interrupted_block_is_resumed_alike(aclient: AsyncClient) -> None:
    works = worker(aclient)

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        result, _ = await asyncio.gather(session.run(works), interrupts(session, "endless"))
        outcome = next(
            step for step in (await session.state()).steps if step.name == "act" and step.input == {"name": "after"}
        )
        branch = await session.fork("b", at=outcome.last.start.index)
        made.clear()
        assert await branch.resume(works) == result
        assert made == ["after"]

    asyncio.run(main())


def test_between_steps_and_in_many_lanes(aclient: AsyncClient) -> None:
    @step
    async def act(name: str) -> str:
        made.append(name)
        return name

    @agent
    async def works() -> list[str]:
        async def lane(name: str) -> None:
            for n in range(3):
                await act(f"{name}{n}")
            await asyncio.Event().wait()  # no step: what it waits for nobody knows

        try:
            async with interruptible():
                await asyncio.gather(*(lane(name) for name in "xyz"))
        except Interrupted:
            return texts(await ainbox())
        return ["never"]

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")

        async def person() -> None:
            seen = 0
            async for event in session.follow():
                seen += (
                    event.type == "outcome" and "result" in event.value and event.value["result"] in ("x2", "y2", "z2")
                )
                if seen == 3:
                    break
            await session.append("message", said("enough", interrupt=True))

        result, _ = await asyncio.gather(session.run(works), person())
        assert result == ["enough"]
        assert len(made) == 9
        for _ in range(3):
            report = await session.replay(works)
            assert (report.identical, report.result) == (True, ["enough"]), report

    asyncio.run(main())


def test_a_message_that_was_there_before_interrupts_at_once(aclient: AsyncClient, backend: Backend) -> None:
    @step
    async def person_says() -> None:
        append_plain(backend, "s", "message", said("stop", interrupt=True), key="stop")

    @agent
    async def works() -> list[str]:
        await person_says()
        told: list[str] = []
        for _ in range(2):
            try:
                async with interruptible():
                    await asyncio.Event().wait()
            except Interrupted:
                told += texts(await ainbox())
                break
        async with interruptible():
            told.append("read: it interrupts no more")
        return told

    async def main() -> None:
        session = aclient.session("s")
        result = await session.run(works)
        assert result == ["stop", "read: it interrupts no more"]
        assert (await session.replay(works)).identical

    asyncio.run(main())


def test_a_block_that_nobody_interrupts_and_one_that_fails(aclient: AsyncClient) -> None:
    @agent
    async def works() -> str:
        async with interruptible():
            pass
        try:
            async with interruptible():
                raise ValueError("its own")
        except ValueError as error:
            return str(error)

    async def main() -> None:
        session = aclient.session("s")
        assert await session.run(works) == "its own"
        assert (await session.replay(works)).identical

    asyncio.run(main())


def test_a_cancellation_by_others_stays_one(aclient: AsyncClient) -> None:
    @agent
    async def works() -> str:
        async def inner() -> None:
            async with interruptible():
                await asyncio.Event().wait()

        task = asyncio.ensure_future(inner())
        await asyncio.wait({task}, timeout=0.05)
        task.cancel()
        await asyncio.wait({task})
        return "cancelled" if task.cancelled() else "interrupted"

    assert asyncio.run(aclient.session("s").run(works)) == "cancelled"


def test_where_there_is_no_inbox(client: Client) -> None:
    with pytest.raises(AgentStreamError, match="outside a run"):
        inbox()
    with pytest.raises(AgentStreamError, match="outside a run"):
        interrupted()


def test_what_was_interrupted_outside_steps_makes_no_more_of_them_on_replay(aclient: AsyncClient) -> None:
    """What the code waits for between steps is in no record: on replay it may be there already."""
    gate: list[asyncio.Event] = []

    @step
    async def act(name: str) -> str:
        return name

    @agent
    async def works() -> list[str]:
        try:
            async with interruptible():
                await act("before")
                await gate[0].wait()
                await act("never")
        except Interrupted:
            return texts(await ainbox())
        return ["never"]

    async def main() -> None:
        session = aclient.session("s")
        await session.append("custom", "so that it is there")
        gate.append(asyncio.Event())

        async def person() -> None:
            async for event in session.follow():
                if event.type == "outcome" and event.value.get("result") == "before":
                    break
            await session.append("message", said("enough", interrupt=True))

        result, _ = await asyncio.gather(session.run(works), person())
        assert result == ["enough"]
        gate[0].set()
        report = await session.replay(works)
        assert (report.identical, report.result) == (True, ["enough"]), report

    asyncio.run(main())
