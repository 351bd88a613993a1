"""`Session` and `AsyncSession`: two faces of one handle. Every method is one line that drives a generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from agentstream.agents.context import current_lane
from agentstream.agents.handle import Handle
from agentstream.backends.driving import adrive, drive
from agentstream.errors import AgentStreamError
from agentstream.sessions import forking, labels, reading, settling
from agentstream.sessions.cuts import At
from agentstream.sessions.events import Event
from agentstream.sessions.family import Node
from agentstream.sessions.output import Output
from agentstream.sessions.questions import Question
from agentstream.sessions.state import State, Step

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import timedelta

    from typing_extensions import Unpack

    from agentstream.agents.attaching import Source
    from agentstream.agents.replay import ReplayOptions, Report
    from agentstream.backends.driving import Steps
    from agentstream.sessions.attachments import Attachment
    from agentstream.sessions.redaction import Redact
    from agentstream.sessions.transfer import Exported, Target

T = TypeVar("T")


class Session(Handle):
    """A durable record of an agent's work, by its id. Safe to share between threads."""

    def _drive(self, steps: Steps[T]) -> T:
        return drive(steps, self._backend)

    def run(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Runs an agent in this session and returns what it returned, as the record has it.

        The same call after a crash, an exception or a cancellation goes on where the record
        ends: finished steps are served, not repeated. Makes the session where there is none.

        Raises what the agent raised; SessionBusy while another worker lives; RunPending if an
        open run of another call is in the way; RunExhausted, RunCancelled, RunWaiting; Diverged,
        OutcomeUnknown, Fenced; StoreError; TypeError for an async agent.
        """
        from agentstream.agents import runs  # who only looks at sessions loads nothing that runs agents

        return self._drive(runs.run(self._core, self.id, self._options, fn, args, kwargs, in_loop=False))

    @overload
    def resume(self, fn: Callable[..., T], /) -> T: ...
    @overload
    def resume(self, fn: object, /) -> Any: ...
    def resume(self, fn: Any, /) -> Any:
        """Goes on with the open run, with the arguments it was begun with. NotFound if no run is open.

        What an integration keeps (a LangGraph graph, say) is given in the place of `fn`: it goes on where it stands,
        with the answers that its questions got. RunWaiting while they have none.
        """
        return self._drive(self._resume(fn, False))

    def stream(self, fn: Callable[..., Iterator[T]], /, *args: Any, **kwargs: Any) -> Generator[T, None, Any]:
        """As `run`, of a generator agent: gives what it yields, as it comes; the value of the iterator is its result.

        The agent goes on when its next item is asked for, in a context of its own. Leaving the
        iterator (break, close, an exception) interrupts the run, which the same call goes on with:
        it yields everything from the start again, finished steps being served. A run that has
        finished (`run_id`) yields from its record alone. Raises what `run` raises, with `next`;
        TypeError for what yields nothing, and for an async generator.
        """
        from agentstream.agents import streaming

        return streaming.stream(self._core, self.id, self._options, fn, args, kwargs, self._backend)

    def cancel(self) -> bool:
        """Ends the open run; False if there was none. SessionBusy while its worker lives (`take_over` fences it)."""
        return self._drive(self._cancel())

    def replay(self, fn: Any, /, **options: Unpack[ReplayOptions]) -> Report:
        """Runs `fn` offline against the record of a run and reports the first divergence. Nothing is called or written.

        - `run`: the id of the run, the last one by default. `input`: other arguments (a mapping by parameter name, a
          tuple by place, anything else as the first).
        - `until`: stops before a step (its number in the run, a step Event or a Position); `break_`: before the steps
          that `KIND[:NAME][?EXPR]` holds for, one or several: `"tool:refund?args.amount > 100"`; `on_break` is then
          called with each `Stopped`, and ends the replay by returning "stop".
        - `match`: "strict", "ordered" (place, kind and name; another input is served and noted) or "identity" (kind,
          name and input, in any order). `keep_going`: does not end at the first divergence, but aligns both runs.
        - `live_from`: runs on from this step, really, in a new fork `into`: calls are made. `model`, `system`: what
          model calls are sent instead; `mock`: `{NAME or KIND:NAME: a value, an exception, or a function}`; steps with
          effect="once" and children are refused unless `allow` names them ("*" all). `confirm` is asked first, with
          what the record lets expect of the cost, by `prices` (a mapping or a file).
        - `repeat`: so many times, `check(result)` says whether each passes.

        NotFound if there is no such run; TypeError and ValueError for options that mean nothing.

        What an integration keeps (a LangGraph graph, say) is given in the place of `fn`: its nodes and the steps in
        them are replayed; ValueError for `run` and `input`. Steps are numbered as the session's there.
        """
        return self._drive(self._replay(fn, options, False))

    def fork(
        self, new_id: str, at: At | None = None, *, replace: Mapping[Any, Any] | None = None, copy: bool = False
    ) -> Session:
        """A new session that shares this one's events up to `at`: a number of events, an Event (kept), a Position.

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
        """Every event from a cut on (the start by default, "now" for only what comes), live, until it is sealed.

        Raises NotFound if there is no such session, and when it is deleted; ValueError for a cut that is not here.
        """
        follower = self._drive(self._follow(start))
        return self._following(follower)

    def _following(self, follower: reading.Follower) -> Iterator[Event]:
        while (events := self._drive(reading.follow(follower))) is not None:
            yield from events

    def state(self, at: At | None = None) -> State:
        """The fold of the session at a cut: runs, steps, messages, tool_calls, usage, lineage.

        Lists are worked out when asked for. Without `at` it is the session as it is, and a run
        that nobody runs any more is "abandoned"; at a cut it is what the events before it say.
        """
        return self._drive(self._state(at))

    def output(self, at: At | None = None) -> Output:
        """What was said up to a cut (`delta`), and what of it stands; `add` to it what `follow(output.position)` gives.

        NotFound if there is no such session.
        """
        return self._drive(self._output(at))

    def status(self) -> str | None:
        """The last run's status; "abandoned" where it should be running and nobody runs it; None before the first."""
        return self._drive(self._status())

    def append(self, type: str, value: Any, *, key: str | None = None) -> Event:
        """Appends an event: a user's `message`, an `answer`, `custom`, or a type of your own. In a run it is a step.

        Raises ValueError for a type that only a worker writes, NotSerializable, AgentStreamError if it is sealed.
        """
        return self._drive(self._append(type, value, key, False))

    def attach(self, source: Source, *, media_type: str | None = None, name: str | None = None) -> Attachment:
        """Keeps a file's or other content beside the session; what it returns stands for it in values.

        `source` is a path, bytes or a binary file, read piece by piece; the media type and the name are
        by default what a path tells. To be used in arguments, results and messages of any session of this
        store; a content that nothing refers to goes with `client.gc`, after a day. In a run it is a step.
        Raises OSError for a source that cannot be read, StoreError.
        """
        return self._drive(self._attach(source, media_type, name, False))

    def attachments(self) -> list[Attachment]:
        """The attachments that the events of the session refer to, each once, in their order."""
        return self._drive(self._attachments())

    def questions(self) -> list[Question]:
        """The questions that somebody can answer now, the oldest first; `state().questions` has all there ever were."""
        return self._drive(self._questions())

    def answer(self, question: Question | str, value: Any, *, by: str | None = None) -> Event:
        """Answers an open question (a Question or its key); `by` says who. A waiting run goes on at its next call.

        Raises AnswerRefused with its `reason` (invalid, late, double, expired), NotFound if there is no such question.
        """
        return self._drive(self._answer(question, value, by))

    def unresolved(self) -> list[Step]:
        """The steps with effect="once" that were begun and of which nobody knows what came."""
        return self._drive(settling.unresolved(self._core, self.id))

    def resolve(self, step: Any, result: Any = None, *, error: Any = None) -> None:
        """Says what came of an unknown step (a key, its Event, or what `unresolved` gave): a result or an error."""
        self._drive(self._resolve(step, result, error))

    def rewind(self, at: At) -> None:
        """Goes back to a cut: later events stay readable, marked rewound, and count no more.

        SessionBusy while a worker lives; ValueError for a cut that is not here.
        """
        self._drive(self._rewind(at))

    def compact(self, *, keep_old: bool = True) -> str | None:
        """Begins a new life of the session with what is still needed: messages, a user's own events, labels, every run
        with its end, and all steps of runs that can go on. Steps of ended runs, deltas and what does not count go.

        Returns the id under which the old life, sealed, can be read; None where it is deleted (`keep_old=False`).
        Positions of the old life are no positions of the new (ValueError), its followers come to their end, its forks
        stay. If it breaks off, the id answers as before or with the new life; the same call finishes it.
        SessionBusy while a worker lives; NotFound if there is no such session.
        """
        return self._drive(self._compact(keep_old))

    def seal(self) -> None:
        """Ends the session for ever; followers come to their end. SessionBusy while a worker lives."""
        self._drive(self._seal())

    def delete(self) -> None:
        """Deletes the session. Its forks stay readable and its id can be used again."""
        self._drive(settling.delete(self._core, self.id))

    def erase(self, *, forks: bool = False) -> list[str]:
        """Makes an encrypted session unreadable for ever by forgetting its key; returns the ids of what was erased.

        It is listed as "erased" until it is deleted, and lives that were kept when it was
        compacted are erased with it. Forks read on what they share, unless `forks`: then they
        are erased too. Raises SessionBusy while a worker is at it, NotFound,
        AgentStreamError for a session that is not encrypted.
        """
        return self._drive(self._erase(forks))

    def label(self, title: str | None = None, tags: Mapping[str, Any] | None = None) -> None:
        """Gives the session a title and tags, by which `client.sessions` finds it; a tag given as None goes away."""
        self._drive(self._append("session", labels.label(title, tags), None, False))

    def set_ttl(self, seconds: float | timedelta | None) -> None:
        """How long after its last event `client.gc` removes the session; None: as it is told. Its forks inherit it."""
        self._drive(self._append("session", labels.lifetime(seconds), None, False))

    def export(
        self,
        file: Target,
        *,
        format: str = "jsonl",
        forks: bool = False,
        redact: Redact | str | bool | None = None,
    ) -> Exported:
        """Writes the session, byte for byte, to a path or a file open for writing bytes; `client.import_` reads it.

        `forks`: with every session that goes on from its history; what they share is written once. `redact`: without
        what these rules find: a `Redact`, True (the ready rules), or by name, `"keys"` or `"MODULE:NAME"`. What is
        written is not byte for byte then, and imported is a session of its own. Raises NotFound, OSError; ValueError
        for a name of no rules, NotSerializable for what they cannot look into.
        """
        return self._drive(self._export(file, format, forks, redact))

    def tree(self) -> Node:
        """The session and the children that its runs spawned, and theirs: nodes with id, status, agent and children."""
        return self._drive(self._tree())

    def to_async(self) -> AsyncSession:
        """The same session for `await`."""
        return AsyncSession(self._core, self.id, self._options)


class AsyncSession(Handle):
    """As `Session`, with `await`; safe to share between tasks and event loops. A plain agent is run in a thread."""

    async def _drive(self, steps: Steps[T], *, alone: bool = False) -> T:
        return await adrive(steps, self._backend, alone=alone)

    async def run(self, fn: Callable[..., Awaitable[T] | T], /, *args: Any, **kwargs: Any) -> T:
        """As `Session.run`."""
        from agentstream.agents import runs

        steps = runs.run(self._core, self.id, self._options, fn, args, kwargs, in_loop=True)
        return await self._drive(steps, alone=True)

    @overload
    async def resume(self, fn: Callable[..., Awaitable[T] | T], /) -> T: ...
    @overload
    async def resume(self, fn: object, /) -> Any: ...
    async def resume(self, fn: Any, /) -> Any:
        """As `Session.resume`."""
        return await self._drive(self._resume(fn, True), alone=True)

    def stream(
        self, fn: Callable[..., AsyncIterator[T] | Iterator[T]], /, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[T, None]:
        """As `Session.stream`: `async for item in session.stream(fn, …)`. The agent runs in a task of its own."""
        from agentstream.agents import streaming

        return streaming.astream(self._core, self.id, self._options, fn, args, kwargs, self._backend)

    async def cancel(self) -> bool:
        """As `Session.cancel`."""
        return await self._drive(self._cancel())

    async def replay(self, fn: Any, /, **options: Unpack[ReplayOptions]) -> Report:
        """As `Session.replay`."""
        return await self._drive(self._replay(fn, options, True))

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

    async def follow(self, start: At | Literal["now"] | None = None) -> AsyncGenerator[Event, None]:
        """As `Session.follow`: `async for event in session.follow()`."""
        follower = await self._drive(self._follow(start))
        while (events := await self._drive(reading.follow(follower))) is not None:
            for event in events:
                yield event

    async def state(self, at: At | None = None) -> State:
        """As `Session.state`."""
        return await self._drive(self._state(at))

    async def output(self, at: At | None = None) -> Output:
        """As `Session.output`."""
        return await self._drive(self._output(at))

    async def status(self) -> str | None:
        """As `Session.status`."""
        return await self._drive(self._status())

    async def append(self, type: str, value: Any, *, key: str | None = None) -> Event:
        """As `Session.append`."""
        return await self._drive(self._append(type, value, key, True))

    async def attach(self, source: Source, *, media_type: str | None = None, name: str | None = None) -> Attachment:
        """As `Session.attach`, reading the source without blocking the event loop."""
        return await self._drive(self._attach(source, media_type, name, True))

    async def attachments(self) -> list[Attachment]:
        """As `Session.attachments`."""
        return await self._drive(self._attachments())

    async def questions(self) -> list[Question]:
        """As `Session.questions`."""
        return await self._drive(self._questions())

    async def answer(self, question: Question | str, value: Any, *, by: str | None = None) -> Event:
        """As `Session.answer`."""
        return await self._drive(self._answer(question, value, by))

    async def unresolved(self) -> list[Step]:
        """As `Session.unresolved`."""
        return await self._drive(settling.unresolved(self._core, self.id))

    async def resolve(self, step: Any, result: Any = None, *, error: Any = None) -> None:
        """As `Session.resolve`."""
        await self._drive(self._resolve(step, result, error))

    async def rewind(self, at: At) -> None:
        """As `Session.rewind`."""
        await self._drive(self._rewind(at))

    async def compact(self, *, keep_old: bool = True) -> str | None:
        """As `Session.compact`."""
        return await self._drive(self._compact(keep_old))

    async def seal(self) -> None:
        """As `Session.seal`."""
        await self._drive(self._seal())

    async def delete(self) -> None:
        """As `Session.delete`."""
        await self._drive(settling.delete(self._core, self.id))

    async def erase(self, *, forks: bool = False) -> list[str]:
        """As `Session.erase`."""
        return await self._drive(self._erase(forks))

    async def label(self, title: str | None = None, tags: Mapping[str, Any] | None = None) -> None:
        """As `Session.label`."""
        await self._drive(self._append("session", labels.label(title, tags), None, True))

    async def set_ttl(self, seconds: float | timedelta | None) -> None:
        """As `Session.set_ttl`."""
        await self._drive(self._append("session", labels.lifetime(seconds), None, True))

    async def export(
        self,
        file: Target,
        *,
        format: str = "jsonl",
        forks: bool = False,
        redact: Redact | str | bool | None = None,
    ) -> Exported:
        """As `Session.export`."""
        return await self._drive(self._export(file, format, forks, redact))

    async def tree(self) -> Node:
        """As `Session.tree`."""
        return await self._drive(self._tree())

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
