"""`session.stream`: a run of a generator agent, whose items the caller gets as they come.

The agent goes on only when its next item is asked for. Its code runs in a context of its
own (sync), or in a task of its own (async), so that neither side sees the other's context
variables. Who leaves the iterator interrupts the run: it has no outcome, and the same call
goes on with it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentstream.agents import runs
from agentstream.agents.agent import AgentSpec, spec_of
from agentstream.agents.context import Driver, lane_here
from agentstream.agents.generators import apiped, iterate, piped
from agentstream.backends.driving import adrive

if TYPE_CHECKING:
    from agentstream.agents.options import Options
    from agentstream.agents.worker import Worker
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core


def stream(
    core: Core,
    session: str,
    options: Options,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    backend: Backend,
) -> Generator[Any, None, Any]:
    """The items of a run, in the calling thread. The call itself is checked at once, the run begins with `next`."""
    spec = _generator_agent(function)
    if spec.is_async:
        raise TypeError(
            f"agent {spec.name!r} is an async generator: "
            f"`async for item in AsyncClient(…).session(…).stream({spec.name}, …)`"
        )
    arguments = spec.bind(args, kwargs, core.rules)
    spec = replace(spec, function=spec.generator, streams=True)
    return _items(runs.run_call(core, session, options, spec, arguments, in_loop=False), backend)


def _items(steps: Steps[Any], backend: Backend) -> Generator[Any, None, Any]:
    context, driver = contextvars.copy_context(), Driver()
    return (yield from iterate(steps, lambda part: context.run(driver.drive, part, backend)))


def astream(
    core: Core,
    session: str,
    options: Options,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    backend: Backend,
) -> AsyncGenerator[Any, None]:
    """As `stream`, in an event loop; a plain generator is gone through in a thread."""
    spec = _generator_agent(function)
    arguments = spec.bind(args, kwargs, core.rules)
    pipe = _Pipe()
    assert spec.generator is not None
    through = apiped(spec.generator, pipe.hand) if spec.is_async else piped(spec.generator, pipe.hand_over)
    spec = replace(spec, function=through, streams=True)
    return _aitems(runs.run_call(core, session, options, spec, arguments, in_loop=True), pipe, backend)


async def _aitems(steps: Steps[Any], pipe: _Pipe, backend: Backend) -> AsyncGenerator[Any, None]:
    pipe.loop = asyncio.get_running_loop()
    item = pipe.ask()
    run = asyncio.ensure_future(adrive(steps, backend, alone=True))
    try:
        while True:
            await asyncio.wait({run, item}, return_when=asyncio.FIRST_COMPLETED)
            if not item.done():
                run.result()
                return
            yield item.result()
            item = pipe.ask()
    finally:
        if not run.done():
            run.cancel()
            await asyncio.wait({run})
        if not run.cancelled():
            run.exception()  # seen: what ends the iterator is what made it end here


def _generator_agent(function: Any) -> AgentSpec:
    spec = spec_of(function)
    if spec.generator is None:
        raise TypeError(f"agent {spec.name!r} returns its answer and yields nothing: session.run({spec.name}, …)")
    return spec


class _Pipe:
    """Takes one item at a time from the agent to the consumer; the agent goes on when the next one is asked for."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self._item: asyncio.Future[Any] | None = None
        self._asked: asyncio.Future[None] | Future[None] | None = None
        self._early: list[Any] = []
        """An item that came before it was asked for: the agent was cancelled at the one before."""
        self._stop: Future[None] | None = None

    def ask(self) -> asyncio.Future[Any]:
        """The next item, when the agent has it."""
        self._item = self.loop.create_future()
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
        if self._early:
            self._put(*self._early.pop(0))
        return self._item

    def _put(self, item: Any, asked: asyncio.Future[None] | Future[None]) -> None:
        if self._item is None or self._item.done():
            self._early.append((item, asked))
            return
        self._asked = asked
        self._item.set_result(item)

    async def hand(self, item: Any) -> None:
        """Returns when the consumer asks for the next item."""
        asked = self.loop.create_future()
        self._put(item, asked)
        await asked

    def hand_over(self, item: Any) -> None:
        """As `hand`, from the thread of a plain agent. Raises what stopped or interrupted the run."""
        lane = lane_here()
        assert lane is not None
        asked: Future[None] = Future()
        self.loop.call_soon_threadsafe(self._put, item, asked)
        while not asked.done():
            stop = self._stopping(lane.worker)
            lane.worker.raise_stop()
            concurrent.futures.wait({asked, stop}, return_when=concurrent.futures.FIRST_COMPLETED)

    def _stopping(self, worker: Worker) -> Future[None]:
        """Resolved when the run was stopped, or when there is something else to look at."""
        if self._stop is None or self._stop.done():
            self._stop = worker.lanes.park()
        return self._stop
