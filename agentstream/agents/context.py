"""Where the calling code is: in which run, in which lane, inside which step.

A lane is one asyncio task, or one call handed to a thread with the run's context. The lane
is kept in a context variable, which tasks and `asyncio.to_thread` inherit; code that finds
there a lane of another task or thread opens a lane of its own, with its first step.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from agentstream.backends.driving import drive
from agentstream.errors import AgentStreamError

if TYPE_CHECKING:
    import asyncio

    from agentstream.agents.calls import StepCall
    from agentstream.agents.journal import Call, LaneEntry
    from agentstream.agents.saying import Place
    from agentstream.agents.worker import Worker
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

P = ParamSpec("P")
R = TypeVar("R")


class Driver:
    """Who goes through a generator agent, whichever tasks and threads ask for its items."""

    def __init__(self) -> None:
        self.at: object = None
        """The task or thread that drives it right now."""

    def drive(self, steps: Steps[R], backend: Backend) -> R:
        """Drives `steps` in the calling context, which is the agent's."""
        _driver.set(self)
        self.at = _task_or_thread()
        try:
            return drive(steps, backend)
        finally:
            self.at = None

    def done(self) -> bool:
        return False


if TYPE_CHECKING:
    Caller = asyncio.Task[Any] | threading.Thread | Driver
    """Who makes steps: the task, if there is one, else the thread."""


class Lane(msgspec.Struct, eq=False):
    """A lane of a live or replayed run. `entry` is its record, once its first step has told which one that is."""

    worker: Worker
    run: str
    parent: Lane | None = None
    owner: weakref.ref[Caller] | None = None
    entry: LaneEntry | None = None
    cursor: int = 0
    calls: list[Call] = msgspec.field(default_factory=list)
    last: StepCall | None = None
    alone: bool = False
    """Whether no other record can turn out to be this lane's."""
    interrupt_before: int | None = None
    """The ordinal at which the record says that an interruptible block was interrupted."""
    place: Place | None = None
    """Where the agent says something by itself just now."""
    held: list[Any] = msgspec.field(default_factory=list)
    """What it said before its first step, which tells where that was."""
    awaited: bool = False
    """Whether a lane opened from this one waits for its first step, which tells where the other's record is."""

    @property
    def id(self) -> str:
        return self.entry.id if self.entry is not None else "?"

    def belongs_to(self, caller: Caller) -> None:
        self.owner = weakref.ref(caller)


_lane: contextvars.ContextVar[Lane | None] = contextvars.ContextVar("agentstream_lane", default=None)
_inside: contextvars.ContextVar[StepCall | bool | None] = contextvars.ContextVar("agentstream_inside", default=None)
_driver: contextvars.ContextVar[Driver | None] = contextvars.ContextVar("agentstream_driver", default=None)
_outside: contextvars.ContextVar[bool] = contextvars.ContextVar("agentstream_outside", default=False)


class _OpenRuns:
    """The runs this process has open; a forked child has none.

    Known by their workers, weakly, not counted: an interrupt can come over any line, also over those
    that would count a run out, and what is left of its worker says that it has ended.
    """

    def __init__(self) -> None:
        self._workers: dict[int, weakref.ref[Worker]] = {}

    def add(self, worker: Worker) -> None:
        workers, key = self._workers, id(worker)
        workers[key] = weakref.ref(worker, lambda _: workers.pop(key, None))

    def discard(self, worker: Worker) -> None:
        self._workers.pop(id(worker), None)

    def any(self) -> bool:
        workers = (ref() for ref in list(self._workers.values()))
        return any(worker is not None and not worker.ended for worker in workers)


_open_runs = _OpenRuns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_runs.__init__)


def caller_here() -> Caller:
    """Who calls."""
    caller, driver = _task_or_thread(), _driver.get()
    return driver if driver is not None and driver.at is caller else caller


def _task_or_thread() -> asyncio.Task[Any] | threading.Thread:
    import asyncio  # slow to import, and who only looks at sessions makes no steps

    loop = asyncio._get_running_loop()  # where there is none, to ask for its task would be an error, and those are slow
    task = asyncio.current_task(loop) if loop is not None else None
    return task if task is not None else threading.current_thread()


finders: list[Callable[[Lane | None], Lane | None]] = []
"""Those who run code by themselves: given the lane that the context holds, the lane of their task that is called in."""


def lane_here() -> Lane | None:
    """The lane of the calling code, None for code that belongs to no run of this process."""
    lane = _lane.get()
    if finders and (lane is None or lane.worker.found) and not _outside.get():
        held = lane
        lane = next((found for find in finders if (found := find(held)) is not None), None)
        if lane is not held:
            _lane.set(lane)
    if lane is None:
        return None
    worker = lane.worker
    if worker.pid != os.getpid():
        raise AgentStreamError(
            f"session {worker.session!r}: this process was forked from inside a run, which goes on in process "
            f"{worker.pid}; steps cannot be made here"
        )
    caller = caller_here()
    if worker.ended and worker.root.owner is not None and worker.root.owner() is caller:
        _lane.set(None)  # who called the run is outside it again; an interrupt came over the line that says so
        return None
    if lane.owner is None or lane.owner() is not caller:
        lane = worker.lanes.opened_from(lane, caller)
        _lane.set(lane)
    return lane


def worker_in(context: contextvars.Context) -> Worker | None:
    """The worker whose run this context holds."""
    lane = context.get(_lane)
    return lane.worker if lane is not None else None


def current_lane() -> Lane | None:
    """As `lane_here`, for what would be a step.

    Raises AgentStreamError where a run is open in this process but the call lost its
    context, and in a process forked from inside a run.
    """
    lane = lane_here()
    if lane is None and not _outside.get() and _open_runs.any():
        raise AgentStreamError(
            "this call has lost its run: a run is open in this process, but the thread that calls does not belong "
            "to it. Hand the function over as agentstream.in_run(fn) (asyncio.to_thread does so by itself), "
            "or say `with agentstream.outside_run():` if the call is meant to be none of the run's"
        )
    return lane


def enter(lane: Lane) -> contextvars.Token[Lane | None]:
    """Makes `lane` the calling code's."""
    return _lane.set(lane)


def leave(token: contextvars.Token[Lane | None]) -> None:
    _reset(_lane, token)


def _reset(variable: contextvars.ContextVar[Any], token: contextvars.Token[Any]) -> None:
    """A coroutine that nobody waits for any more is closed wherever that is noticed; its own context is gone then."""
    with contextlib.suppress(ValueError):
        variable.reset(token)


def current_call() -> StepCall | None:
    """The step whose body the calling code is in."""
    inside = _inside.get()
    return inside if inside is not None and not isinstance(inside, bool) else None


def is_muted() -> bool:
    """Whether the calling code is inside a step, or muted: what it calls is part of that, not a step of its own."""
    return _inside.get() is not None


class inside:
    """While the body of a step runs (or, with True, while recording is muted).

    As a generator it would be shorter, and cost each step two microseconds.
    """

    __slots__ = ("_call", "_token")

    def __init__(self, call: StepCall | bool) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = _inside.set(self._call)

    def __exit__(self, *error: object) -> None:
        _reset(_inside, self._token)


@contextlib.contextmanager
def run_open(worker: Worker) -> Iterator[None]:
    """While a run is open in this process; one that is begun inside a step of another records its own steps."""
    token = _inside.set(None)
    _open_runs.add(worker)
    try:
        yield
    finally:
        _open_runs.discard(worker)
        _reset(_inside, token)


def in_run(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, bound to the run and step context of the code that calls `in_run`.

    For executors and `threading.Thread`, which do not hand context on by themselves:
    `pool.submit(in_run(work), x)`. Each call of what is returned is a lane of its own.
    """
    context = contextvars.copy_context()
    lane = _lane.get()

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        if lane is None:
            return context.copy().run(function, *args, **kwargs)
        with lane.worker.progress.expecting(threading.current_thread()):
            return context.copy().run(function, *args, **kwargs)

    return bound


def said_outside() -> bool:
    """Whether the calling code says on purpose (`outside_run`) that it is none of a run's."""
    return _outside.get()


@contextlib.contextmanager
def outside_run() -> Iterator[None]:
    """Inside this block steps are plain functions, whatever runs are open: nothing is recorded or served."""
    lane, outside = _lane.set(None), _outside.set(True)
    try:
        yield
    finally:
        _reset(_outside, outside)
        _reset(_lane, lane)
