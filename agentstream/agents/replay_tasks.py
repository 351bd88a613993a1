"""Replaying what an engine keeps (a graph's thread): all its tasks' steps are watched as one.

An engine says which execution of a task the calling code is; each is a worker of its own. A
replay of the whole stops, serves and compares across them: steps are numbered as the
session's are, and only one thread at a time is asked what to do at a stop.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.divergence import Divergence, compare
from agentstream.agents.locations import raised_at
from agentstream.agents.replay_matching import KeepGoing, Ordered, lanes_for
from agentstream.agents.replay_options import Asked
from agentstream.agents.replay_watch import Stopped, Watch
from agentstream.sessions.positions import Position

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.agents.tasks import TaskWorker
    from agentstream.agents.worker import Worker
    from agentstream.sessions.state import State, Step


class Node(msgspec.Struct, frozen=True):
    """One task of an engine, as a breakpoint sees it: `data` is what it begins with, `begun` the cut before it."""

    name: str
    data: dict[str, Any]
    begun: int
    step: Step | None = None
    kind: str = "node"


class TaskReplay:
    """One replay. Raises ValueError for what cannot be asked of an engine's replay."""

    def __init__(self, asked: Asked, state: State) -> None:
        refuse(asked)
        self.keep_going = asked.keep_going
        self._asked = asked
        self._state = state
        self._watch = _Watch(asked, state)
        self._workers: list[TaskWorker] = []

    def take(self, worker: TaskWorker, end: int) -> TaskWorker:
        """A task's worker, made to replay as asked. `end` is the cut before what the task said came of it."""
        worker.watch = self._watch
        worker.end_index = end
        worker.lanes = lanes_for(worker, self._asked.match, keep_going=self._asked.keep_going)
        worker.journal.forgiving = self._asked.keep_going
        self._workers.append(worker)
        return worker

    def reached(self, node: Node) -> bool:
        """The engine comes to a task: whether the replay is to end before it."""
        return self._watch.reached_node(node)

    @property
    def stopped(self) -> Stopped | None:
        return self._watch.stopped

    @property
    def served(self) -> int:
        return sum(len(worker.served) for worker in self._workers)

    @property
    def drifts(self) -> tuple[Divergence, ...]:
        return tuple(
            drift for worker in self._workers if isinstance(worker.lanes, Ordered) for drift in worker.lanes.drifts
        )

    def notes(self) -> tuple[str, ...]:
        self._watch.notes.clear()
        self._watch.end()
        return tuple(self._watch.notes)

    def differences(self, worker: TaskWorker, *, whole: bool) -> list[Divergence]:
        """With `keep_going` how a task's steps differ from the record. `whole`: it has come to its end."""
        found = worker.lanes.differences(whole) if isinstance(worker.lanes, KeepGoing) else []
        return [msgspec.structs.replace(each, step_index=self._watch.number(each.before.index)) for each in found]

    def divergence(
        self, kind: str, index: int, lane: str, recorded: Any, actual: Any, error: BaseException | None = None
    ) -> Divergence:
        """What came of a task differs; `index` is the cut before what the record says of it."""
        code = raised_at(error) if error is not None else None
        return compare(position(self._state, index), self._watch.number(index), lane, kind, recorded, actual, code)


def refuse(asked: Asked) -> None:
    """Raises ValueError for options that mean nothing where an engine's tasks are replayed, and says what does."""
    why = {
        "run": "a thread's whole line of checkpoints is replayed, not one run of it",
        "input": "each superstep is replayed from its own checkpoint; call the graph with another input instead",
    }
    given = [name for name in why if getattr(asked, name) is not None]
    if given:
        raise ValueError(f"{given[0]}= cannot be asked of a graph: {why[given[0]]}")


def cut_of(state: State, at: Any, name: str) -> int:
    """The cut before a step of a session: by its number there, its Event, or a Position. `name` is the option's."""
    if isinstance(at, int) and not isinstance(at, bool):
        if at < 0:
            raise ValueError(f"{name}= counts the session's steps from 0, not {at}")
        steps = state.steps
        return steps[at].attempts[0].start.index if at < len(steps) else state.index + 1
    index = getattr(at, "index", None)
    if not isinstance(index, int) or isinstance(at, bool):
        raise TypeError(f"{name}= is the number of a step in the session, a step Event or a Position, not {at!r}")
    return index


def position(state: State, index: int) -> Position:
    """The cut at an event's index."""
    if index == 0:
        return Position(state.session, state.incarnation, 0)
    return state.events[index - 1].position


class _Watch(Watch):
    """Steps of all tasks, by their numbers in the session."""

    def __init__(self, asked: Asked, state: State) -> None:
        super().__init__(asked.break_, None, asked.on_break)
        self._state = state
        self._begun = {step.attempts[0].start.index: number for number, step in enumerate(state.steps)}
        self._cut = cut_of(state, asked.until, "until") if asked.until is not None else None
        self._one = threading.RLock()

    def number(self, index: int) -> int:
        """The number of the session's step that begins at an event; of none the number of those before it."""
        found = self._begun.get(index)
        return found if found is not None else sum(begun < index for begun in self._begun)

    def reached(self, worker: Worker, call: StepCall) -> None:
        with self._one:
            if self.stopped is not None:
                self._stop(worker, self.stopped)
            super().reached(worker, call)

    def reached_node(self, node: Node) -> bool:
        with self._one:
            number = self.number(node.step.attempts[0].start.index if node.step is not None else node.begun)
            why = [f"at event {self._cut}, as asked"] if self._cut is not None and node.begun >= self._cut else []
            asks = [each for each in self._breaks if self._holds(each, node, number, node.step)]
            if not why and not asks:
                return False
            reason = why[0] if why else f"break {asks[0].text}"
            seen = Stopped(
                number,
                node.kind,
                node.name,
                node.data,
                "0",
                position(self._state, node.begun),
                reason,
                None,
                node.step,
                self._state,
            )
            if not why and self._on_break is not None and self._on_break(seen) != "stop":
                return False
            self.stopped = seen
            return True

    def _number(self, worker: Worker, call: StepCall) -> int:
        return self.number(worker.before(call.entry).index)

    def _is_due(self, worker: Worker, call: StepCall, number: int) -> str | None:
        if self._cut is None or worker.before(call.entry).index < self._cut:
            return None
        return f"at event {self._cut}, as asked"
