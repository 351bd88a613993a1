"""`spawn`: child sessions, begun by a step of their parent.

A child has a stream, a claim and a lease of its own, so that it is resumed, forked, followed
and answered like any session. To the parent it is two kinds of step: one that begins it,
and one for its outcome wherever that is waited for; both are served ever after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from agentstream.agents.agent import AgentSpec, Arguments, spec_of
from agentstream.agents.offspring import Child, Ended, Errand, child_at_work, find_child
from agentstream.agents.opening import backend_here, opening
from agentstream.agents.waiting import Parked, required_lane, room_of
from agentstream.backends.driving import Wait, adrive, drive
from agentstream.sessions import codec
from agentstream.sessions.family import SPAWN, Parent, Spawned, cancel_child, is_ready, make_child, parent_of
from agentstream.sessions.ids import checked_id
from agentstream.sessions.log import missing
from agentstream.sessions.secrets import hide, secret_parameters
from agentstream.sessions.state import fold

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps

R = TypeVar("R")

CHILD = "child"
"""The kind of the steps in which a parent deals with a child."""

LOOK = 0.5
"""Seconds after which a lane that waits for a child looks whether its own run was stopped."""


# --- the public face -------------------------------------------------------------------------------------------------


def spawn(
    function: Callable[..., Any], /, *args: Any, session: str | None = None, fork: bool = False, **kwargs: Any
) -> ChildSession[Any]:
    """Begins `function(*args, **kwargs)` in a session of its own, in a thread; for plain agents (async: `aspawn`).

    The child's session is `session`, or `<parent>/<n>` after the number of the step. With
    `fork` it shares the parent's history up to now. Wait for it with `.result()`, or do not:
    then it goes on after this run, but not after this process; who runs the parent again and
    waits, or a worker, goes on with it. Raises SessionExists where `session` is taken.
    """
    required_lane("spawn", awaited=False)
    spec = spec_of(function)
    steps = _spawning(spec, args, kwargs, session, fork, in_loop=False)
    return ChildSession(drive(steps, backend_here()), spec)


@overload
async def aspawn(
    function: Callable[..., Awaitable[R]], /, *args: Any, session: str | None = None, fork: bool = False, **kwargs: Any
) -> AsyncChildSession[R]: ...
@overload
async def aspawn(
    function: Callable[..., R], /, *args: Any, session: str | None = None, fork: bool = False, **kwargs: Any
) -> AsyncChildSession[R]: ...
async def aspawn(
    function: Callable[..., Any], /, *args: Any, session: str | None = None, fork: bool = False, **kwargs: Any
) -> AsyncChildSession[Any]:
    """As `spawn`, for async agents: the child runs in a task (a plain function in a thread)."""
    required_lane("spawn", awaited=True)
    spec = spec_of(function)
    steps = _spawning(spec, args, kwargs, session, fork, in_loop=True)
    return AsyncChildSession(await adrive(steps, backend_here()), spec)


class _Handle(Generic[R]):
    """What both faces share."""

    def __init__(self, errand: _Sent, spec: AgentSpec) -> None:
        self._sent = errand
        self._spec = spec

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def id(self) -> str:
        """The id of the child's session."""
        return self._sent.session


class ChildSession(_Handle[R]):
    """A child, as the run that spawned it has it. Each of its calls is a step of that run."""

    def result(self) -> R:
        """What the child's agent returned; raises what it raised, RunCancelled, RunExhausted, NotFound if it is gone.

        If the child waits (for a person, for a moment), the run that asks waits with it (RunWaiting).
        """
        required_lane("result", awaited=False)
        return drive(_result(self._sent, self._spec, in_loop=False), backend_here())

    def status(self) -> str | None:
        """The status of the child's run now; None where it has not begun."""
        required_lane("status", awaited=False)
        return drive(_status(self._sent, self._spec, in_loop=False), backend_here())

    def cancel(self) -> bool:
        """Ends the child and its children, whoever works on them; False if it had ended already."""
        required_lane("cancel", awaited=False)
        return drive(_cancel(self._sent, self._spec, in_loop=False), backend_here())


class AsyncChildSession(_Handle[R]):
    """As `ChildSession`, with `await`."""

    async def result(self) -> R:
        """As `ChildSession.result`."""
        required_lane("result", awaited=True)
        return await adrive(_result(self._sent, self._spec, in_loop=True), backend_here())

    async def status(self) -> str | None:
        """As `ChildSession.status`."""
        required_lane("status", awaited=True)
        return await adrive(_status(self._sent, self._spec, in_loop=True), backend_here())

    async def cancel(self) -> bool:
        """As `ChildSession.cancel`."""
        required_lane("cancel", awaited=True)
        return await adrive(_cancel(self._sent, self._spec, in_loop=True), backend_here())


# --- beginning one ---------------------------------------------------------------------------------------------------


class _Sent:
    """A child that was begun: its session, and what it was sent to do."""

    def __init__(self, session: str, run: str, step: str, caller: str, arguments: Arguments) -> None:
        self.session = session
        self.run = run
        self.step = step
        self.caller = caller
        self.arguments = arguments
        self.child: Child | None = None
        """Runs it in this process, or ran it: how it ended is kept, so that it is not run again to know."""

    def errand(self, spec: AgentSpec) -> Errand:
        return Errand(self.session, self.run, spec, self.arguments)

    def spawned(self, spec: AgentSpec) -> Spawned:
        call = self.arguments
        step, caller = self.step, self.caller
        return Spawned(self.session, self.run, caller, step, spec.name, call.data, call.fingerprint, call.typed)


def _spawning(
    spec: AgentSpec, args: tuple[Any, ...], kwargs: dict[str, Any], named: str | None, fork: bool, *, in_loop: bool
) -> Steps[_Sent]:
    if named is not None:
        checked_id(named)
    arguments = spec.bind(args, kwargs, required_lane("spawn", awaited=in_loop).worker.core.rules)
    input = {
        "arguments": hide(dict(spec.signature.bind(*args, **kwargs).arguments), secret_parameters(spec.function)),
        **({"session": named} if named is not None else {}),
        **({"fork": True} if fork else {}),
    }
    call = yield from opening(SPAWN, spec.name, input, at=None, in_loop=in_loop)
    if call.served is None:
        told = yield from _beginning(call, named, fork, arguments, in_loop=in_loop)
        sent = _Sent(told["session"], told["run"], call.key, call.lane.run, arguments)
        sent.child = _at_work(call.worker, sent, spec, in_loop=in_loop)
        return sent
    if call.served.cancelled:
        yield from call.worker.forever()
    told = call.served.value()
    return _Sent(str(told["session"]), str(told["run"]), call.key, call.lane.run, arguments)


def _beginning(
    call: StepCall, named: str | None, fork: bool, arguments: Arguments, *, in_loop: bool
) -> Steps[dict[str, Any]]:
    """Makes the child's session, and says so in the record."""
    worker = call.worker
    key = call.idempotency_key
    parent = Parent(worker.session, worker.state.first_life, call.lane.run, call.key, key)
    try:
        shared = (yield from _size_now(worker)) if fork else None
        session = yield from make_child(worker.core, named, parent, call.id.ordinal, shared=shared)
    except asyncio.CancelledError:
        call.cancel()
        raise
    except Exception as error:
        raise (yield from call.failing(error, in_loop=in_loop))  # noqa: B904  # itself, or as it was recorded
    except BaseException:
        call.abandon()
        raise
    told = {"session": session, "run": key, "fingerprint": str(arguments.fingerprint)}
    return (yield from call.finishing({**told, **({"typed": True} if arguments.typed else {})}, in_loop=in_loop))


def _size_now(worker: Worker) -> Steps[int]:
    """How many events the parent has by now, what it did just before among them."""
    yield from worker.flush()
    log = yield from worker.core.refresh(worker.session)
    if log is None:
        raise worker.stop(missing(worker.session))
    return log.size


# --- waiting for one -------------------------------------------------------------------------------------------------


def _result(sent: _Sent, spec: AgentSpec, *, in_loop: bool) -> Steps[Any]:
    call = yield from opening(CHILD, spec.name, {"session": sent.session}, in_loop=in_loop)
    if (served := (yield from call.recorded())) is not None:
        return _rebuilt(spec, served.value(), served.typed)
    with call.underway():
        ended = yield from _ending(call, sent, spec, in_loop=in_loop)
    if ended.stop is not None:
        call.abandon()
        raise call.worker.stop(ended.stop)
    if ended.error is not None:
        raise (yield from call.failing(ended.error, in_loop=in_loop))
    value = yield from call.finishing(ended.value, in_loop=in_loop)
    return _rebuilt(spec, value, codec.encode(ended.value).typed)


def _rebuilt(spec: AgentSpec, value: Any, typed: bool) -> Any:
    return codec.rebuild(value, codec.annotation_of_return(spec.function)) if typed else value


def _ending(call: StepCall, sent: _Sent, spec: AgentSpec, *, in_loop: bool) -> Steps[Ended]:
    """How the child ended; goes on with it as often as what it waits for has come."""
    worker = call.worker
    while True:
        child = sent.child = sent.child or _at_work(worker, sent, spec, in_loop=in_loop)
        ended = yield from _awaited(worker, child.done)
        if (ended.interrupted or ended.waiting is not None) and sent.child is child:
            sent.child = None
        if ended.interrupted:
            continue
        if ended.waiting is None:
            return ended
        parked = Parked(call.lane, until=ended.waiting.until, child=sent.session, asked=ended.waiting.questions)
        parked.ready = partial(is_ready, worker.core, sent.session)
        yield from room_of(worker).park(parked)


def _at_work(worker: Worker, sent: _Sent, spec: AgentSpec, *, in_loop: bool) -> Child:
    child = child_at_work(worker.core, sent.errand(spec), in_loop=in_loop)
    if child.task is not None:
        worker.progress.member(child.task)  # known to be no lane of the run
    return child


def _awaited(worker: Worker, done: Future[Ended]) -> Steps[Ended]:
    while True:
        worker.check()
        try:
            return (yield Wait(done, LOOK))
        except TimeoutError:
            continue


# --- looking at one, and ending one ----------------------------------------------------------------------------------


def _status(sent: _Sent, spec: AgentSpec, *, in_loop: bool) -> Steps[str | None]:
    call = yield from opening(CHILD, f"{spec.name}.status", {"session": sent.session}, effect="pure", in_loop=in_loop)
    if call.served is not None:
        return call.served.value()
    try:
        log = yield from call.worker.core.refresh(sent.session)
        state = fold(log) if log is not None else None
        run = state.runs.get(sent.run) if state is not None and parent_of(state) is not None else None
    except BaseException:
        call.abandon()
        raise
    return (yield from call.finishing(run.status if run is not None else None))


def _cancel(sent: _Sent, spec: AgentSpec, *, in_loop: bool) -> Steps[bool]:
    call = yield from opening(CHILD, f"{spec.name}.cancel", {"session": sent.session}, in_loop=in_loop)
    if (served := (yield from call.recorded())) is not None:
        return bool(served.value())
    worker = call.worker
    with call.underway():
        done = yield from cancel_child(worker.core, worker.state.first_life, sent.spawned(spec))
    child = find_child(worker.core, sent.session, sent.run)
    if child is not None:
        child.interrupt()
    return (yield from call.finishing(done, in_loop=in_loop))
