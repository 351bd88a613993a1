"""Cancelled by the run's own code: an outcome. Cancelled from outside: an interruption that is resumed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest
from agents_kit import WatchingBackend
from failing import FailingBackend

from agentstream import AsyncClient, Client, OutcomeUnknown, SessionBusy, Unavailable, step

Agent = Callable[[], Awaitable[Any]]
new_in_311 = pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup are of Python 3.11")


def run(backend: Any, agent: Agent) -> Any:
    return asyncio.run(AsyncClient(backend).session("s").with_options(take_over=True).run(agent))


def check_every_crash(backend: Any, make: Callable[[list[str]], Agent]) -> tuple[Any, list[str]]:
    """Crashes the agent after each append, each time in a session of its own; it always comes to the same."""
    did: list[str] = []
    expected = run(backend, make(did))
    whole = list(did)
    for after in range(1, 30):
        session = f"s{after}"
        did.clear()

        async def life(keeper: Any, session: str = session) -> Any:
            return await AsyncClient(keeper).session(session).with_options(take_over=True).run(make(did))

        try:
            assert asyncio.run(life(FailingBackend(backend, after=after))) == expected
            break
        except Unavailable:
            pass
        assert asyncio.run(life(backend)) == expected
        assert asyncio.run(AsyncClient(backend).session(session).replay(make(did))).identical
    return expected, whole


def steps(did: list[str]) -> tuple[Any, Any]:
    @step
    async def forever(name: str) -> str:
        did.append(name)
        await asyncio.Event().wait()
        return name

    @step
    async def work(name: str) -> str:
        did.append(name)
        return name

    return forever, work


def wait_for(did: list[str]) -> Agent:
    forever, work = steps(did)

    async def agent() -> Any:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(forever("late"), 0.01)
        return await work("after")

    return agent


def timeout(did: list[str]) -> Agent:
    forever, work = steps(did)

    async def agent() -> Any:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):  # pyright: ignore[reportAttributeAccessIssue]
                await forever("late")
        return await work("after")

    return agent


def group(did: list[str]) -> Agent:
    forever, work = steps(did)

    async def fail() -> None:
        await work("before the failure")
        raise KeyError("one of them fails")

    async def agent() -> Any:
        with pytest.raises(BaseException, match="unhandled errors"):  # noqa: PT012
            async with asyncio.TaskGroup() as tasks:  # pyright: ignore[reportAttributeAccessIssue]
                tasks.create_task(forever("sibling"))
                tasks.create_task(fail())
        return await work("after")

    return agent


def first_completed(did: list[str]) -> Agent:
    forever, work = steps(did)

    async def agent() -> Any:
        tasks = [asyncio.create_task(forever("loser")), asyncio.create_task(work("winner"))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)
        return [task.result() for task in done] + [await work("after")]

    return agent


def raises_it(did: list[str]) -> Agent:
    _, work = steps(did)

    @step
    async def cancelled_within() -> None:
        did.append("within")
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    async def agent() -> Any:
        try:
            await cancelled_within()
        except asyncio.CancelledError:
            return await work("after")

    return agent


@pytest.mark.parametrize(
    "make",
    [
        wait_for,
        pytest.param(timeout, marks=new_in_311),
        pytest.param(group, marks=new_in_311),
        first_completed,
        pytest.param(raises_it, marks=new_in_311),
    ],
)
def test_by_its_own_code(backend: Any, make: Any) -> None:
    check_every_crash(backend, make)


class Slow(WatchingBackend):
    """Appends an outcome only when it may."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.may = threading.Event()
        self.appending = threading.Event()

    def submit(self, operation: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def do() -> None:
            if any(b'"outcome"' in message for message in getattr(operation, "body", ())):
                self.appending.set()
                assert self.may.wait(30)
            future.set_result(self.inner.execute(operation))

        threading.Thread(target=do).start()
        return future


def test_while_the_outcome_is_written(backend: Any) -> None:
    """The effect was had and is on record, but what the code saw is the cancellation: so the record says that too."""
    did: list[str] = []
    slow = Slow(backend)
    crash = True

    @step
    async def work() -> str:
        did.append("work")
        return "done"

    @step
    async def after(what: str) -> str:
        did.append("after")
        return what

    async def agent() -> Any:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        if crash:
            await asyncio.to_thread(slow.appending.wait)
        task.cancel()
        await asyncio.wait([task])
        slow.may.set()
        said = await after("cancelled" if task.cancelled() else "done")
        if crash:
            raise KeyError("crash")
        return said

    with pytest.raises(KeyError):
        run(slow, agent)
    (first, _) = Client(backend).session("s").state().steps
    assert [attempt.outcome is not None for attempt in first.attempts] == [True, True]
    assert first.status == "cancelled"
    crash = False
    assert run(backend, agent) == "cancelled"
    assert did == ["work", "after"]
    assert asyncio.run(AsyncClient(backend).session("s").replay(agent)).identical


def test_a_once_step(backend: Any) -> None:
    acting = asyncio.Event()

    @step(effect="once")
    async def pay() -> None:
        acting.set()
        await asyncio.Event().wait()

    async def agent() -> str:
        nonlocal acting
        acting = asyncio.Event()  # of this life's loop
        paying, acts = asyncio.ensure_future(pay()), asyncio.ensure_future(acting.wait())
        await asyncio.wait({paying, acts}, return_when=asyncio.FIRST_COMPLETED)
        acts.cancel()
        paying.cancel()
        with contextlib.suppress(BaseException):
            await paying
        return "all is well"

    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            run(backend, agent)
    assert len(Client(backend).session("s").unresolved()) == 1


def test_from_outside(backend: Any) -> None:
    """Whatever the code does about it: no outcome, no tidying up on record, and the run goes on where it was."""
    did: list[str] = []
    acting = asyncio.Event()
    interrupted = True

    @step
    async def work(name: str) -> str:
        did.append(name)
        if interrupted and name == "second":
            acting.set()
            await asyncio.Event().wait()
        return name

    async def agent() -> str:
        await work("first")
        try:
            await asyncio.gather(work("second"), work("beside"))
        except BaseException:
            if interrupted:
                await work("tidy up")
        return "all is well"

    async def main() -> None:
        nonlocal interrupted
        session = AsyncClient(backend).session("s")
        running = asyncio.create_task(session.run(agent))
        await acting.wait()
        with pytest.raises(SessionBusy):
            await session.run(agent)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert "tidy up" not in did
        interrupted = False
        did.clear()
        assert await session.run(agent) == "all is well"
        assert "second" in did
        assert "first" not in did

    asyncio.run(main())


def test_a_plain_agent_from_outside(backend: Any) -> None:
    """Its thread cannot be cancelled: it is waited for, and ends with its next step."""
    acting, let_go = threading.Event(), threading.Event()
    did: list[str] = []

    @step
    def work(name: str) -> str:
        did.append(name)
        acting.set()
        let_go.wait(30)
        return name

    def agent() -> list[str]:
        return [work("first"), work("second")]

    async def main() -> None:
        session = AsyncClient(backend).session("s")
        running = asyncio.create_task(session.run(agent))
        await asyncio.to_thread(acting.wait)
        running.cancel()
        await asyncio.sleep(0)
        assert not running.done()
        with pytest.raises(SessionBusy):
            await session.run(agent)
        let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert did == ["first"]
        assert await session.run(agent) == ["first", "second"]
        assert did == ["first", "second"]  # what was done in the end is on record

    asyncio.run(main())


def test_a_loop_that_is_closed_in_mid_run(backend: Any) -> None:
    """Nothing can be awaited then; the session is free again all the same."""

    @step
    async def work() -> int:
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()
        return 1

    async def agent() -> int:
        return await work()

    coroutine = AsyncClient(backend).session("s").run(agent)
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    loop.run_forever()
    for each in asyncio.all_tasks(loop):
        each.cancel()
    loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
    assert task.done()
    loop.run_until_complete(loop.shutdown_asyncgens())  # as asyncio.run does: connections of a loop end with it
    loop.close()

    async def other() -> str:
        return "free"

    Client(backend).session("s").cancel()
    assert asyncio.run(AsyncClient(backend).session("s").run(other)) == "free"
