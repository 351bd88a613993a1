"""`Session` and `AsyncSession`: one session's handle, two faces of one core.

A handle does no I/O when it is made and holds nothing but the id, the options and the
client's core. Every method is one line that drives a generator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from agentstream.agents import calls, replay, runs
from agentstream.agents.context import current_lane, is_muted
from agentstream.agents.replay import Report
from agentstream.agents.runs import Options
from agentstream.backends.driving import adrive, drive
from agentstream.errors import AgentStreamError
from agentstream.sessions import catalog, forking, reading, settling, writing
from agentstream.sessions.events import Event
from agentstream.sessions.positions import Position
from agentstream.sessions.state import State, Step, fold

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

T = TypeVar("T")
S = TypeVar("S", bound="_Handle")

At = int | Event | Position


@dataclass(frozen=True)
class _Handle:
    """What both faces share."""

    _core: Core
    id: str
    _options: Options = Options()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def with_options(
        self: S, *, run_id: str | None = None, take_over: bool | None = None, max_attempts: int | None = None
    ) -> S:
        """The same session with other options for what is called on it; what is left out stays.

        - `run_id`: names the run and makes it idempotent: called again when it has finished,
          `run` returns the recorded result.
        - `take_over`: take the session from a living worker, which is then fenced.
        - `max_attempts`: how often in a row a run is begun without an outcome added (10).
        """
        changes: dict[str, Any] = {"run_id": run_id, "take_over": take_over, "max_attempts": max_attempts}
        changes = {name: value for name, value in changes.items() if value is not None}
        return replace(self, _options=replace(self._options, **changes))

    def _upto(self) -> int | None:
        """Inside a run of this session: the run's start, up to which it is read."""
        lane = None if is_muted() else current_lane()
        if lane is None or lane.worker.session != self.id:
            return None
        start = next((run.start.index for run in lane.worker.state.runs.values() if run.key == lane.worker.run), None)
        return start if start is not None else lane.worker.state.index

    def _in_own_run(self) -> bool:
        return self._upto() is not None

    def _known(self) -> State | None:
        """Inside a run of this session: the history that the run was begun on (a replay has no store to ask)."""
        lane = None if is_muted() else current_lane()
        return lane.worker.state if lane is not None and lane.worker.session == self.id else None

    def _reads(self, steps: Steps[T], local: Callable[[State, int], T]) -> Steps[T]:
        known, upto = self._known(), self._upto()
        if known is not None and upto is not None:
            return local(known, upto)
        return (yield from steps)

    def _events(self, start: At | None, stop: At | None) -> Steps[list[Event]]:
        def local(state: State, upto: int) -> list[Event]:
            return _slice(state, upto, start, stop)

        return self._reads(reading.events(self._core, self.id, start, stop), local)

    def _state(self, at: At | None) -> Steps[State]:
        def local(state: State, upto: int) -> State:
            index = upto if at is None else min(upto, _index(at))
            return State(state.session, state.incarnation, state.events[:index])

        return self._reads(reading.state(self._core, self.id, at), local)

    def _follow(self, start: At | Literal["now"] | None) -> Steps[reading.Follower]:
        if self._in_own_run():
            raise AgentStreamError(
                f"session {self.id!r} cannot be followed from inside its own run, which reads as of its start; follow it outside"
            )
        return reading.begin_following(self._core, self.id, start)

    def _append(self, kind: str, value: Any, key: str | None, in_loop: bool) -> Steps[Event]:
        if not self._in_own_run():
            return (yield from writing.append(self._core, self.id, kind, value, key))
        writing.check_appendable(kind, key)
        kind, key = yield from calls.appending(kind, value, key, in_loop=in_loop)
        known = self._known()
        found = next((e for e in known.events if (e.type, e.key) == (kind, key)), None) if known is not None else None
        if found is None:
            log = yield from self._core.require(self.id)
            found = next(event for event in fold(log).events if (event.type, event.key) == (kind, key))
        return found

    def _cancel(self) -> Steps[bool]:
        return runs.cancel(self._core, self.id, self._options)

    def _rewind(self, at: At) -> Steps[None]:
        return settling.rewind(self._core, self.id, at, take_over=self._options.take_over)

    def _resolve(self, step: Any, result: Any, error: Any) -> Steps[None]:
        outcome = settling.resolution(step, result, error)
        return settling.resolve(self._core, self.id, step, outcome, take_over=self._options.take_over)

    def _seal(self) -> Steps[None]:
        return settling.seal(self._core, self.id, take_over=self._options.take_over)

    def _status(self) -> Steps[str | None]:
        log = yield from self._core.require(self.id)
        return (yield from catalog.run_status(log, fold(log)))


def _index(at: At) -> int:
    return at if isinstance(at, int) else at.index + 1 if isinstance(at, Event) else at.index


def _slice(state: State, upto: int, start: At | None, stop: At | None) -> list[Event]:
    first = 0 if start is None else _index(start)
    last = upto if stop is None else min(upto, _index(stop))
    return list(state.events[first:last])


class Session(_Handle):
    """A durable record of an agent's work, by its id. Safe to share between threads."""

    def _drive(self, steps: Steps[T]) -> T:
        return drive(steps, self._core.backend)

    def run(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Runs an agent in this session and returns what it returned, as the record has it.

        The same call after a crash, an exception or a cancellation goes on where the record
        ends: finished steps are served, not repeated. Makes the session where there is none.

        Raises what the agent raised; SessionBusy while another worker lives; RunPending if an
        open run of another call is in the way; RunExhausted, RunCancelled, RunWaiting; Diverged,
        OutcomeUnknown, Fenced; StoreError; TypeError for an async agent.
        """
        return self._drive(runs.run(self._core, self.id, self._options, fn, args, kwargs, in_loop=False))

    def resume(self, fn: Callable[..., T], /) -> T:
        """Goes on with the open run, with the arguments it was begun with. NotFound if no run is open."""
        return self._drive(runs.resume(self._core, self.id, self._options, fn, in_loop=False))

    def cancel(self) -> bool:
        """Ends the open run; False if there was none. SessionBusy while its worker lives (`take_over` fences it)."""
        return self._drive(self._cancel())

    def replay(
        self, fn: Callable[..., Any], /, *, run: str | None = None, input: Any = None, until: Any = None
    ) -> Report:
        """Runs `fn` offline against the record of a run (the last one by default) and reports the first divergence.

        Nothing is called, written or sent. `input` puts other arguments in (a mapping by
        parameter name, a tuple by place, anything else as the first); `until` stops before a
        step: its number in the run, a step Event or a Position. NotFound if there is no such run.
        """
        return self._drive(replay.replay(self._core, self.id, fn, run=run, input=input, until=until, in_loop=False))

    def fork(
        self, new_id: str, at: At | None = None, *, replace: Mapping[Any, Any] | None = None, copy: bool = False
    ) -> Session:
        """A new session that shares this one's events up to `at` (a number of events, an Event that is kept, a Position).

        `replace` puts other outcomes in: `{step key, or its step or outcome Event: value}`; the
        cut is then just before the earliest of them. `copy=True` copies the events, for readers
        that cannot follow a lineage. SessionExists, NotFound, ValueError for a cut that is not here.
        """
        self._drive(forking.fork(self._core, self.id, new_id, at, replace=replace, copy=copy))
        return Session(self._core, new_id)

    def events(self, start: At | None = None, stop: At | None = None) -> Iterator[Event]:
        """The events between two cuts, as the session is now. NotFound if there is no such session."""
        return iter(self._drive(self._events(start, stop)))

    def follow(self, start: At | Literal["now"] | None = None) -> Iterator[Event]:
        """Every event from a cut on (the start by default, "now" for only what comes), live; ends when the session is sealed."""
        follower = self._drive(self._follow(start))
        return self._following(follower)

    def _following(self, follower: reading.Follower) -> Iterator[Event]:
        while (events := self._drive(reading.follow(follower))) is not None:
            yield from events

    def state(self, at: At | None = None) -> State:
        """The fold of the session at a cut: runs, steps, messages, tool_calls, usage, lineage. Lists are worked out when asked for."""
        return self._drive(self._state(at))

    def status(self) -> str | None:
        """The last run's status; `abandoned` where it should be running and nobody runs it; None before the first run."""
        return self._drive(self._status())

    def append(self, type: str, value: Any, *, key: str | None = None) -> Event:
        """Appends an event: a `message` of a user's, an `answer`, `custom`, or a type of your own. In a run it is a step."""
        return self._drive(self._append(type, value, key, False))

    def unresolved(self) -> list[Step]:
        """The steps with effect="once" that were begun and of which nobody knows what came."""
        return self._drive(settling.unresolved(self._core, self.id))

    def resolve(self, step: Any, result: Any = None, *, error: Any = None) -> None:
        """Says what came of an unknown step (a key, its Event, or what `unresolved` gave): a result or an error."""
        self._drive(self._resolve(step, result, error))

    def rewind(self, at: At) -> None:
        """Goes back to a cut: later events stay readable, marked rewound, and count no more. SessionBusy while a worker lives."""
        self._drive(self._rewind(at))

    def seal(self) -> None:
        """Ends the session for ever; followers come to their end. SessionBusy while a worker lives."""
        self._drive(self._seal())

    def delete(self) -> None:
        """Deletes the session. Its forks stay readable and its id can be used again."""
        self._drive(settling.delete(self._core, self.id))

    def to_async(self) -> AsyncSession:
        """The same session for `await`."""
        return AsyncSession(self._core, self.id, self._options)


class AsyncSession(_Handle):
    """As `Session`, with `await`; safe to share between tasks and event loops. A plain agent is run in a thread."""

    async def _drive(self, steps: Steps[T]) -> T:
        return await adrive(steps, self._core.backend)

    async def run(self, fn: Callable[..., Awaitable[T] | T], /, *args: Any, **kwargs: Any) -> T:
        """As `Session.run`."""
        return await self._drive(runs.run(self._core, self.id, self._options, fn, args, kwargs, in_loop=True))

    async def resume(self, fn: Callable[..., Awaitable[T] | T], /) -> T:
        """As `Session.resume`."""
        return await self._drive(runs.resume(self._core, self.id, self._options, fn, in_loop=True))

    async def cancel(self) -> bool:
        """As `Session.cancel`."""
        return await self._drive(self._cancel())

    async def replay(
        self, fn: Callable[..., Any], /, *, run: str | None = None, input: Any = None, until: Any = None
    ) -> Report:
        """As `Session.replay`."""
        return await self._drive(replay.replay(self._core, self.id, fn, run=run, input=input, until=until, in_loop=True))

    async def fork(
        self, new_id: str, at: At | None = None, *, replace: Mapping[Any, Any] | None = None, copy: bool = False
    ) -> AsyncSession:
        """As `Session.fork`."""
        await self._drive(forking.fork(self._core, self.id, new_id, at, replace=replace, copy=copy))
        return AsyncSession(self._core, new_id)

    async def events(self, start: At | None = None, stop: At | None = None) -> AsyncIterator[Event]:
        """As `Session.events`: `async for event in session.events()`."""
        for event in await self._drive(self._events(start, stop)):
            yield event

    async def follow(self, start: At | Literal["now"] | None = None) -> AsyncIterator[Event]:
        """As `Session.follow`: `async for event in session.follow()`."""
        follower = await self._drive(self._follow(start))
        while (events := await self._drive(reading.follow(follower))) is not None:
            for event in events:
                yield event

    async def state(self, at: At | None = None) -> State:
        """As `Session.state`."""
        return await self._drive(self._state(at))

    async def status(self) -> str | None:
        """As `Session.status`."""
        return await self._drive(self._status())

    async def append(self, type: str, value: Any, *, key: str | None = None) -> Event:
        """As `Session.append`."""
        return await self._drive(self._append(type, value, key, True))

    async def unresolved(self) -> list[Step]:
        """As `Session.unresolved`."""
        return await self._drive(settling.unresolved(self._core, self.id))

    async def resolve(self, step: Any, result: Any = None, *, error: Any = None) -> None:
        """As `Session.resolve`."""
        await self._drive(self._resolve(step, result, error))

    async def rewind(self, at: At) -> None:
        """As `Session.rewind`."""
        await self._drive(self._rewind(at))

    async def seal(self) -> None:
        """As `Session.seal`."""
        await self._drive(self._seal())

    async def delete(self) -> None:
        """As `Session.delete`."""
        await self._drive(settling.delete(self._core, self.id))

    def to_sync(self) -> Session:
        """The same session without `await`."""
        return Session(self._core, self.id, self._options)


def current_session() -> Session | AsyncSession:
    """The session whose run the calling code is in. Raises AgentStreamError outside a run."""
    lane = current_lane()
    if lane is None:
        raise AgentStreamError("current_session() is for code inside a run; here no run is open")
    worker = lane.worker
    face = AsyncSession if worker.in_loop and not worker.sync else Session
    return face(worker.core, worker.session)
