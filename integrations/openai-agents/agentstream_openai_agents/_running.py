"""Ways to run an agent in a session: as its function, whole, streamed, and from plain code."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Literal

from agents import Agent, RunResultStreaming, RunState
from agents.stream_events import StreamEvent

from agentstream import AgentStreamError, AsyncSession, Session
from agentstream_openai_agents._durable import Input, Options, Program, Result
from agentstream_openai_agents._session import AgentStreamSession

if TYPE_CHECKING:
    from typing_extensions import Unpack

Target = Session | AsyncSession | AgentStreamSession


def durable(agent: Agent[Any], *, name: str | None = None, **options: Unpack[Options]) -> Callable[..., Any]:
    """The function that a session runs for one turn of a conversation with the agent: `await fn(input)`.

    Give it to `session.run`, `resume` and `replay`, to a `Worker`, or name it on the command line. What was said
    before in the session is the agent's memory (an `AgentStreamSession`; another one, or None, as `memory=`; none where
    the provider keeps the conversation). Tool calls that need an approval are asked in the session as questions.
    `options` are those of `Runner.run`; they are not recorded, another process gives them again. `name` is what runs
    are matched by, the agent's name by default.
    """
    return Program(agent, options, name=name).function


async def run_durable(
    agent: Agent[Any], input: Input, session: Target, *, name: str | None = None, **options: Unpack[Options]
) -> Result:
    """As `Runner.run`, as a run of a session; the same call after a crash goes on where the record ends.

    Completed model and tool calls are not made again, nor is anything that was already paid. Where the run has
    finished under the `run_id` of the session's options, its result is made of the record, with no call.
    See `durable` for memory, approvals and options.

    Raises what `session.run` raises (RunWaiting while a person is asked, RunPending, SessionBusy, Diverged, …) and what
    `Runner.run` raises; a call after that one goes on too.
    """
    handle, options = _handle(session, options)
    program = Program(agent, options, name=name)
    await _ran(handle, program, input)
    return program.results[-1]


def run_durable_sync(
    agent: Agent[Any], input: Input, session: Target, *, name: str | None = None, **options: Unpack[Options]
) -> Result:
    """As `run_durable`, for plain code: no event loop may run in the calling thread (RuntimeError)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _loop().run_until_complete(run_durable(agent, input, session, name=name, **options))
    raise RuntimeError("run_durable_sync() would hold up the event loop that runs here: await run_durable(…) instead")


def run_durable_streamed(
    agent: Agent[Any], input: Input, session: Target, *, name: str | None = None, **options: Unpack[Options]
) -> DurableStream:
    """As `Runner.run_streamed`, as a run of a session, which begins at once. Call it in an event loop.

    What comes is handed on live; followers of the session, in any process, see it as it comes too. Called again after a
    crash it goes on where the record ends, and tells its events from the beginning. A run that was begun without
    streaming goes on so, and tells none.
    """
    handle, options = _handle(session, options)
    return DurableStream(handle, agent, input, options, name)


class DurableStream:
    """The result of a streamed durable run: `stream_events()`, `cancel()`, and what the SDK's `RunResultStreaming` has.

    `final_output`, `new_items`, `last_agent`, `to_input_list()` and the others are those of the run's own result;
    before it has begun they raise AttributeError.
    """

    def __init__(
        self, session: AsyncSession, agent: Agent[Any], input: Input, options: Options, name: str | None
    ) -> None:
        self._inner: RunResultStreaming | None = None
        self._events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        self._after_turn = False
        self._program = program = Program(agent, options, name=name, stream=self._gone_through)
        self._task = asyncio.ensure_future(_ran(session, program, input))
        self._task.add_done_callback(lambda task: self._events.put_nowait(None))

    def __getattr__(self, name: str) -> Any:
        results: list[Any] = [] if name.startswith("_") else [self._inner, *self._program.results]
        if not any(results):
            raise AttributeError(
                f"{type(self).__name__} has no {name!r} (yet): the run's own result is there once it began"
            )
        return getattr(next(filter(None, reversed(results))), name)

    @property
    def is_complete(self) -> bool:
        """Whether the run has ended."""
        return self._task.done()

    async def stream_events(self) -> AsyncIterator[StreamEvent]:
        """The events of the run, as they come. Raises what `run_durable` raises; nothing more after `cancel`."""
        while True:
            event = await self._events.get()
            if event is None:
                self._events.put_nowait(None)  # for whoever asks again
                break
            yield event
        if not self._task.cancelled():
            self._task.result()

    def cancel(self, mode: Literal["immediate", "after_turn"] = "immediate") -> None:
        """Interrupts the run: at once, or once the turn it is in has come to its end.

        The run can go on: the same call does, from there. `session.cancel()` ends it for good.
        """
        self._after_turn = True
        if mode == "immediate":
            self._task.cancel()
        elif self._inner is not None:
            self._inner.cancel(mode="after_turn")

    async def _gone_through(self, result: RunResultStreaming) -> None:
        self._inner = result
        if self._after_turn:
            result.cancel(mode="after_turn")
        async for event in result.stream_events():
            self._events.put_nowait(event)
        if self._after_turn and not result.interruptions and result.final_output is None:
            self._task.cancel()
            await asyncio.sleep(0)


def _handle(session: Target, options: Options) -> tuple[AsyncSession, Options]:
    if isinstance(session, AgentStreamSession):
        if "memory" not in options:
            options["memory"] = session
        return session.session, options
    if not isinstance(session, (Session, AsyncSession)):
        raise TypeError(f"a durable run needs a session: client.session(id), not {session!r}")
    return (session if isinstance(session, AsyncSession) else session.to_async()), options


async def _ran(session: AsyncSession, program: Program, input: Input) -> None:
    """Runs the program; where its run had finished before, goes through it again from the record alone."""
    if isinstance(input, RunState):
        raise TypeError(
            "a durable run keeps its state itself: answer its questions in the session and make the same call"
        )
    await session.run(program.function, input)
    if not program.results:
        report = await session.replay(program.function, run=session._options.run_id)
        if not program.results:
            raise AgentStreamError(f"session {session.id!r}: the result of the run cannot be made again. {report}")


_loops = threading.local()


def _loop() -> asyncio.AbstractEventLoop:
    """This thread's loop for plain code. It stays open between calls, as connections of the model's client do."""
    loop = getattr(_loops, "loop", None)
    if loop is None or loop.is_closed():
        loop = _loops.loop = asyncio.new_event_loop()
        _loops.end = weakref.finalize(threading.current_thread(), loop.close)
    return loop
