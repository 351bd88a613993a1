"""`with_options(durability="behind")`: steps return at once, and a crash repeats no more than the last of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from agents_kit import WatchingBackend, Way
from failing import FailingBackend

from agentstream import (
    AsyncClient,
    Client,
    NotFound,
    OutcomeUnknown,
    RunWaiting,
    Unavailable,
    agent,
    ask,
    current_session,
    recorded,
    step,
)

BEHIND = {"durability": "behind", "take_over": True}


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:  # the runs of these tests return
    return Way(request.param)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not waited for stays unwritten as long as a test takes."""
    monkeypatch.setattr("agentstream.agents.calls.START_WITHIN", 3600.0)


def worker(way: Way, did: list[int], *, effect: str = "repeat") -> Any:
    @step(effect=effect)  # type: ignore[call-overload]
    @way.of
    def work(number: int) -> int:
        did.append(number)
        return number * 10

    return work


@pytest.mark.usefixtures("slow")
def test_steps_go_out_together(backend: Any, way: Way) -> None:
    watching = WatchingBackend(backend)
    did: list[int] = []
    work = worker(way, did)

    def body(count: int) -> Any:
        total = 0
        for number in range(count):
            total += yield lambda number=number: work(number)
        return total

    assert way.run(watching, way.agent(body), 20, options=BEHIND) == 1900
    writing = [kinds for kinds in watching.appends if "outcome" in kinds]
    assert len(writing) == 1
    assert writing[0].count("outcome") == 21
    watching.appends.clear()
    way.run(watching, way.agent(body), 20, session="sync")
    assert sum("outcome" in kinds for kinds in watching.appends) == 21
    assert way.replay(backend, way.agent(body)).identical


@pytest.mark.usefixtures("slow")
def test_a_once_step_acts_after_all_before_it_is_durable(backend: Any, way: Way) -> None:
    seen: list[int] = []
    work = worker(way, [])

    @step(effect="once")
    @way.of
    def pay() -> str:
        seen.append(len([each for each in Client(backend).session("s").state().steps if each.outcome is not None]))
        return "paid"

    def body() -> Any:
        for number in range(5):
            yield lambda number=number: work(number)
            recorded.now()
        return (yield pay)

    assert way.run(backend, way.agent(body), options=BEHIND) == "paid"
    assert seen == [10]


@pytest.mark.usefixtures("slow")
def test_a_question_waits_for_what_was_done() -> None:
    client = Client("memory:")
    session = client.session("s").with_options(durability="behind")
    did: list[int] = []
    work = worker(Way("sync"), did)

    @agent
    def asking() -> str:
        work(1)
        work(2)
        return str(ask("Well?"))

    with pytest.raises(RunWaiting):
        session.run(asking)
    session.answer(session.questions()[0], "yes")
    assert session.run(asking) == "yes"
    assert did == [1, 2]


def test_written_within_moments_though_nobody_waits(backend: Any) -> None:
    written = threading.Event()

    class Watching(WatchingBackend):
        def submit(self, operation: Any) -> Any:
            future = super().submit(operation)
            if "outcome" in (self.appends or [[]])[-1]:
                future.add_done_callback(lambda done: written.set())
            return future

    work = worker(Way("sync"), [])

    @agent
    def long() -> bool:
        work(1)
        return written.wait(60)

    assert Client(Watching(backend)).session("s").with_options(durability="behind").run(long)


def test_a_crash_repeats_the_last_steps_and_no_others(backend: Any, way: Way) -> None:
    def agent_of(did: list[int]) -> Any:
        work, once = worker(way, did), worker(way, did, effect="once")

        def body() -> Any:
            got = []
            for number in range(6):
                made = once if number == 3 else work
                got.append((yield lambda made=made, number=number: made(number)))
            return got

        return way.agent(body)

    for after in range(1, 40):
        name, again = f"s{after}", list[int]()
        try:
            way.run(FailingBackend(backend, after=after), agent_of([]), session=name, options=BEHIND)
        except Unavailable:
            written = durable(backend, name)
            try:
                result = way.run(backend, agent_of(again), session=name)
            except OutcomeUnknown as error:
                assert (written, again) == (3, [])  # all before it was durable when it began
                Client(backend).session(name).resolve(error.step, 30)
                written = 4
                result = way.run(backend, agent_of(again), session=name)
            assert result == [0, 10, 20, 30, 40, 50]
            assert again == list(range(written, 6))
        else:
            assert after > 3
            return
    raise AssertionError("the run never came to its end")


def durable(backend: Any, name: str) -> int:
    """How many steps, from the first on, have an outcome in the record."""
    try:
        steps = Client(backend).session(name).state().steps
    except NotFound:
        return 0
    done = [each.input["number"] for each in steps if each.outcome is not None]
    assert done == list(range(len(done)))
    return len(done)


@pytest.mark.usefixtures("slow")
def test_a_full_buffer_is_waited_for(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentstream.agents.writer.CROWDED", 20_000)
    watching = WatchingBackend(backend)

    @step
    def large(number: int) -> str:
        return f"{number} " * 2000

    @agent
    def many() -> None:
        for number in range(30):
            large(number)

    Client(watching).session("s").with_options(durability="behind").run(many)
    assert max(kinds.count("outcome") for kinds in watching.appends) < 12
    assert sum("outcome" in kinds for kinds in watching.appends) < 20


@pytest.mark.usefixtures("slow")
def test_appended_inside_and_read_back(backend: Any) -> None:
    @agent
    def noting() -> int:
        session: Any = current_session()
        return session.append("note", 1).index

    session = Client(backend).session("s").with_options(durability="behind")
    index = session.run(noting)
    assert list(session.events())[index].value == 1


@pytest.mark.usefixtures("slow")
def test_lanes_go_the_same_way_again(backend: Any) -> None:
    work = worker(Way("async"), [])

    @agent
    async def lanes() -> list[int]:
        order: list[int] = []

        async def lane(number: int) -> None:
            for part in range(3):
                order.append(await work(number * 10 + part))

        await asyncio.gather(*(lane(number) for number in range(4)))
        return order

    async def main() -> None:
        session = AsyncClient(backend).session("s").with_options(durability="behind")
        await session.run(lanes)
        assert (await session.replay(lanes)).identical

    asyncio.run(main())


def test_bad_durability() -> None:
    with pytest.raises(ValueError, match="durability="):
        Client("memory:").session("s").with_options(durability="never")  # type: ignore[arg-type]
