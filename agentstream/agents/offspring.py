"""Children at work in this process: each child session is run in a task or thread of its own.

Nobody needs to wait for one: it has a claim and a lease of its own, and ends with the
process at the latest, to be gone on with. Whoever waits is told by a future how it ended.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import weakref
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents import runs
from agentstream.agents.context import _lane
from agentstream.agents.outcomes import RecordedError
from agentstream.backends.driving import adrive, drive
from agentstream.errors import (
    AgentStreamError,
    Diverged,
    Fenced,
    OutcomeUnknown,
    ReplayOffline,
    RunWaiting,
    SessionBusy,
    StoreError,
)
from agentstream.protocol.operations import Read
from agentstream.sessions.claims import holder_alive
from agentstream.sessions.log import missing
from agentstream.sessions.patience import asked
from agentstream.sessions.state import State, fold
from agentstream.sessions.waits import refuse_while_waiting

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec, Arguments
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

ELSEWHERE = 1.0
"""Seconds that one wait for a child which another process works on takes before its lease is looked at again."""

_log = logging.getLogger("agentstream")

_STOPS = (Diverged, OutcomeUnknown, ReplayOffline, StoreError)
"""What is no outcome of a child: somebody has to do something, and it goes on."""


class Errand(msgspec.Struct, frozen=True):
    """What a child is to do: the agent, its recorded call, and the id of the run that it is."""

    session: str
    run: str
    spec: AgentSpec
    arguments: Arguments


class Ended(msgspec.Struct, frozen=True):
    """How a child's run ended, for now: with a value or an error, or it waits, or is stopped, or was interrupted."""

    value: Any = None
    error: Exception | None = None
    waiting: RunWaiting | None = None
    stop: Exception | None = None
    interrupted: bool = False


class Child:
    """A child that is being run here. `done` is resolved with an `Ended`."""

    def __init__(self, core: Core, errand: Errand) -> None:
        self.core = core
        self.errand = errand
        self.done: Future[Ended] = Future()
        self.task: asyncio.Task[None] | None = None

    def start(self, *, in_loop: bool) -> None:
        """Begins, in a context that is not the parent's run."""
        context = contextvars.copy_context()
        context.run(_lane.set, None)
        if in_loop:
            self.task = context.run(asyncio.ensure_future, self._live())
            return
        # a daemon: a child that nobody waits for ends with the process, as in an event loop
        name = f"agentstream-child-{self.errand.session}"
        threading.Thread(target=context.run, args=(self._live_in_thread,), name=name, daemon=True).start()

    def interrupt(self) -> None:
        """Ends its task, if it is one; code in a thread ends with its next step, when its run was taken away."""
        task = self.task
        if task is not None:
            with suppress(RuntimeError):  # the loop was closed
                task.get_loop().call_soon_threadsafe(task.cancel)

    def _live_in_thread(self) -> None:
        if self.errand.spec.is_async:
            with suppress(BaseException):  # told to who waits
                asyncio.run(self._live())
            return
        try:
            ended = drive(living(self.core, self.errand, in_loop=False), self.core.backend)
        except BaseException as error:
            ended = _broken(self.errand, error)
        self._end(ended)

    async def _live(self) -> None:
        ended = Ended(interrupted=True)
        try:
            ended = await adrive(living(self.core, self.errand, in_loop=True), self.core.backend)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            ended = _broken(self.errand, error)
        finally:
            self._end(ended)

    def _end(self, ended: Ended) -> None:
        session = self.errand.session
        with _lock:
            _at_work.get(self.core, {}).pop((session, self.errand.run), None)
        if ended.error is not None or ended.stop is not None:
            _log.info("child session %s: %s", session, self.core.rules.text(str(ended.error or ended.stop)))
        self.done.set_result(ended)


def _broken(errand: Errand, error: BaseException) -> Ended:
    if isinstance(error, Exception):
        return Ended(stop=error)
    return Ended(stop=AgentStreamError(f"child session {errand.session!r} was ended by {type(error).__name__}"))


_lock = threading.Lock()
_at_work: weakref.WeakKeyDictionary[Core, dict[tuple[str, str], Child]] = weakref.WeakKeyDictionary()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _at_work.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def child_at_work(core: Core, errand: Errand, *, in_loop: bool) -> Child:
    """The child that is at this errand in this process; begins one where there is none."""
    with _lock:
        children = _at_work.setdefault(core, {})
        child = children.get((errand.session, errand.run))
        if child is None:
            child = children[errand.session, errand.run] = Child(core, errand)
            child.start(in_loop=in_loop)
        return child


def find_child(core: Core, session: str, run: str) -> Child | None:
    """The child that is being run in this process, if it is."""
    with _lock:
        return _at_work.get(core, {}).get((session, run))


def children_at_work(core: Core) -> list[str]:
    """The ids of the children being run in this process."""
    with _lock:
        return [session for session, _ in _at_work.get(core, {})]


def living(core: Core, errand: Errand, *, in_loop: bool) -> Steps[Ended]:
    """Runs a child until it ends or waits; while somebody else works on it, until they do."""
    options = runs.Options(run_id=errand.run)
    fresh = runs.run_key(errand.run)
    while True:
        log = yield from core.open(errand.session)
        if log is None:
            return Ended(error=missing(errand.session))
        try:
            value = yield from runs._run(
                core,
                log,
                errand.spec,
                options,
                lambda state: runs._plan(state, errand.spec, errand.arguments, options, fresh),
                in_loop,
            )
            return Ended(value)
        except RunWaiting as waiting:
            return Ended(waiting=waiting)
        except (SessionBusy, Fenced):
            ended = yield from _elsewhere(core, errand)
            if ended is not None:
                return ended
        except _STOPS as stop:
            return Ended(stop=stop)
        except Exception as error:
            return Ended(error=error)


def _elsewhere(core: Core, errand: Errand) -> Steps[Ended | None]:
    """Waits while another process works on the child; None where it is ours to go on with."""
    while True:
        log = yield from core.open(errand.session)
        if log is None:
            return Ended(error=missing(errand.session))
        state = fold(log)
        if not (yield from holder_alive(log, state)):
            return _left(state, errand.run)
        yield from asked(Read(log.path, log.offset, wait=ELSEWHERE))


def _left(state: State, run_id: str) -> Ended | None:
    run = state.runs.get(run_id)
    if run is not None and run.status == "failed" and run.error is not None:
        return Ended(error=RecordedError.read(run.error).exception())
    if run is not None and run.status == "waiting":
        try:
            refuse_while_waiting(state, run)
        except RunWaiting as waiting:
            return Ended(waiting=waiting)
    return None
