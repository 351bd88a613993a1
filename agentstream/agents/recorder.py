"""Writing a session without a run: for an engine that has its own idea of what one execution is.

A `Recorder` is one process's hold on one session. It reads the log, takes a claim when the
engine says that it begins to work, and appends under that claim, from any thread and loop.
What a claim is good for is the engine's to judge: `check` looks at the log before the claim
is made and again once it stands, and may raise; what it returns is said in the claim, so that
whoever was overtaken can judge by the same rule.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentstream.agents.writer import Writer
from agentstream.errors import Fenced, NotFound
from agentstream.sessions.claims import release, win
from agentstream.sessions.events import user_value, write_event
from agentstream.sessions.history import reading
from agentstream.sessions.packing import Packer
from agentstream.sessions.state import State, fold
from agentstream.sessions.writing import open_or_create

if TYPE_CHECKING:
    from agentstream.agents.deltas import Deltas
    from agentstream.agents.tasks import Based, TaskWorker
    from agentstream.backends.driving import Steps
    from agentstream.sessions.claims import Claim
    from agentstream.sessions.core import Core
    from agentstream.sessions.events import Event
    from agentstream.sessions.log import Log
    from agentstream.sessions.redaction import Rules

STEP_ITEMS = 1 << 32
"""Item numbers from here on are those of steps made in an engine's tasks; below are the engine's own."""

SOON = 0.05
"""Seconds within which an event is written that nobody waits for."""

HELD = "held"
"""What a claim says whose maker keeps the lease until it lets go: it is not taken over while that one lives."""

Check = Callable[["Log"], Mapping[str, Any]]
Change = tuple[str, str, dict[str, Any]]
"""An event to be written: type, key and value, the value in its recorded form."""


class Hold:
    """A claim that this process won, and its appends. Hold `lock` around numbering and `put`, so that what is
    referred to comes before what refers to it."""

    def __init__(self, writer: Writer, claim: Claim, rules: Rules) -> None:
        self.claim = claim
        self.number = claim.number
        self.lock = threading.RLock()
        self.packer = Packer(claim.number, first=STEP_ITEMS)
        """For what steps write: they share one writer, so they share one numbering."""
        self.rules = rules
        """What is taken out of what is written. `put` looks for their patterns alone: what is in a form of the engine's
        own must have been redacted before."""
        self._writer = writer
        self._process = os.getpid()

    @property
    def ours(self) -> bool:
        """False in a process that was forked: a claim has one owner."""
        return self._process == os.getpid()

    def put(self, *changes: Change, untimed: Collection[str] = ()) -> None:
        """Takes events along with the next append, in this order. Raises what an earlier append failed with.

        `untimed`: keys of events that say themselves when it was, and need no timestamp beside."""
        after = ((kind, key, self.rules.overwritten(value)) for kind, key, value in changes)
        self._writer.put(*(write_event(*change, claim=self.number, timed=change[1] not in untimed) for change in after))

    def put_soon(self, change: Change, *, operation: str = "insert") -> None:
        """Takes an event along with the next append, which comes soon; nobody waits for it."""
        kind, key, value = change
        message = write_event(kind, key, self.rules.overwritten(value), claim=self.number, operation=operation)
        self._writer.put(message, within=SOON)

    def deltas(self, source: str, attempt: int = 1) -> Deltas:
        """What the step of this key says while it goes on."""
        from agentstream.agents.deltas import Deltas

        return Deltas(self._writer, self.rules, self.number, source, attempt)

    def durable(self) -> Steps[None]:
        """Returns when everything put until now is durable. Raises Fenced, StoreError."""
        return self._writer.durable()


class Recorder:
    """One session, read and written by this process. Safe to share between threads and loops."""

    def __init__(self, core: Core, session: str) -> None:
        self.session = session
        self._core = core
        self._hold: Hold | None = None

    @property
    def hold(self) -> Hold | None:
        """The claim in use, if one was taken and nothing went wrong with it."""
        hold = self._hold
        return hold if hold is not None and hold.ours else None

    def read(self) -> Steps[Log | None]:
        """The log as it is now, shared: change nothing. None if there is no such session."""
        return self._core.refresh(self.session)

    def take(self, check: Check, *, keep: bool = False, take_over: bool = False) -> Steps[Hold]:
        """Takes the session, from a living worker too; makes it where there is none. One at a time, by the caller.

        `keep`: the lease is held until `let_go`, as a run does; nobody takes the session from its living holder,
        who gets SessionBusy; `take_over` does.
        """
        log = yield from open_or_create(self._core, self.session)
        said = check(log)
        last = log.count.claims[-1] if log.count.claims else None
        held = last is not None and last.value.get(HELD) is True
        claim = yield from win(
            log, take_over=take_over or not (keep or held), said={**said, **({HELD: True} if keep else {})}
        )
        if not keep:
            yield from release(claim)  # nobody says when the work is over: it is the log that fences
        try:
            check(log)
        except BaseException:
            if keep:
                yield from release(claim)
            raise
        self._hold = Hold(Writer(self._core.backend, self.session, claim), claim, self._core.rules)
        return self._hold

    def form(self, kind: str, value: Mapping[str, Any], log: Log) -> Steps[dict[str, Any]]:
        """A user's value as an event of this type stores it: redacted, and what is large of it kept already.

        `log` is the session's, as `take` shows it to `check`. Raises NotSerializable, StoreError.
        """
        from agentstream.sessions.large import kept

        stored = self._core.rules.event(kind, user_value(kind, value))
        return (yield from kept(self._core.blobs, kind, stored, log.births))

    def let_go(self, hold: Hold) -> Steps[None]:
        """Gives back a lease that was kept. The claim stays in use."""
        yield from release(hold.claim)

    def task(
        self,
        hold: Hold,
        run: str,
        log: Log,
        *,
        lives: Sequence[Event] | None = None,
        engine: frozenset[str] = frozenset(),
        based: Based | None = None,
    ) -> Steps[TaskWorker]:
        """Code under `hold` whose steps are recorded under `run`; its calls find it by `adapters.find_tasks_by`.

        `lives`: where `log` holds no step of it, its `session` and `rewind` events are enough. `engine`: top names
        of the modules that run the code, which make no steps themselves. `based`: waits until what the task hangs on
        is on its way to the log; no step of it returns before.
        """
        from agentstream.agents.tasks import TaskWorker

        state = fold(log) if lives is None else State(log.session, log.incarnation, lives)
        if lives is None:
            yield from reading(state.events, state.first_of(run))
        ours = (hold.claim, hold._writer, hold.packer)
        return TaskWorker(self._core, self.session, state, run, *ours, engine=engine, based=based)

    def replayed(self, run: str, state: State) -> TaskWorker:
        """Code that is replayed: its steps are served from what `state` has of `run`, and none is made."""
        from agentstream.agents.tasks import TaskWorker

        return TaskWorker(self._core, self.session, state, run)

    def drop(self, hold: Hold) -> None:
        """Uses the claim no more."""
        if self._hold is hold:
            self._hold = None

    def overtakers(self, hold: Hold) -> Steps[tuple[Log, list[Event]]]:
        """The log, and the claims that were won after `hold`'s. Raises Fenced if the session was deleted."""
        log = yield from self._core.refresh(self.session)
        if log is None:
            raise Fenced(f"session {self.session!r} was deleted while it was being written; nothing more is recorded")
        return log, [event for event in log.count.claims if (event.claim or 0) > hold.number]

    def delete(self) -> Steps[bool]:
        """Deletes the session; False if there was none."""
        from agentstream.sessions.settling import delete

        self._hold = None
        try:
            yield from delete(self._core, self.session)
        except NotFound:
            return False
        return True
