"""Where the calling code is: in which run, in which lane, inside which step.

A lane is one asyncio task, or one call handed to a thread with the run's context. The lane
is kept in a context variable, which tasks and `asyncio.to_thread` inherit; code that finds
there a lane of another task or thread opens a lane of its own, with its first step.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from agentstream.errors import AgentStreamError

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.agents.journal import Call, LaneEntry
    from agentstream.agents.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")

Owner = tuple["weakref.ref[asyncio.Task[Any]] | None", int]


@dataclass(slots=True, eq=False)
class Lane:
    """A lane of a live or replayed run. `entry` is its record, once its first step has told which one that is."""

    worker: Worker
    run: str
    parent: Lane | None = None
    owner: Owner | None = None
    entry: LaneEntry | None = None
    cursor: int = 0
    calls: list[Call] = field(default_factory=list)
    last: StepCall | None = None

    @property
    def id(self) -> str:
        return self.entry.id if self.entry is not None else "?"


_lane: contextvars.ContextVar[Lane | None] = contextvars.ContextVar("agentstream_lane", default=None)
_inside: contextvars.ContextVar[StepCall | bool | None] = contextvars.ContextVar("agentstream_inside", default=None)
_outside: contextvars.ContextVar[bool] = contextvars.ContextVar("agentstream_outside", default=False)

_open_runs: dict[int, int] = {}
"""How many runs this process has open, by process id (a forked child has none)."""
_open_lock = threading.Lock()


def owner_here() -> Owner:
    """Who calls: the task, if there is one, else the thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return (weakref.ref(task) if task is not None else None, threading.get_ident())


def _owns(lane: Lane, owner: Owner) -> bool:
    if lane.owner is None:
        lane.owner = owner
        return True
    mine, theirs = lane.owner[0], owner[0]
    if mine is not None or theirs is not None:
        return mine is not None and theirs is not None and mine() is theirs()
    return lane.owner[1] == owner[1]


def current_lane() -> Lane | None:
    """The lane of the calling code, None outside a run.

    Raises AgentStreamError where a run is open in this process but the call lost its
    context, and in a process forked from inside a run.
    """
    lane = _lane.get()
    if lane is None:
        if _open_runs.get(os.getpid()) and not _outside.get():
            raise AgentStreamError(
                "this call has lost its run: a run is open in this process, but the thread that calls does not belong to it. "
                "Hand the function over as agentstream.in_run(fn) (asyncio.to_thread does so by itself), "
                "or say `with agentstream.outside_run():` if the call is meant to be none of the run's"
            )
        return None
    if lane.worker.pid != os.getpid():
        raise AgentStreamError(
            f"session {lane.worker.session!r}: this process was forked from inside a run, which goes on in process "
            f"{lane.worker.pid}; steps cannot be made here"
        )
    owner = owner_here()
    if _owns(lane, owner):
        return lane
    lane = lane.worker.lane_of(lane, owner)
    _lane.set(lane)
    return lane


def enter(lane: Lane) -> contextvars.Token[Lane | None]:
    """Makes `lane` the calling code's."""
    return _lane.set(lane)


def leave(token: contextvars.Token[Lane | None]) -> None:
    _lane.reset(token)


def current_call() -> StepCall | None:
    """The step whose body the calling code is in."""
    inside = _inside.get()
    return inside if inside is not None and not isinstance(inside, bool) else None


def is_muted() -> bool:
    """Whether the calling code is inside a step, or muted: what it calls is part of that, not a step of its own."""
    return _inside.get() is not None


@contextlib.contextmanager
def inside(call: StepCall | bool) -> Iterator[None]:
    """While the body of a step runs (or, with True, while recording is muted)."""
    token = _inside.set(call)
    try:
        yield
    finally:
        _inside.reset(token)


@contextlib.contextmanager
def run_open() -> Iterator[None]:
    """While a run is open in this process."""
    pid = os.getpid()
    with _open_lock:
        _open_runs[pid] = _open_runs.get(pid, 0) + 1
    try:
        yield
    finally:
        with _open_lock:
            _open_runs[pid] -= 1


def in_run(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, bound to the run and step context of the code that calls `in_run`.

    For executors and `threading.Thread`, which do not hand context on by themselves:
    `pool.submit(in_run(work), x)`. Each call of what is returned is a lane of its own.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return bound


@contextlib.contextmanager
def outside_run() -> Iterator[None]:
    """Inside this block steps are plain functions, whatever runs are open: nothing is recorded or served."""
    lane, outside = _lane.set(None), _outside.set(True)
    try:
        yield
    finally:
        _outside.reset(outside)
        _lane.reset(lane)
