"""An interrupt, wherever it comes: the same client resumes the run, and what had returned stands."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from agents_kit import WatchingBackend

from agentstream import AsyncClient, Client, step
from agentstream.backends import driving
from agentstream.backends.base import Backend
from agentstream.backends.driving import Sleep, Steps, drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append

OPENING = ("run_open", "add", "discard", "enter", "leave", "_reset", "call_agent")


class Interrupting(WatchingBackend):
    """The append of a number (from 1) is interrupted: before it is applied, or after."""

    def __init__(self, inner: Backend, number: int, *, applied: bool) -> None:
        super().__init__(inner)
        self.left, self.applied = number, applied

    def execute(self, operation: Any) -> Any:
        self.left -= isinstance(operation, Append)
        interrupted = self.left == 0 and isinstance(operation, Append)
        if interrupted and not self.applied:
            raise KeyboardInterrupt
        result = self.inner.execute(operation)
        if interrupted:
            raise KeyboardInterrupt
        return result


class Counting:
    """An agent of some steps, what it did and what it got."""

    def __init__(self, steps: int) -> None:
        self.did: set[int] = set()
        self.got: set[int] = set()

        @step
        def work(number: int) -> int:
            self.did.add(number)
            return number

        def agent() -> int:
            for number in range(steps):
                self.got.add(work(number))
            return steps

        self.agent: Callable[[], int] = agent


@pytest.mark.parametrize("applied", [False, True])
def test_in_an_append(backend: Any, applied: bool) -> None:
    for number in range(1, 20):
        interrupting = Interrupting(backend, number, applied=applied)
        session = Client(interrupting).session(f"s{number}").with_options(run_id="one")
        life = Counting(4)
        try:
            assert session.run(life.agent) == 4
        except KeyboardInterrupt:
            again = Counting(4)
            assert session.run(again.agent) == 4
            assert not life.got & again.did
            assert session.replay(again.agent).identical
        else:
            assert interrupting.left > 0
            assert number > 6
            return
    raise AssertionError("every append was interrupted")


@pytest.mark.timeout(method="thread")  # the other method has the same signal
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may come in a finalizer too
@pytest.mark.parametrize(("kept", "rounds"), [("folder", 10), ("memory", 60)])
def test_at_any_moment(kept: str, rounds: int, tmp_path: Path) -> None:
    """A signal of the system, at times that go through a whole run in small steps.

    Where it comes over the very giving back of the lease, that is not given back: whence `take_over`.
    """
    backend = EmbeddedBackend(tmp_path / "store" if kept == "folder" else None)
    client = Client(backend)
    interrupted = 0

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def one_life(session: Any, life: Counting, after: float) -> bool:
        """Whether it came to its end."""
        nonlocal interrupted
        try:
            signal.setitimer(signal.ITIMER_REAL, after)
            assert session.run(life.agent) == 20
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
            return False
        return True

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(rounds):
            session = client.session(f"s{number}").with_options(run_id="one", take_over=True, max_attempts=1000)
            returned: set[int] = set()
            after, ended = 0.0002 + number * 0.00007, False
            while not ended:
                life = Counting(20)
                # A signal can come over the line that resets a context variable: those of other tests stay as they are.
                ended = contextvars.copy_context().run(one_life, session, life, after)
                assert not returned & life.did
                returned |= life.got
                after *= 1.5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted
    backend.close()


def test_over_the_driver_itself(backend: Any) -> None:
    """At each of its lines: the steps hear of it, where they only were closed they could not wait for anything."""
    lines = interrupts = 0

    def interrupt(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines, interrupts
        if frame.f_code is not driving._go_on.__code__:
            return None
        lines -= event == "line"
        if event == "line" and lines == 0:
            interrupts += 1
            raise KeyboardInterrupt
        return interrupt

    for number in range(1, 100):
        lines, events = number, list[str]()

        def steps(events: list[str] = events) -> Steps[None]:
            events.append("taken")
            try:
                yield Sleep(0)
                yield Sleep(0)
            finally:
                events.append("giving back")
                with contextlib.suppress(KeyboardInterrupt):
                    yield Sleep(0)
                events.append("given back")

        sys.settrace(interrupt)
        try:
            drive(steps(), backend)
        except KeyboardInterrupt:
            pass
        else:
            if interrupts < number:
                break
        finally:
            sys.settrace(None)
        assert events in ([], ["taken", "giving back", "given back"])
    assert interrupts > 10


def test_over_the_opening_and_the_end_of_a_run(backend: Any) -> None:
    """At each of its lines: afterwards no run is open here, and a step outside a run is a plain function."""
    lines = interrupts = 0

    @step
    def work(number: int) -> int:
        return number

    def agent() -> int:
        return work(1)

    def interrupt(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines, interrupts
        if not frame.f_globals["__name__"].startswith("agentstream.agents.") or frame.f_code.co_name not in OPENING:
            return None
        lines -= event == "line"
        if event == "line" and lines == 0:
            interrupts += 1
            raise KeyboardInterrupt
        return interrupt

    for number in range(1, 100):
        lines = number
        sys.settrace(interrupt)
        try:
            Client(backend).session(f"s{number}").with_options(take_over=True).run(agent)
        except KeyboardInterrupt:
            sys.settrace(None)
            assert work(2) == 2  # here, where the traceback still holds the run's frames
        else:
            assert interrupts == number - 1
            break
        finally:
            sys.settrace(None)
    assert interrupts > 20


def test_a_run_that_nobody_waits_for_any_more(backend: Any) -> None:
    """Its coroutine is closed in the middle: that raises nothing, and the session is free."""
    client = AsyncClient(backend)
    entered: list[int] = []
    wait = True

    @step
    async def work(number: int) -> int:
        entered.append(number)
        if wait and number == 1:
            await asyncio.get_running_loop().create_future()
        return number

    async def agent() -> int:
        return sum([await work(number) for number in range(3)])

    async def begin() -> None:
        running = client.session("s").run(agent)
        for _ in range(1000):  # by hand, as a framework that drops its coroutines does
            future = running.send(None)
            if future is not None:
                future._asyncio_future_blocking = False
                while not future.done() and 1 not in entered:
                    await asyncio.sleep(0)
            if 1 in entered:
                break
        running.close()

    asyncio.run(begin())
    gc.collect()
    wait = False
    assert asyncio.run(client.session("s").run(agent)) == 3
    assert entered == [0, 1, 1, 2]
