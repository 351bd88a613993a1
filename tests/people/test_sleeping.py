"""Durable sleep: the moment to wake is recorded, and a long sleep needs no process."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from acting import made
from people_kit import kinds, waiting

from agentstream import (
    AsyncClient,
    Client,
    RunWaiting,
    aask,
    agent,
    ask,
    asleep,
    asleep_until,
    sleep,
    sleep_until,
    step,
)
from agentstream.sessions import moments


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves this machine's clock forward, from the true time on."""

    def forward(span: timedelta) -> None:
        true = moments.now
        monkeypatch.setattr(moments, "now", lambda: true() + span)

    return forward


@step
def act(name: str) -> str:
    made.append(name)
    return name


@agent
def sleeps() -> str:
    act("before")
    sleep(timedelta(days=1))
    return act("after")


def test_a_long_sleep_ends_the_run_as_waiting_until_its_moment(client: Client, clock: Any) -> None:
    session = client.session("s")
    stopped = waiting(lambda: session.run(sleeps))
    assert stopped.questions == ()
    assert stopped.until is not None
    assert timedelta(hours=23) < stopped.until - moments.now() <= timedelta(days=1)

    clock(timedelta(hours=23))
    before = kinds(client, "s")
    assert waiting(lambda: session.run(sleeps)).until == stopped.until, "not a day from now: what is left"
    assert kinds(client, "s") == before

    clock(timedelta(hours=2))
    assert session.run(sleeps) == "after"
    assert made == ["before", "after"]
    assert session.replay(sleeps).identical


def test_a_replay_does_not_sleep(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(sleeps))
    report = session.replay(sleeps)
    assert report.identical
    assert "record ends" in report.notes[0]


def test_sleep_until_keeps_the_moment_first_asked_for(client: Client, clock: Any) -> None:
    @agent
    def until() -> str:
        sleep_until(datetime.now(timezone.utc) + timedelta(hours=1))
        return act("woken")

    session = client.session("s")
    stopped = waiting(lambda: session.run(until))
    clock(timedelta(hours=1, seconds=1))
    assert session.run(until) == "woken"
    assert stopped.until is not None


def test_short_sleeps_hold_the_process(client: Client) -> None:
    @agent
    def naps() -> str:
        before = moments.now()
        sleep(0.02)
        return act("slept" if moments.now() - before >= timedelta(seconds=0.019) else "awake")

    session = client.session("s")
    assert session.run(naps) == "slept"
    assert "waiting" not in [event.value["status"] for event in session.events() if event.type == "status"]


def test_a_sleep_and_a_question_whichever_comes_first(aclient: AsyncClient, clock: Any) -> None:
    @agent
    async def patient() -> str:
        asking, sleeping = asyncio.ensure_future(aask("Well?")), asyncio.ensure_future(asleep(3600))
        done, left = await asyncio.wait((asking, sleeping), return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return str(asking.result()) if asking in done else "nobody"

    async def main() -> None:
        answered, left = aclient.session("answered"), aclient.session("left")
        for session in (answered, left):
            with pytest.raises(RunWaiting) as caught:
                await session.run(patient)
            assert caught.value.until is not None
            assert len(caught.value.questions) == 1
        await answered.answer((await answered.questions())[0], "well")
        assert await answered.run(patient) == "well"
        assert (await answered.replay(patient)).identical
        clock(timedelta(hours=2))
        assert await left.run(patient) == "nobody"
        assert (await left.replay(patient)).identical
        assert await left.questions() == []

    asyncio.run(main())


def test_the_order_in_which_sleepers_wake_is_kept_on_replay(aclient: AsyncClient) -> None:
    @agent
    async def race() -> list[int]:
        async def nap(n: int) -> int:
            await asleep(n * 0.02)
            return n

        return [await done for done in asyncio.as_completed([nap(3), nap(1), nap(2)])]

    async def main() -> None:
        session = aclient.session("s")
        woken = await session.run(race)  # on a machine that stands still, who is due at once wakes in any order
        assert sorted(woken) == [1, 2, 3]
        report = await session.replay(race)
        assert (report.identical, report.result) == (True, woken)

    asyncio.run(main())


def test_asleep_until_in_an_async_agent(aclient: AsyncClient) -> None:
    @agent
    async def until() -> str:
        await asleep_until(datetime(2200, 1, 1, tzinfo=timezone.utc))
        return "woken"

    async def main() -> None:
        with pytest.raises(RunWaiting) as caught:
            await aclient.session("s").run(until)
        assert caught.value.until == datetime(2200, 1, 1, tzinfo=timezone.utc)

    asyncio.run(main())


def test_outside_a_run_and_inside_a_step_it_is_plain_sleep(client: Client) -> None:
    sleep(0.001)
    sleep_until(moments.now())
    asyncio.run(asleep(0.001))

    @step
    def naps() -> str:
        sleep(0.001)
        return "up"

    @agent
    def calls() -> str:
        return naps()

    assert client.session("s").run(calls) == "up"
    assert len(client.session("s").state().steps) == 1


@pytest.mark.parametrize("span", [-1, "soon", float("nan"), True, timedelta(seconds=-1), 1e300])
def test_what_is_no_span_is_refused(client: Client, span: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        client.session("s").run(agent(lambda: sleep(span)))
    with pytest.raises((TypeError, ValueError)):
        sleep_until(span)


def test_the_soonest_of_many_decides_when_the_run_goes_on(aclient: AsyncClient) -> None:
    @agent
    async def many() -> None:
        await asyncio.gather(asleep(86400), asleep(3600), aask("Well?", expires=7200))

    async def main() -> None:
        with pytest.raises(RunWaiting) as caught:
            await aclient.session("s").run(many)
        assert caught.value.until is not None
        assert caught.value.until - moments.now() <= timedelta(hours=1)

    asyncio.run(main())


def test_a_question_after_a_sleep(client: Client, clock: Any) -> None:
    @agent
    def both() -> str:
        sleep(3600)
        return ask("Well?")

    session = client.session("s")
    waiting(lambda: session.run(both))
    clock(timedelta(hours=2))
    (question,) = waiting(lambda: session.run(both)).questions
    session.answer(question, "well")
    assert session.run(both) == "well"
