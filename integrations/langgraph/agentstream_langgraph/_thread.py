"""One LangGraph thread: a session's log folded, the chains that go on in it, and what is appended to it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agentstream import AgentStreamError, Fenced
from agentstream.adapters import Call, Change, Hold, Steps, drive, recorder
from agentstream_langgraph._arriving import Arrivals
from agentstream_langgraph._chains import Built, Chains
from agentstream_langgraph._index import Index, Place
from agentstream_langgraph._lists import Known
from agentstream_langgraph._working import Sends, step_of

if TYPE_CHECKING:
    from agentstream.adapters import Log, State, TaskWorker
    from agentstream.adapters.replaying import Steering

ENGINE = frozenset(("langgraph", "langchain_core", "agentstream_langgraph"))
"""What runs nodes, and makes no steps in them."""

TRIES = 50
"""Claims made for one append while others, of other branches, claim too."""


class Numbers(NamedTuple):
    """What comes next under a claim: items are numbered apart, so that neighbours in a list are one range."""

    item: int = 0
    event: int = 0


Writes = Sequence[tuple[str, Any]]

Build = Callable[[Hold, Numbers], tuple[list[Change], int]]
"""Given the claim and the next free numbers under it: the events, and the item number after those they took."""


class Thread:
    """Safe to share between threads and loops: `lock` is never held while something is waited for."""

    def __init__(self, client: Any, session: str, thread: str, *, fence: bool) -> None:
        self.session = session
        self.lock = threading.RLock()
        self.working = threading.RLock()
        """Held while a task is looked up in the record."""
        self.index = Index()
        self.known = Known(self.index)
        self.chains = Chains(thread, fence=fence)
        self.sends = Sends()
        self.arrivals = Arrivals()
        self.take_over = False
        """Whether the thread is taken from a living worker that holds on to it."""
        self.steering: Steering | None = None
        """What a replay that runs on here makes otherwise."""
        self._telling: Hold | None = None
        """The claim under which somebody tells of nodes while they work."""
        self._client = client
        self._recorder = recorder(client, session)
        self._claiming = threading.Lock()
        self._numbers: tuple[Hold | None, Numbers] = (None, Numbers())

    # --- reading -----------------------------------------------------------------------------------------------------

    def refresh(self) -> Steps[None]:
        """Reads what came since."""
        log = yield from self._recorder.read()
        with self.lock:
            if log is None:
                if self.index.size:
                    self._forget()
            else:
                self._add(log)

    def _add(self, log: Log) -> None:
        """Under the lock."""
        was = self.index.incarnation
        if self.index.add(log):
            self.known.reset()
            if was:
                self._forget_chains()

    def _forget(self) -> None:
        self.index.reset("")
        self.known.reset()
        self._forget_chains()

    def _forget_chains(self) -> None:
        self.chains.forget()
        hold = self._recorder.hold
        if hold is not None:
            self._recorder.drop(hold)

    # --- steps in nodes ----------------------------------------------------------------------------------------------

    def task(self, run: str, tip: str, *, kept: bool, in_loop: bool = False) -> Steps[TaskWorker]:
        """What records the steps of code that runs on the root checkpoint `tip`. Waits in place. Raises Fenced.

        `kept`: the checkpoint is put as soon as it is made, and no step returns before."""
        hold = yield from self._held(Built(tip, None, False), in_loop)
        yield from hold.durable()  # an earlier execution of it may have written just now
        log = yield from self._recorder.read()
        with self.lock:
            if log is None:
                raise self.chains.fenced(tip)
            self._add(log)
            lives = None if run in self.index.stepped else list(self.index.lives)
        based = partial(self.arrived, ("", tip)) if kept else None
        worker = yield from self._recorder.task(hold, run, log, lives=lives, engine=ENGINE, based=based)
        worker.steering = self.steering or worker.steering
        return worker

    def arrived(self, place: Place) -> Steps[None]:
        """Returns when a checkpoint is in the log or on its way there."""
        gone = yield from self.turn(place)
        gone()

    def turn(self, place: Place) -> Steps[Callable[[], None]]:
        """As `arrived`, and after those who asked for theirs before; it ends when what it gives is called."""
        if place in self.index.checkpoints:
            self.arrivals.came(place)
        return (yield from self.arrivals.turn(place))

    def record(self) -> Steps[Log | None]:
        """The log, for who looks at it as a whole."""
        yield from self.refresh()
        return (yield from self._recorder.read())

    def replayed(self, run: str, state: State) -> TaskWorker:
        """What serves the steps of code that is replayed."""
        return self._recorder.replayed(run, state)

    # --- being its one worker ----------------------------------------------------------------------------------------

    def hold_on(self, *, branch: bool, in_loop: bool) -> Steps[tuple[Hold, Log]]:
        """Takes the thread and keeps it, as a run does; SessionBusy while another living worker holds it."""
        found: list[Log] = []

        def check(log: Log) -> dict[str, Any]:
            with self.lock:
                self._add(log)
                found[:] = [log]
                latest = self.index.find("", None)
                tip = latest.id if latest is not None else ""
                return {"branch": True} if branch else {"tip": tip, "since": self.index.size}

        def taken() -> Hold:
            with self._claiming:
                with self.lock:
                    if self._recorder.hold is not None:
                        self._drop(self._recorder.hold)
                return drive(self._client, self._recorder.take(check, keep=True, take_over=self.take_over))

        hold: Hold = yield Call(lambda: asyncio.to_thread(taken) if in_loop else taken())
        self._telling = hold
        return hold, found[0]

    def let_go(self, hold: Hold) -> Steps[None]:
        if self._telling is hold:
            self._telling = None
        yield from self._recorder.let_go(hold)

    def node(self, hold: Hold, ns: str, checkpoint: str, writes: Writes, path: str) -> dict[str, Any] | None:
        """What the step says that these writes are; None where they are none, or are told of elsewhere."""
        self.sends.written(ns, checkpoint, writes)
        told = None if self._telling is hold else step_of(self.sends, ns, checkpoint, writes, path)
        if told is not None and "error" in told:
            told["error"] = hold.rules.form(told["error"], "error")
        return told

    # --- writing -----------------------------------------------------------------------------------------------------

    def append(self, built: Built, build: Build, *, in_loop: bool) -> Steps[None]:
        """Appends what `build` gives, under the claim in use or a new one; durable when it returns. Raises Fenced."""
        for _ in range(TRIES):
            hold = yield from self._held(built, in_loop)
            with self.lock:
                if self._recorder.hold is not hold:
                    continue
                with suppress(Fenced):  # noticed by an earlier append: `durable` says so again
                    self._put(hold, built, build)
            try:
                yield from hold.durable()
                return
            except Fenced as error:
                yield from self._overtaken(hold, built, error)
                yield Call(lambda: _pause(in_loop))
            except BaseException:
                with self.lock:
                    self._drop(hold)  # whether it was applied is unknown: the log says
                raise
        raise AgentStreamError(
            f"session {self.session!r}: others append to other branches of this thread without a pause, and nothing "
            "gets through. Try again"
        )

    def _held(self, built: Built, in_loop: bool) -> Steps[Hold]:
        hold = self._recorder.hold
        if hold is None:
            # on a thread of its own under a loop: who waits for the lock then never stops the loop that holds it
            return (yield Call(lambda: asyncio.to_thread(self._claimed, built) if in_loop else self._claimed(built)))
        with self.lock:
            self.chains.judge(built, self.index)
        return hold

    def _claimed(self, built: Built) -> Hold:
        with self._claiming:
            if self._recorder.hold is None:
                took = self._recorder.take(lambda log: self._check(built, log), take_over=self.take_over)
                drive(self._client, took)
            return drive(self._client, self._held(built, False))

    def _check(self, built: Built, log: Log) -> dict[str, Any]:
        with self.lock:
            self._add(log)
            return self.chains.judge(built, self.index)

    def _put(self, hold: Hold, built: Built, build: Build) -> None:
        """Under the lock: numbers go out in the order in which they are given."""
        numbers = self._numbers[1] if self._numbers[0] is hold else Numbers()
        try:
            changes, following = build(hold, numbers)
            self._numbers = (hold, Numbers(following, numbers.event + 1))
            # a checkpoint says itself when it was made
            hold.put(*changes, untimed=frozenset(key for _, key, value in changes if "head" in value))
        except BaseException:
            self.known.reset()  # it may count on what was not written
            raise
        self.chains.note(built, hold.number)
        if built.place is not None:
            self.arrivals.came(built.place)

    def _overtaken(self, hold: Hold, built: Built, error: Fenced) -> Steps[None]:
        """Another claim passed ours: raises if it goes on from our chain."""
        try:
            log, claims = yield from self._recorder.overtakers(hold)
        except Fenced:
            with self.lock:
                self.chains.ended()
                self._drop(hold)
            raise
        with self.lock:
            self._add(log)
            fenced = not claims or self.chains.overtaken(built, self.index, claims)
            self._drop(hold)
            if fenced:
                raise self.chains.fenced(built.tip) from error

    def _drop(self, hold: Hold) -> None:
        if self._recorder.hold is hold:
            self._recorder.drop(hold)
            self.chains.dropped()
            self.known.reset()

    def delete(self) -> Steps[bool]:
        there = yield from self._recorder.delete()
        with self.lock:
            self._forget()
        return there


def _pause(in_loop: bool) -> Any:
    seconds = random.uniform(0, 0.02)
    if in_loop:
        return asyncio.sleep(seconds)
    threading.Event().wait(seconds)
    return None
