"""A worker: one run being executed or replayed, and where its lanes are in the journal.

Everything here is told from the journal and from what the code has asked so far; the
waiting (a lane that cannot be placed yet, an outcome whose turn has not come) is yielded.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from agentstream.agents.context import Lane, Owner, owner_here
from agentstream.agents.divergence import Divergence, calling_code, compare
from agentstream.agents.journal import ROOT, Call, Entry, Journal, LaneEntry, describe
from agentstream.agents.stops import Stop
from agentstream.agents.writer import Writer
from agentstream.backends.driving import Sleep, Wait
from agentstream.errors import AgentStreamError, Diverged, ReplayOffline
from agentstream.sessions.events import StepKey, write_event
from agentstream.sessions.items import Packer
from agentstream.sessions.positions import Position

if TYPE_CHECKING:
    from agentstream.agents.agent import AgentSpec
    from agentstream.backends.driving import Steps
    from agentstream.sessions.claims import Claim
    from agentstream.sessions.core import Core
    from agentstream.sessions.state import State

SETTLING = 8
"""Turns of the event loop that code gets to act on an outcome before one of another lane is handed on."""

STALLED = 1.0
"""Seconds without any progress of the run after which something that was waited for is taken not to come."""

STALLED_BY_STRANGERS = 10.0
"""The same while tasks are about that may still turn out to be the missing lane."""


class Worker:
    """One per `session.run` or `session.replay`. `writer` is None in a replay."""

    def __init__(
        self,
        core: Core,
        session: str,
        state: State,
        run: str,
        *,
        claim: Claim | None = None,
        writer: Writer | None = None,
        until: int | None = None,
        sync: bool = False,
        in_loop: bool = False,
    ) -> None:
        self.core = core
        self.session = session
        self.state = state
        self.run = run
        self.claim = claim
        self.writer = writer
        self.until = until
        self.sync = sync
        self.in_loop = in_loop
        self.journal = Journal(state, run)
        self.packer = Packer(claim.number if claim is not None else 0)
        for event in state.events:
            if event.type == "item" and isinstance(event.value, dict) and isinstance(event.value.get("items"), list):
                self.packer.learn(event.key, event.value["items"])
        self.pid = os.getpid()
        self.poison: Exception | None = None
        self.divergence: Divergence | None = None
        self.ended = False
        self.lock = threading.RLock()
        self.flying = 0
        self.progress = 0
        self.pure_pending = False
        self.attempts = dict(state.attempts)
        self.tasks_before = _tasks()
        self.root = Lane(self, run, entry=self.journal.lane(run, ROOT))
        self._lanes: weakref.WeakKeyDictionary[Any, list[Lane]] = weakref.WeakKeyDictionary()
        self._parked: list[Future[None]] = []
        self._turns: dict[int, Future[None]] = {}
        self._next_turn = 0
        self._handings = 0
        self._last_owner: Owner | None = None

    @property
    def replaying(self) -> bool:
        return self.writer is None

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
        """Raises the run's stop again, if it was stopped."""
        if self.poison is not None:
            raise Stop(self.poison)

    def stopped(self, error: Exception) -> None:
        """Told by the writer when an append was refused for good."""
        self.stop(error)

    def stop(self, error: Exception) -> Stop:
        """Poisons the run: every later step of it raises the same."""
        with self.lock:
            if self.poison is None:
                self.poison = error
        self._wake()
        return Stop(self.poison)

    def diverge(
        self, kind: str, entry: Entry | None, call: Call | None, data: Any, lane: str, what: str, *, code: str | None = None
    ) -> Stop:
        """The stop for code that does not agree with the journal at `entry`."""
        recorded = describe(entry.call, self._recorded_input(entry)) if entry is not None else None
        actual = describe(call, data) if call is not None else None
        divergence = compare(
            self.before(entry), self.journal.index(entry), lane, kind, recorded, actual, code or calling_code()
        )
        return self.stop_diverged(divergence, what)

    def stop_diverged(self, divergence: Divergence, what: str) -> Stop:
        with self.lock:
            if self.divergence is None:
                self.divergence = divergence
        at = divergence.before.index
        message = (
            f"session {self.session!r} at event {at}: {what}\n{divergence}\n"
            f"To go on: session.rewind(at={at}) and run again with this code, "
            f"session.fork(new_id, at={at}) to try it in a branch, or the code that was recorded."
        )
        return self.stop(Diverged(message, divergence=divergence))

    def before(self, entry: Entry | None) -> Position:
        """The cut just before a recorded step; the end of the log where there is none."""
        index = entry.started.index if entry is not None else self.state.index
        if index == 0:
            return Position(self.session, self.state.incarnation, 0)
        return self.state.events[index - 1].position

    def _recorded_input(self, entry: Entry) -> Any:
        if entry.step is not None:
            return entry.step.encoded_input
        run = next((run for run in self.state.runs.values() if run.start is entry.started), None)
        return run.encoded_arguments if run is not None else None

    # --- lanes -------------------------------------------------------------------------------------------------------

    def lane_of(self, parent: Lane, owner: Owner) -> Lane:
        """The lane of another task or thread that was opened from `parent`; a new one at its first call."""
        task = owner[0]() if owner[0] is not None else None
        with self.lock:
            for lane in self._lanes.get(task, ()) if task is not None else ():
                if lane.parent is parent:
                    return lane
            lane = Lane(self, parent.run, parent, owner)
            if task is not None:
                self._lanes.setdefault(task, []).append(lane)
            return lane

    def place(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[Entry | None]:
        """The recorded step for this call, None if it is new; moves the lane on. Raises the stop if they disagree."""
        if lane.entry is None:
            yield from self._settle(lane, call, data, in_loop=in_loop)
        entry = lane.entry
        assert entry is not None
        with self.lock:
            recorded = entry.steps.get(lane.cursor)
            if recorded is not None and recorded.call != call:
                recorded = self._reassign(lane, call) or recorded
            if recorded is not None and recorded.call != call:
                raise self._disagree(recorded, call, data, lane)
            self.progress += 1
            lane.calls.append(call)
            lane.cursor += 1
            if recorded is not None:
                recorded.handed = recorded.handed or not recorded.served
            return recorded

    def _disagree(self, recorded: Entry, call: Call, data: Any, lane: Lane) -> Stop:
        same_call = recorded.call[:2] == call[:2]
        kind = "different_args" if same_call else "different_call"
        what = (
            f"{call[0]} {call[1]!r} was recorded here with another input"
            if same_call
            else f"the code calls {call[0]} {call[1]!r} where {recorded.call[0]} {recorded.call[1]!r} was recorded"
        )
        return self.diverge(kind, recorded, call, data, lane.id, what)

    def _settle(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[None]:
        """Finds out which recorded lane a new lane is.

        If none matches but recorded ones are still missing, this may be a new lane, or a
        recorded one whose first call changed: nobody can tell until those have come.
        """
        above = lane.parent
        while above is not None and above.entry is None:
            above = above.parent
        assert above is not None and above.entry is not None
        parent = above.entry
        while True:
            self.check()
            with self.lock:
                match = next((c for c in parent.children if c.holder is None and c.matches([call])), None)
                missing = [c for c in parent.children if c.holder is None and c.binding]
                if match is None and (not missing or not in_loop and _loop_runs_here()):
                    match = self.journal.lane(lane.run, self._new_lane_id(parent))
                    parent.children.append(match)
                if match is not None:
                    match.holder = lane
                    lane.entry = match
                    self.progress += 1
                    self._wake()
                    return
                parked: Future[None] = Future()
                self._parked.append(parked)
            if not (yield from self._patience(parked)):
                first = missing[0].first
                raise self.diverge(
                    "different_args" if first is not None and first.call[:2] == call[:2] else "different_call",
                    first,
                    call,
                    data,
                    missing[0].id,
                    f"a lane begins with {call[0]} {call[1]!r} as none was recorded, and the recorded one did not come",
                )

    def _new_lane_id(self, parent: LaneEntry) -> str:
        number = len(parent.children)
        while (parent.run, f"{parent.id}.{number}") in self.journal.lanes:
            number += 1
        return f"{parent.id}.{number}"

    def _patience(self, parked: Future[None]) -> Steps[bool]:
        """Waits until something moves; False once nothing has moved for so long that nothing will."""
        while True:
            before = self.progress
            strangers = _tasks() - self.tasks_before - len(self._lanes)
            try:
                yield Wait(parked, STALLED_BY_STRANGERS if strangers > 0 else STALLED)
                return True
            except TimeoutError:
                if self.progress == before and not self.flying:
                    return False

    def _reassign(self, lane: Lane, call: Call) -> Entry | None:
        """Gives the lane another record that fits all it has asked: lanes that began alike are interchangeable."""
        entry = lane.entry
        if entry is None or lane.parent is None:
            return None
        wanted = [*lane.calls, call]
        siblings = next((p.children for p in self.journal.lanes.values() if entry in p.children), [])
        for other in siblings:
            holder = other.holder
            if other is entry or not other.matches(wanted):
                continue
            if holder is None or (holder.cursor <= lane.cursor and entry.matches(holder.calls)):
                entry.holder, other.holder = holder, lane
                lane.entry = other
                if holder is not None:
                    holder.entry = entry
                for ordinal in range(lane.cursor):
                    theirs = holder is not None and ordinal < holder.cursor
                    other.steps[ordinal].handed, entry.steps[ordinal].handed = True, theirs
                return other.steps[lane.cursor]
        return None

    def _wake(self) -> None:
        with self.lock:
            woken, self._parked = self._parked, []
            if self.poison is not None:
                woken += self._turns.values()
                self._turns = {}
        for future in woken:
            if not future.done():
                future.set_result(None)

    # --- handing on --------------------------------------------------------------------------------------------------

    def hand(self, entry: Entry, owner: Owner | None, *, in_loop: bool) -> Steps[None]:
        """Returns when it is this outcome's turn: within an event loop they are handed on in the log's order."""
        settled = -1
        while in_loop and not entry.handed:
            self.check()
            with self.lock:
                self._pass_handed()
                ahead = self.journal.handing[self._next_turn] if self._next_turn < len(self.journal.handing) else None
                if ahead is None or ahead.order >= entry.order:
                    if self._last_owner in (None, owner) or settled == self._handings:
                        break
                    settled = self._handings
                    waiting = None
                else:
                    waiting = self._turns.setdefault(entry.order, Future())
            if waiting is None:
                for _ in range(SETTLING):
                    yield Sleep(0)
            elif not (yield from self._patience(waiting)):
                with self.lock:
                    self._next_turn = max(self._next_turn, entry.order)  # what is ahead is not coming
        with self.lock:
            entry.handed = True
            self.progress += 1
            self._handings += 1
            self._last_owner = owner
            self._pass_handed()
            handing = self.journal.handing
            following = self._turns.pop(handing[self._next_turn].order, None) if self._next_turn < len(handing) else None
        if following is not None and not following.done():
            following.set_result(None)

    def _pass_handed(self) -> None:
        handing = self.journal.handing
        while self._next_turn < len(handing) and handing[self._next_turn].handed:
            self._next_turn += 1

    # --- calling the agent -------------------------------------------------------------------------------------------

    def owner_here(self, spec: AgentSpec) -> Owner | None:
        """Whose the first lane is: the calling code's; a sync agent in an event loop gets a thread, which will own it."""
        return None if not spec.is_async and _loop_runs_here() and self.in_loop else owner_here()

    def call(self, spec: AgentSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the agent's function: in a thread if it is a plain one and an event loop drives the run."""
        if self.in_loop and not spec.is_async:
            return asyncio.to_thread(spec.function, *args, **kwargs)
        return spec.function(*args, **kwargs)

    # --- writing -----------------------------------------------------------------------------------------------------

    def next_attempt(self, run: str, lane: str, ordinal: int) -> StepKey:
        with self.lock:
            identity = (run, lane, ordinal)
            self.attempts[identity] = self.attempts.get(identity, 0) + 1
            return StepKey(*identity, self.attempts[identity])

    def event(self, kind: str, key: str, value: dict[str, Any], *, operation: str = "insert") -> bytes:
        assert self.claim is not None
        return write_event(kind, key, value, claim=self.claim.number, operation=operation)

    def put(self, kind: str, key: str, value: dict[str, Any], *, packed: str | None = None, within: float | None = None) -> None:
        """Hands an event to the writer, its field `packed` with long lists stored once; does not wait."""
        writer = self._writer()
        try:
            if packed is None or packed not in value:
                writer.put(self.event(kind, key, value), within=within)
                return
            with self.packer.lock:
                data, fresh = self.packer.pack(value[packed])
                items = [self.event("item", fresh[0], {"items": fresh[1]})] if fresh is not None else []
                writer.put(*items, self.event(kind, key, {**value, packed: data}), within=within)
        except AgentStreamError as error:
            raise self.stop(error) from error

    def put_status(self, run: str, status: str) -> None:
        """Says how a run goes on; the one event that is updated."""
        writer = self._writer()
        try:
            writer.put(self.event("status", run, {"status": status}, operation="update"))
        except AgentStreamError as error:
            raise self.stop(error) from error

    def flush(self) -> Steps[None]:
        """Returns when everything put so far is durable."""
        try:
            yield from self._writer().durable()
        except AgentStreamError as error:
            raise self.stop(error) from error

    def _writer(self) -> Writer:
        if self.writer is None:
            raise self.stop(ReplayOffline(f"session {self.session!r}: a replay writes nothing"))
        return self.writer


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
