"""Steps in code that an engine runs by itself: a graph's node, say.

Nobody enters such code as `session.run` does. Where a step is called and no run is about, the
engine's integration is asked which task this is (`finder`); the task's steps are served from
the record of its key, and written under the engine's claim. What an engine calls, it catches
as an `Exception`: stops are of the public class here, beside being stops.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from agentstream.agents.alone import nobody_else
from agentstream.agents.context import Lane, caller_here
from agentstream.agents.saying import tell_rest
from agentstream.agents.stops import Stop
from agentstream.agents.worker import Worker
from agentstream.errors import AgentStreamError

if TYPE_CHECKING:
    from agentstream.agents.journal import Entry
    from agentstream.agents.writer import Message, Writer
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.claims import Claim
    from agentstream.sessions.core import Core
    from agentstream.sessions.packing import Packer
    from agentstream.sessions.positions import Position
    from agentstream.sessions.state import State


Replayer = Callable[..., "Steps[Any] | None"]
Based = Callable[[], "Steps[None]"]

replayers: list[Replayer] = []
"""Engines that replay what they keep: given the client or session handle, the session's id, what is to be
replayed and how (`Asked`), the steps of doing it; None for what is none of theirs."""

resumers: list[Replayer] = []
"""Engines that go on with what they keep: given the session handle, its id and what goes on, as `replayers`."""


class TaskWorker(Worker):
    """One execution of a task's code. Every thread and asyncio task of it is a lane of its own: the engine does not say
    which of them is the first."""

    found = True

    end_index: int | None = None
    """In a replay: the cut before what the task said came of it."""

    def __init__(
        self,
        core: Core,
        session: str,
        state: State,
        run: str,
        claim: Claim | None = None,
        writer: Writer | None = None,
        packer: Packer | None = None,
        *,
        engine: frozenset[str] = frozenset(),
        based: Based | None = None,
    ) -> None:
        """Without a claim and its writer: a replay. `engine`: top names of the modules that run the code. `based`:
        what must be on its way to the log before a step counts as durable, or nobody finds its record again."""
        shared: Any = _Shared(writer, based) if writer is not None else None
        self._holding = threading.RLock()
        self._held: list[Callable[[], None]] = []
        """What code did that was being cancelled."""
        self._cancelled_before: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        super().__init__(core, session, state, run, claim=claim, writer=shared)
        if packer is not None:
            self.packer = packer
        self.progress.alone = lambda: nobody_else(engine)

    @property
    def record_is_whole(self) -> bool:
        """Whether nothing can come after what is recorded: what is replayed has ended."""
        return self.replaying

    def lane(self) -> Lane:
        """The lane of the calling code."""
        caller = caller_here()
        self._cancelled_before.setdefault(caller, _cancellations(caller))
        return self.lanes.opened_from(self.root, caller)

    def put(self, kind: str, key: str, value: dict[str, Any], **options: Any) -> None:
        """What code does that is being cancelled is written when it goes on, or comes to its end.

        An engine cancels tasks (beside one that failed, say) that it executes anew: with a recorded cancellation they
        would then wait to be cancelled again, for ever.
        """
        put = partial(super().put, kind, key, value, **options)
        caller = caller_here()
        with self._holding:
            leaves = _cancellations(caller) > self._cancelled_before.get(caller, 0)
            if leaves and value.get("effect") != "once":
                self._held.append(put)
            else:
                self._release()
                put()

    def _release(self) -> None:
        held, self._held = self._held, []
        for put in held:
            put()

    def end(self, *, whole: bool) -> None:
        """The code is over. Raises what stopped it, and Diverged where it left out (`whole`) what was recorded."""
        if self.ended:
            return
        if self.unplaced and not self.replaying and self.poison is None:
            tell_rest(self)
        self.leave_open_calls()
        if whole and self.poison is None:
            with self._holding:
                self._release()
        self.ended = True
        self.raise_stop()
        left = self.journal.left() if whole else []
        if left:
            call = left[0].call
            what = f"the task ended without calling {call[0]} {call[1]!r}, which was recorded"
            raise self.diverge("missing_call", left[0], None, None, left[0].lane, what)

    def before(self, entry: Entry | None) -> Position:
        if entry is None and self.end_index:
            return self.state.events[self.end_index - 1].position
        return super().before(entry)

    def stop(self, error: Exception) -> Stop:
        return _stopping(super().stop(error).error)

    def raise_stop(self) -> None:
        if isinstance(self.poison, Exception):
            raise _stopping(self.poison)
        super().raise_stop()


class _Shared:
    """The engine's writer, which one task's end is no end of."""

    def __init__(self, writer: Writer, based: Based | None) -> None:
        self._writer = writer
        self._based = based

    @property
    def backend(self) -> Backend:
        return self._writer.backend

    @property
    def crowded(self) -> bool:
        return self._writer.crowded

    def put(self, *messages: Message, within: float | None = None) -> None:
        self._writer.put(*messages, within=within)

    def durable(self) -> Steps[None]:
        if self._based is not None:
            yield from self._based()
        yield from self._writer.durable()

    def discard(self) -> None:
        """What others have put stays."""


def _cancellations(caller: Any) -> int:
    """How often an asyncio task was cancelled without an end to that; 0 on Python 3.10, which does not tell."""
    told = getattr(caller, "cancelling", None)
    return told() if told is not None else 0


@lru_cache(maxsize=64)
def _class_of(error: type[Exception]) -> type[Stop]:
    def __init__(self: Any, error: Exception) -> None:
        BaseException.__init__(self, *error.args)
        self.__dict__.update(error.__dict__)
        self.error = error

    return type(error.__name__, (Stop, error), {"__init__": __init__, "__module__": error.__module__})


def _stopping(error: Exception) -> Stop:
    if not isinstance(error, AgentStreamError):
        return Stop(error)
    stop = _class_of(type(error))(error)
    stop.__cause__ = error.__cause__
    return stop
