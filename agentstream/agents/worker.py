"""A worker: one run being executed or replayed.

It holds what its lanes share: the journal and where the code is in it, the writer, and
what stops the run. A stop (the run is fenced, diverged, …) or an interruption (cancelled
from outside, KeyboardInterrupt) poisons the run: every later step raises it again, so that
code which catches everything goes nowhere and writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from agentstream.agents.context import Lane, caller_here, worker_in
from agentstream.agents.divergence import Divergence, compare
from agentstream.agents.journal import ROOT, Call, Entry, Journal, describe
from agentstream.agents.lanes import Lanes
from agentstream.agents.locations import calling_code
from agentstream.agents.progress import Progress
from agentstream.agents.stops import Stop
from agentstream.agents.turns import Turnstile
from agentstream.agents.writer import Before, Writer
from agentstream.backends.driving import Wait
from agentstream.backends.finalizing import elsewhere, in_collector
from agentstream.errors import AgentStreamError, Diverged, ReplayOffline
from agentstream.sessions.events import StepKey, write_event
from agentstream.sessions.large import taken_out
from agentstream.sessions.packing import Packer
from agentstream.sessions.positions import Position

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec
    from agentstream.agents.calls import StepCall
    from agentstream.agents.replay_watch import Watch
    from agentstream.agents.saying import Place
    from agentstream.agents.steering import Steers
    from agentstream.agents.writer import Writer
    from agentstream.backends.driving import Steps
    from agentstream.sessions.claims import Claim
    from agentstream.sessions.core import Core
    from agentstream.sessions.state import Run, State


ENDS_WITHIN = 0.5
"""Seconds that the first lane's task has to meet a stop by itself before it is cancelled."""


class Worker:
    """One per `session.run` or `session.replay`. `writer` is None in a replay."""

    found = False
    """Whether an engine runs the code (`tasks.py`)."""

    def __init__(
        self,
        core: Core,
        session: str,
        state: State,
        run: str,
        *,
        claim: Claim | None = None,
        writer: Writer | None = None,
        sync: bool = False,
        in_loop: bool = False,
    ) -> None:
        self.core = core
        self.session = session
        self.state = state
        self.run = run
        self.claim = claim
        self.writer = writer
        self.watch: Watch | None = None
        """What stops a replay on its way."""
        self.steering: Steers | None = core.steering
        """What a run that goes on from a replay makes otherwise."""
        self.trace: str | None = None
        """The trace that the run is a part of, as W3C's `traceparent` writes it."""
        self.sync = sync
        self.in_loop = in_loop
        self.pid = os.getpid()
        self.poison: BaseException | None = None
        self.divergence: Divergence | None = None
        self.ended = False
        self.journal = Journal(state, run, replayed=self.replaying)
        self.packer = _packer(state, claim)
        self.progress = Progress(lambda context: worker_in(context) is self)
        self.turnstile = Turnstile(self.journal.turns, self.progress, self.check)
        self.lanes = Lanes(self, self.journal)
        self.root = Lane(self, run, entry=self.journal.lane(run, ROOT))
        self.open_calls: dict[StepCall, None] = {}
        """Steps being made."""
        self.leaving = threading.RLock()
        """Held while calls that nobody finishes get their outcome: two threads may find the same one."""
        self.served: list[Entry] = []
        """The recorded steps whose outcome the code was given."""
        self.behind = False
        """Whether steps return before their outcome is durable, as asked for."""
        self.unplaced: list[Lane] = []
        """Lanes that said something and have made no step."""
        self.telling: dict[Place, None] = {}
        """Where something was said of which the last is held back."""
        self._attempts = dict(state.attempts_of(run))
        self._addresses = core.blobs.addresses(state._births)
        self._lock = threading.Lock()
        self._pure = self._pure_durable = 0

    @property
    def replaying(self) -> bool:
        return self.writer is None

    @property
    def recorded(self) -> Run | None:
        """The run as the journal has it; None for one that began just now."""
        return next((run for run in self.state.runs_below(self.run) if run.key == self.run), None)

    @property
    def record_is_whole(self) -> bool:
        """Whether the record holds the run to its end."""
        return self.recorded is not None and not self.recorded.open

    # --- stopping ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises the run's stop again, if it was stopped, and refuses steps after its end."""
        self.raise_stop()
        if self.ended:
            raise AgentStreamError(
                f"session {self.session!r}: the run has ended, but a task or thread of it makes a step; "
                "wait for all of them before the agent returns"
            )

    def raise_stop(self) -> None:
        """Raises what stopped or interrupted the run, if anything did."""
        poison = self.poison
        if isinstance(poison, Exception):
            raise Stop(poison)
        if poison is not None:
            raise type(poison)(*poison.args)

    @property
    def stopped(self) -> bool:
        """Whether a stop signal ended the run: nothing is written any more."""
        return isinstance(self.poison, Exception)

    def stop(self, error: Exception) -> Stop:
        """Poisons the run: every later step of it raises the same."""
        self._poison(error)
        return Stop(self.poison if isinstance(self.poison, Exception) else error)

    def interrupt(self, error: BaseException) -> None:
        """The run is ended from outside, to be resumed: its code must not record how it tidies up."""
        if not in_collector():
            self._poison(error)
        else:
            if self.poison is None:
                self.poison = error  # at once, and without the lock
            elsewhere(partial(self._poison, error))

    def _poison(self, error: BaseException) -> None:
        with self._lock:
            if self.poison is None:
                self.poison = error
        if self.writer is not None and isinstance(error, Exception):
            self.writer.discard()
        self.lanes.wake()
        self.turnstile.wake()
        if isinstance(error, Exception):
            _cancel_later(self.root)

    def forever(self) -> Steps[None]:
        """Waits until the code cancels the caller, or the run is stopped."""
        while True:
            self.check()
            yield Wait(self.lanes.park())

    # --- divergence --------------------------------------------------------------------------------------------------

    def diverge(self, kind: str, entry: Entry | None, call: Call | None, data: Any, lane: str, what: str) -> Stop:
        """The stop for code that does not agree with the journal at `entry`."""
        recorded = describe(entry.call, entry.encoded_input) if entry is not None else None
        actual = describe(call, data) if call is not None else None
        was = entry.code if entry is not None else None
        number = self.journal.index(entry)
        divergence = compare(self.before(entry), number, lane, kind, recorded, actual, calling_code(), was)
        with self._lock:
            self.divergence = self.divergence or divergence
        at = divergence.before.index
        message = (
            f"session {self.session!r} at event {at}: {what}\n{divergence}\n"
            f"To go on: session.rewind(at={at}) and run again with this code, "
            f"session.fork(new_id, at={at}) to try it in a branch, or the code that was recorded."
        )
        return self.stop(Diverged(message, divergence=divergence))

    def before(self, entry: Entry | None) -> Position:
        """The cut just before a recorded step; just before the run's end where there is none."""
        if entry is not None:
            index = entry.begun
        else:
            run = self.recorded
            index = run.outcome.index if run is not None and run.outcome is not None else self.state.index
        if index == 0:
            return Position(self.session, self.state.incarnation, 0)
        return self.state.events[index - 1].position

    # --- calling the agent -------------------------------------------------------------------------------------------

    def call(self, spec: AgentSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the agent's function; in an event loop a plain one in a thread, an async one in a task of its own."""
        if not self.in_loop:
            self.root.belongs_to(caller_here())
            return spec.function(*args, **kwargs)
        return self._call_apart(spec, lambda: spec.function(*args, **kwargs))

    async def _call_apart(self, spec: AgentSpec, function: Callable[[], Any]) -> Any:
        """In a task of its own a cancellation of the run is told from one that the run's own code asks for.

        Code in a thread cannot be cancelled: it is waited for, and ends with its next step.
        """

        def first() -> Any:
            caller = caller_here()
            self.root.belongs_to(caller)
            self.progress.member(caller)
            return function()

        async def root() -> Any:
            return await first()

        outer = asyncio.current_task()
        if outer is not None:
            self.progress.member(outer)
        task = asyncio.ensure_future(root() if spec.is_async else asyncio.to_thread(first))
        self.progress.member(task)
        cancelled: asyncio.CancelledError | None = None
        try:
            while not task.done():
                try:
                    await asyncio.wait({task})
                except asyncio.CancelledError as error:
                    cancelled = error
                    self.interrupt(error)
                    if spec.is_async:
                        task.cancel()
        except GeneratorExit:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                task.cancel()
            raise
        if cancelled is not None:
            if not task.cancelled():
                task.exception()  # seen: what ends the run is the cancellation
            raise cancelled
        return task.result()

    # --- writing -----------------------------------------------------------------------------------------------------

    def next_attempt(self, run: str, lane: str, ordinal: int) -> StepKey:
        with self._lock:
            identity = (run, lane, ordinal)
            self._attempts[identity] = self._attempts.get(identity, 0) + 1
            return StepKey(*identity, self._attempts[identity])

    def event(self, kind: str, key: str, value: dict[str, Any], *, operation: str = "insert") -> bytes:
        assert self.claim is not None
        return write_event(kind, key, value, claim=self.claim.number, operation=operation)

    def put(
        self,
        kind: str,
        key: str,
        value: dict[str, Any],
        *,
        packed: str | None = None,
        within: float | None = None,
        operation: str = "insert",
    ) -> None:
        """Hands an event to the writer, in its field `packed` references to what is there already; does not wait."""
        writer = self._writer()
        try:
            value, large = taken_out(kind, value, self._addresses)
            with self.packer.lock:
                changes = self.packer.events(kind, key, value, packed)
                befores = (Before(partial(each.keep, self.core.blobs), each.ref.size) for each in large)
                messages = (self.event(*change, operation=operation) for change in changes)
                writer.put(*befores, *messages, within=within)
        except AgentStreamError as error:
            raise self.stop(error) from error

    def leave_open_calls(self) -> None:
        """The run's function has ended: what stands half read has its outcome."""
        with self.leaving:
            for call in list(self.open_calls):
                call.leave()

    def put_status(self, run: str, status: str) -> None:
        """Says how a run goes on; the one event that is updated."""
        self.put("status", run, {"status": status}, operation="update")

    def put_pure(self, kind: str, key: str, value: dict[str, Any], *, packed: str) -> None:
        """Hands on what came of a pure step: it rides with what comes next, and nothing acts before it is durable."""
        self.put(kind, key, value, packed=packed)
        with self._lock:
            self._pure += 1

    @property
    def pure_pending(self) -> bool:
        """Whether the outcome of a pure step is not durable yet."""
        return self._pure > self._pure_durable

    @property
    def ahead(self) -> bool:
        """Whether a step may go on now before what it wrote is durable."""
        return self.behind and self.writer is not None and not self.writer.crowded

    def flush(self) -> Steps[None]:
        """Returns when everything put so far is durable."""
        pure = self._pure
        try:
            yield from self._writer().durable()
        except AgentStreamError as error:
            raise self.stop(error) from error
        with self._lock:
            self._pure_durable = max(self._pure_durable, pure)

    def _writer(self) -> Writer:
        if self.stopped:
            self.raise_stop()
        if self.writer is None:
            raise self.stop(ReplayOffline(f"session {self.session!r}: a replay writes nothing"))
        return self.writer


def _packer(state: State, claim: Claim | None) -> Packer:
    """A packer that knows what the session holds already."""
    packer = Packer(claim.number if claim is not None else 0)
    if claim is not None:
        packer.recall(state.events, state.items, state.sources)
    return packer


def _cancel_later(root: Lane) -> None:
    """The run's first task may wait for what a stopped lane would have done (an event): it must see the stop."""
    task = root.owner() if root.owner is not None else None
    if isinstance(task, asyncio.Task) and not task.get_loop().is_closed():
        loop = task.get_loop()
        loop.call_soon_threadsafe(loop.call_later, ENDS_WITHIN, task.cancel)
