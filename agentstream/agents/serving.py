"""`Worker`: runs the sessions that have work, as long as it is left to.

Work is what the log says there is (`agents/work.py`); the store says which sessions changed (`agents/noticing.py`).
Several workers look after the same sessions without knowing of each other: the claim decides
who gets one, and under it what there is to do is asked again.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from agentstream.agents.agent import AgentSpec, spec_of
from agentstream.agents.noticing import TROUBLE, WATCH, notices_of
from agentstream.agents.offspring import children_at_work
from agentstream.agents.options import Options
from agentstream.agents.runs import _run, open_run
from agentstream.agents.work import Policy, Task, glob, to_do
from agentstream.backends.base import LeaseHeld
from agentstream.backends.driving import adrive
from agentstream.errors import (
    AgentStreamError,
    Erased,
    Fenced,
    Locked,
    NotFound,
    RunCancelled,
    RunExhausted,
    RunWaiting,
    SessionBusy,
    StoreError,
)
from agentstream.sessions import moments
from agentstream.sessions.claims import holder_alive, under_claim
from agentstream.sessions.family import call_of, is_ready, parent_of
from agentstream.sessions.ids import id_of
from agentstream.sessions.state import State, fold
from agentstream.sessions.steps import text
from agentstream.sessions.summaries import POINTERS, places
from agentstream.sessions.waits import waits_of

if TYPE_CHECKING:
    from datetime import datetime

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.log import Log

LEASE = 0.5
"""Seconds between two looks whether a session that somebody else works on was left: a crash writes nothing."""

REMOTE_LEASE = 2.0
"""The same at a server, where each look is a request and a lease outlives its holder anyway."""

_log = logging.getLogger("agentstream.worker")


class AnyClient(Protocol):
    """A `Client` or an `AsyncClient`: they are of a floor above, and all that is asked of them is their store."""

    _core: Core


class _Changed(Exception):
    """Under the claim there is nothing to do any more: somebody was faster."""


class Worker:
    """Runs sessions that have work for an agent: of many at once, one run each.

    Work is: what a waiting run waits for has come (an answer, a message, a moment, a child), a
    run was abandoned by a crash, a run failed (again after a pause that doubles, `exhausted` after
    `max_attempts` in a row), a child that its parent's process left unbegun. With `on_message`
    also a message that a person appended to a session in which no run is open: the agent (of
    several, the first) is run with its text, each message once.

    - `agent`: a function or several; runs of other agents are left alone.
    - `match`: which session ids: `*` is one segment, `**` any number of them.
    - `concurrency`: how many runs at once; async agents share one event loop, plain ones get threads.
    - `grace`: seconds that runs have to come to their end after `stop`; then they are interrupted, resumable.

    Any number of workers may look after the same sessions: in any number of processes of this
    machine, or, where a server keeps the sessions, of any machines. Raises AgentStreamError for a
    store that can neither be watched nor asked for its sessions.
    """

    def __init__(
        self,
        client: AnyClient,
        agent: Callable[..., Any] | Sequence[Callable[..., Any]],
        *,
        match: str = "**",
        concurrency: int = 10,
        on_message: bool = False,
        max_attempts: int = 10,
        grace: float = 20.0,
        first_pause: float = 1.0,
        longest_pause: float = 300.0,
    ) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency= is a number of runs at once, at least 1, not {concurrency!r}")
        specs = [spec_of(each) for each in ([agent] if callable(agent) else agent)]
        if not specs:
            raise ValueError("a worker needs an agent to run")
        named = {spec.name: spec for spec in specs}
        if len(named) < len(specs):
            raise ValueError(f"two agents have one name: {', '.join(spec.name for spec in specs)}; give one a name=")
        if on_message:
            _check_takes_text(specs[0])
        Options(max_attempts=max_attempts)
        first = specs[0] if on_message else None
        self._core: Core = client._core
        traits = self._core.backend.traits
        if not (traits.lists or traits.catalogs):
            raise AgentStreamError(f"{self._core.backend.name} cannot be watched; a worker needs a store that can")
        self._pattern = match
        self._policy = Policy(named, glob(match), self._core.rules, first, max_attempts, first_pause, longest_pause)
        self._concurrency = concurrency
        self._grace = grace
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, *, once: bool = False) -> int:
        """Works until `stop` is called from another thread or a signal handler; returns how many runs it took up.

        `once`: until nothing is left to do now.
        """
        return asyncio.run(self._in_own_loop(once))

    async def arun(self, *, once: bool = False) -> int:
        """As `run`, in the running event loop (plain agents get its threads); cancelled, it interrupts its runs."""
        if self._loop is not None:
            raise AgentStreamError("this worker runs already")
        self._loop = asyncio.get_running_loop()
        try:
            return await _Shift(self._core, self._policy, self._pattern, self._concurrency, self).work(once)
        finally:
            self._loop = None
            self._stopping = False

    def stop(self) -> None:
        """Takes nothing up any more; `run` returns when the runs at work have ended, or the grace is over."""
        self._stopping = True
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended just now
                loop.call_soon_threadsafe(self._wake)

    async def _in_own_loop(self, once: bool) -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._concurrency + 4, thread_name_prefix="agentstream-worker"))
        return await self.arun(once=once)

    def _wake(self) -> None:
        """Set by the shift that is on."""


def _check_takes_text(spec: AgentSpec) -> None:
    try:
        spec.signature.bind("")
    except TypeError as error:
        raise TypeError(f"agent {spec.name!r} cannot be called with a message's text alone: {error}") from None


class _Shift:
    """One call of `run`: what is to be looked at, what is at work. Lives in one event loop."""

    def __init__(self, core: Core, policy: Policy, pattern: str, concurrency: int, worker: Worker) -> None:
        self._core = core
        self._policy = policy
        self._notices = notices_of(core, pattern, self)
        self._lease = LEASE if core.backend.traits.lists else REMOTE_LEASE
        self.looked = asyncio.Event()
        self._concurrency = concurrency
        self._worker = worker
        self._woken = asyncio.Event()
        worker._wake = self._woken.set
        self._pending: dict[str, None] = {}
        self._timers: list[tuple[datetime, str]] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, tuple[str, str]] = {}
        """Sessions that others work on: path and nonce of the claim in force."""
        self._given_up: dict[str, int] = {}
        """How many events a session had when this process could not go on with it: more of them may help."""
        self._parents: dict[str, set[str]] = {}
        """Sessions that wait for a child, by the child."""
        self._spare: dict[str, str] = {}
        self._seen: dict[str, tuple[str, str, bool]] = {}
        """Sessions as they were when all were listed last."""
        self.taken = 0

    async def work(self, once: bool) -> int:
        await self._notices.begin()
        await self.look_around()
        watching = asyncio.ensure_future(self._notices.run())
        try:
            while not self._worker._stopping:
                self._woken.clear()
                self._due()
                await self._take_up()
                if watching.done():
                    watching.result()
                idle = not self._pending and not self._running
                if once and idle and not children_at_work(self._core):
                    break
                await self._rest(self._lease if once else WATCH)
            await self._hand_over()
        finally:
            watching.cancel()
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(watching, *self._running.values(), return_exceptions=True)
        return self.taken

    # --- what may have work ------------------------------------------------------------------------------------------

    async def look_around(self) -> None:
        """Every session that has changed since it was done last is to be looked at."""
        found = await adrive(places(self._core), self._core.backend)
        random.shuffle(found)  # workers that begin together do not all want the same one
        before, self._seen = self._seen, {}
        for place in found:
            self._spare[place.listed.path] = place.id
            self._seen[place.id] = stamp = (place.listed.path, place.listed.offset, place.listed.closed)
            if before.get(place.id) != stamp:
                self._note(place.id)

    async def changed(self, path: str) -> None:
        """Something happened to a stream."""
        session = self._session_at(path)
        if session is not None:
            self._note(session)
        elif path.startswith((POINTERS, "~s/")):
            await self.look_around()

    def left(self, path: str) -> bool:
        """Whether the session of a stream is still to be looked at."""
        session = self._session_at(path)
        return session in self._pending and session not in self._running

    @property
    def full(self) -> bool:
        """Whether no more can be taken up now."""
        return len(self._running) >= self._concurrency or self._worker._stopping

    def _session_at(self, path: str) -> str | None:
        return self._spare.get(path) if path.startswith("~") else id_of(path)

    def _note(self, session: str) -> None:
        """Something happened there: it is looked at, and so is who waits for it."""
        if self._policy.match.fullmatch(session):
            self._pending[session] = None
        for parent in self._parents.pop(session, ()):
            self._note(parent)
        self._woken.set()

    def _later(self, session: str, when: datetime) -> None:
        heapq.heappush(self._timers, (when, session))

    def _due(self) -> None:
        now = moments.now()
        while self._timers and self._timers[0][0] <= now:
            self._pending[heapq.heappop(self._timers)[1]] = None

    async def _rest(self, longest: float) -> None:
        if len(self._running) < self._concurrency and any(each not in self._running for each in self._pending):
            return
        if self._timers and len(self._running) < self._concurrency:
            longest = min(longest, max(0.0, (self._timers[0][0] - moments.now()).total_seconds()))
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._woken.wait(), longest)

    # --- taking it up ------------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        for session in list(self._pending):
            self.looked.set()
            if self.full:
                return
            if session in self._running:
                continue  # looked at when that has ended
            del self._pending[session]
            try:
                task = await adrive(self._look(session), self._core.backend)
            except (NotFound, Erased):
                continue
            except Locked as error:
                _log.warning("session %s is left alone: %s", session, error)
                continue
            except StoreError as error:
                _log.warning("session %s cannot be read, and is looked at again: %s", session, error)
                self._later(session, moments.after(TROUBLE, "pause"))
                continue
            if task is not None:
                self.taken += 1
                _log.info("session %s: %s, %s", session, task.why, "given up" if task.exhausted else task.spec.name)
                self._running[session] = asyncio.ensure_future(self._do(session, task))
        self.looked.set()

    def _look(self, session: str) -> Steps[Task | None]:
        """What is to be done in a session now; what is to be done later gets a timer."""
        if (yield from self._is_held(session)):
            return None
        log = yield from self._core.refresh(session)
        if log is None or log.closed or (session in self._given_up and self._given_up[session] == _told(log)):
            return None
        self._given_up.pop(session, None)
        state = fold(log)
        if (yield from holder_alive(log, state)):
            self._held[session] = (log.path, text(state.claim, "nonce"))
            self._later(session, moments.after(self._lease, "pause"))
            return None
        found = yield from self._to_do(state)
        if isinstance(found, Task):
            return found
        if found is not None:
            self._later(session, found)
        return None

    def _is_held(self, session: str) -> Steps[bool]:
        """Whether who was last seen at work in a session still is, which is asked without reading it."""
        held = self._held.get(session)
        if held is None:
            return False
        if not (yield LeaseHeld(*held)):
            del self._held[session]
            return False
        self._later(session, moments.after(self._lease, "pause"))
        return True

    def _to_do(self, state: State) -> Steps[Task | datetime | None]:
        parent = parent_of(state)
        child = None
        if parent is not None and parent.key not in state.runs:
            child = yield from call_of(self._core, parent)
        return to_do(state, self._policy, moments.now(), child=child, children=(yield from self._children(state)))

    def _children(self, state: State) -> Steps[bool]:
        """Whether a child that the run waits for has ended, or can go on and none but its parent knows its agent."""
        run = state.run
        if run is None or run.status != "waiting":
            return False
        for child in waits_of(state, run).children:
            seen: set[str] = set()
            ready = yield from is_ready(self._core, child, seen)
            for below in seen:
                self._parents.setdefault(below, set()).add(state.session)
            if ready and not (yield from self._has_a_worker(child)):
                return True
        return False

    def _has_a_worker(self, session: str) -> Steps[bool]:
        """Whether a child that can go on is one that this worker goes on with by itself."""
        log = yield from self._core.refresh(session)
        run = fold(log).run if log is not None else None
        known = run is not None and run.agent in self._policy.agents and run.status in ("waiting", "running")
        return known and self._policy.match.fullmatch(session) is not None

    # --- doing it ----------------------------------------------------------------------------------------------------

    async def _do(self, session: str, task: Task) -> None:
        try:
            await adrive(self._doing(session, task), self._core.backend)
            _log.info("session %s: done", session)
        except RunWaiting:
            _log.info("session %s: waits", session)
        except (_Changed, SessionBusy, Fenced, RunCancelled):
            pass  # somebody else was faster, or it is over
        except RunExhausted as error:
            _log.error("%s", error)
        except Exception as error:
            with suppress(AgentStreamError):
                await self._failed(session, error)
        finally:
            self._running.pop(session, None)
            self._note(session)

    def _doing(self, session: str, task: Task) -> Steps[Any]:
        if task.exhausted:
            return (yield from under_claim(self._core, session, self._exhausting))
        log = yield from self._core.require(session)
        options = Options(max_attempts=self._policy.max_attempts)
        asked: list[State] = []

        def plan_for(state: State) -> Any:
            """Asked before the claim and under it: a plan that is not the one any more is dropped."""
            asked.append(state)
            if len(asked) > 1 and state.claim is not None:
                state = state.cut(state.claim.index)  # our own claim is no attempt that came to nothing
            found = to_do(state, self._policy, moments.now(), child=task.child, children=True)
            if not isinstance(found, Task) or found.exhausted or found.plan.key != task.plan.key:
                raise _Changed
            return found.plan

        return (yield from _run(self._core, log, task.spec, options, plan_for, True))

    def _exhausting(self, state: State) -> list[dict[str, Any]] | None:
        found = to_do(state, self._policy, moments.now())
        if not isinstance(found, Task) or not found.exhausted:
            return None
        return [{"kind": "status", "key": found.plan.key, "value": {"status": "exhausted"}, "operation": "update"}]

    async def _failed(self, session: str, error: Exception) -> None:
        """A run that failed is due again after its pause. One that cannot go on with this code (it diverged, a step is
        unknown) is left alone by this process until something is said in its session."""
        told = self._core.rules.text(f"{type(error).__name__}: {error}")
        log = await adrive(self._core.refresh(session), self._core.backend)
        run = open_run(fold(log)) if log is not None else None
        if log is None or run is None or run.status == "failed":
            _log.warning("session %s failed: %s", session, told)
        elif isinstance(error, StoreError):
            _log.warning("session %s: the store failed, and is asked again: %s", session, told)
            self._held.pop(session, None)
            self._later(session, moments.after(TROUBLE, "pause"))
        else:
            _log.error("session %s is left alone until something is appended to it: %s", session, told)
            self._given_up[session] = _told(log)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """Lets the runs at work come to their end; after the grace they are interrupted, to be gone on with."""
        if self._running:
            _log.info("stopping: %d runs have %.0f s to come to their end", len(self._running), self._worker._grace)
            await asyncio.wait(list(self._running.values()), timeout=self._worker._grace)


def _told(log: Log) -> int:
    """How many events say something: other workers that try in vain only claim."""
    return sum(event.type not in ("claim", "status") for event in log.events)
