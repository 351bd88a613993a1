"""`replay`: a thread's supersteps run again, each from its own checkpoint, and what they write is compared.

Nothing is written and no step is made: nodes run, steps are served. What a node calls without
a step it calls again.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import BaseMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from agentstream import Client, Diverged, Divergence, NotFound, ReplayOffline, Report
from agentstream.adapters import (
    Call,
    Lane,
    State,
    Steps,
    TaskWorker,
    adrive,
    drive,
    fold,
    replay_by,
    same_place,
)
from agentstream_langgraph._migrating import _same  # pyright: ignore[reportPrivateUsage]
from agentstream_langgraph._names import thread_of
from agentstream_langgraph._nodes import TASK, run_of
from agentstream_langgraph._people import error_of, form
from agentstream_langgraph._saver import StreamSaver
from agentstream_langgraph._working import START

if TYPE_CHECKING:
    from agentstream.adapters.replaying import Asked, Node, Stopped, TaskReplay
    from agentstream_langgraph._index import Stored
    from agentstream_langgraph._thread import Thread

NULL_TASK = "00000000-0000-0000-0000-000000000000"

HIDDEN = ("__", "branch:to:")
"""What channels that are LangGraph's own begin with."""

_OUTPUT = "different_output"


class Difference(NamedTuple):
    """Where graph and record part: a task of a checkpoint (with its node, where that is told), and how."""

    checkpoint: str
    node: str
    what: str
    error: BaseException | None = None
    divergence: Divergence | None = None


class Replayed(NamedTuple):
    """What a replay found: how many supersteps ran again, how many steps were served, and the first difference."""

    supersteps: int
    steps: int
    difference: Difference | None = None

    @property
    def identical(self) -> bool:
        return self.difference is None


class _Found(NamedTuple):
    """What a replay as it was asked for found."""

    supersteps: int
    replay: TaskReplay
    differences: list[Difference]
    stopped: Stopped | None
    result: Any = None
    """What the last superstep left of the graph's state."""

    def replayed(self) -> Replayed:
        return Replayed(self.supersteps, self.replay.served, next(iter(self.differences), None))

    def report(self) -> Report:
        first = next(iter(self.differences), None)
        error = first.error if first is not None and isinstance(first.error, Exception) else None
        every = tuple(each.divergence for each in self.differences if each.divergence is not None)
        return Report(
            first is None,
            self.result,
            self.replay.served,
            next(iter(every), None),
            (*map(_told, self.differences), *self.replay.notes()),
            error,
            returned=self.stopped is None and first is None,
            stopped=self.stopped,
            divergences=every if self.replay.keep_going else (),
            drifts=self.replay.drifts,
        )


def replay(graph: Any, thread_id: str) -> Replayed:
    """Runs the supersteps of a thread's latest branch again, each from its checkpoint, and tells the first difference.

    `graph` is compiled with the StreamSaver that kept the thread. Steps are served from the record (model clients and
    tools, if they are recorded); nothing is written. Raises NotFound for a thread that is not there.
    """
    saver = _saver_of(graph)
    return drive(saver.client, _replaying(graph, saver, str(thread_id), _plain(), in_loop=False)).replayed()


async def areplay(graph: Any, thread_id: str) -> Replayed:
    """As `replay`, for graphs with async nodes."""
    saver = _saver_of(graph)
    return (await adrive(saver.client, _replaying(graph, saver, str(thread_id), _plain(), in_loop=True))).replayed()


def _plain() -> Asked:
    from agentstream.adapters.replaying import Asked

    return Asked()


def _of_session(client: Any, session: str, graph: Any, asked: Asked, *, in_loop: bool) -> Steps[Report] | None:
    """`session.replay(graph)` of a thread's session; None for what is no graph."""
    found = thread_here(client, session, graph, anywhere=asked.live_from is None)
    if found is None:
        return None
    from agentstream.adapters.replaying import tried
    from agentstream_langgraph._running_on import run_on

    if asked.live_from is not None:
        return tried(asked, lambda number: run_on(graph, *found, session, asked, number, in_loop=in_loop))
    return tried(asked, lambda _: _reported(_replaying(graph, *found, asked, in_loop=in_loop)))


def thread_here(client: Any, session: str, graph: Any, *, anywhere: bool = False) -> tuple[StreamSaver, str] | None:
    """The saver of a graph and the thread that a session is; None for what is no graph of ours.

    `anywhere`: the session may be in another store than the graph's (an export, opened in memory): then it is a saver
    for that one.
    """
    saver = getattr(graph, "checkpointer", None)
    if not isinstance(saver, StreamSaver):
        return None
    thread = thread_of(saver.prefix, session) if session.startswith(f"{saver.prefix}/") else None
    if thread is not None and anywhere and not same_place(saver.client, client):
        there = Client._over(client._core)  # pyright: ignore[reportPrivateUsage]
        saver = StreamSaver(there, prefix=saver.prefix, serde=saver.serde)
    elif thread is None or not same_place(saver.client, client):
        raise ValueError(f"session {session!r} is no thread of the graph's StreamSaver")
    return saver, thread


def _reported(steps: Steps[_Found]) -> Steps[Report]:
    return (yield from steps).report()


def _told(difference: Difference) -> str:
    where = f"checkpoint {difference.checkpoint}" + (f", node {difference.node!r}" if difference.node else "")
    return f"{where}: {difference.what}"


class _Record(NamedTuple):
    saver: StreamSaver
    thread: Thread
    id: str
    state: State
    replay: TaskReplay


def _saver_of(graph: Any) -> StreamSaver:
    saver = getattr(graph, "checkpointer", None)
    if not isinstance(saver, StreamSaver):
        raise TypeError("replay takes a graph that was compiled with the StreamSaver which kept the thread")
    return saver


def _replaying(graph: Any, saver: StreamSaver, thread_id: str, asked: Asked, *, in_loop: bool) -> Steps[_Found]:
    from agentstream.adapters.replaying import TaskReplay  # for debugging: imported when it is done

    thread = saver.thread(thread_id)
    log = yield from thread.record()
    last = thread.index.find("", None)
    if log is None or last is None:
        raise NotFound(f"there is no thread {thread_id!r} to replay")
    state = fold(log)
    record = _Record(saver, thread, thread_id, state, TaskReplay(asked, state))
    line = [last, *thread.index.ancestors(last)][::-1]
    supersteps, found, result = 0, list[Difference](), None
    for above, below in pairwise(line):
        if below.head.get("source") != "loop":
            continue  # an input, or somebody's update: no code made it
        if {write.order[0].rpartition(", ")[2] for write in thread.index.pending(above.place)} <= {START}:
            continue  # nor this, the input handed on
        offline = yield Call(partial(_Offline, record, above))
        if any(record.replay.reached(node) for node in offline.nodes()):
            break
        result, error = yield from _again(graph.copy({"checkpointer": offline}), offline, in_loop)
        if record.replay.stopped is not None:
            break
        supersteps += 1
        found += offline.differences(error)
        if found and not asked.keep_going:
            break
    return _Found(supersteps, record.replay, found, record.replay.stopped, result)


def _again(graph: Any, offline: _Offline, in_loop: bool) -> Steps[tuple[Any, Exception | None]]:
    """Runs one superstep; what it left of the state, and what it raised."""
    call = graph.ainvoke if in_loop else graph.invoke
    try:
        left = yield Call(lambda: call(None, offline.latest, interrupt_after="*", durability="sync"))
    except Exception as error:
        return None, error
    asks = isinstance(left, dict) and "__interrupt__" in left
    return {name: value for name, value in left.items() if name != "__interrupt__"} if asks else left, None


class _Offline(InMemorySaver):
    """Keeps one superstep that runs again: it begins as the recorded one did, and knows what that wrote."""

    def __init__(self, record: _Record, above: Stored) -> None:
        super().__init__(serde=record.saver.serde)
        self._record = record
        self._workers: dict[str, TaskWorker] = {}
        self._nested: dict[tuple[str, str], list[str]] = {}
        self.config: Any = {"configurable": {"thread_id": record.id, "checkpoint_ns": "", "checkpoint_id": above.id}}
        held = record.saver.get_tuple(self.config)
        assert held is not None
        self._root = above.id
        self._above = above
        self._values = held.checkpoint["channel_values"]
        self._paths = {write.order[1]: write.order[0] for write in record.thread.index.pending(above.place)}
        self._recorded: dict[str, list[tuple[str, Any]]] = {}
        given: dict[str, list[tuple[str, Any]]] = {}
        for task, channel, value in held.pending_writes or ():
            resumes = channel == RESUME
            if (task == NULL_TASK) != resumes:  # what a Command said, and what each task was resumed with
                given.setdefault(task, []).append((channel, value))
            if task != NULL_TASK and not resumes:
                self._recorded.setdefault(task, []).append((channel, value))
        # without an id: to go on from a checkpoint that is named would be a fork, whose tasks have other ids
        self.latest: Any = {"configurable": {"thread_id": record.id, "checkpoint_ns": ""}}
        self.put(self.latest, held.checkpoint, held.metadata, held.checkpoint["channel_versions"])
        for task, writes in given.items():
            super().put_writes(self.config, writes, task)

    def nodes(self) -> list[Node]:
        """What the superstep calls, as a breakpoint sees it."""
        from agentstream.adapters.replaying import Node

        given = {name: form(value) for name, value in self._values.items() if not name.startswith(HIDDEN)}
        steps = self._record.state.steps
        told = {step.attempts[0].start.index: step for step in steps if step.kind == "node"}
        first: dict[str, int] = {}
        for step in steps:
            first.setdefault(step.run, step.attempts[0].start.index)
        found: list[Node] = []
        for task in self._recorded:
            if self._name(task) == START:
                continue
            end, step = self._end(task), told.get(self._end(task))
            # what is stored in the background may come after what was done meanwhile
            begun = min(self._above.index + 1, end, first.get(run_of(self._root, task), end))
            found.append(Node(step.name if step else self._name(task), given, begun, step))
        return found

    def _name(self, task: str) -> str:
        return self._paths.get(task, "").rpartition(", ")[2]

    def _end(self, task: str) -> int:
        """The cut before what a task said came of it; of one that is not recorded, after the superstep began."""
        return self._record.thread.index.told.get((self._above.place, task), self._above.index + 1)

    def get_delta_channel_history(self, *, config: Any, channels: Any) -> Any:
        """What ancestors wrote is in the record."""
        return self._record.saver.get_delta_channel_history(config=config, channels=channels)

    async def aget_delta_channel_history(self, *, config: Any, channels: Any) -> Any:
        return await self._record.saver.aget_delta_channel_history(config=config, channels=channels)

    # --- steps -------------------------------------------------------------------------------------------------------

    def replayed_lane(self, named: Any, held: Lane | None) -> Lane:
        """The lane of a task that runs again."""
        task = named[TASK]
        worker = self._workers.get(task)
        if worker is None:
            run = self._run(task, str(named.get("checkpoint_ns") or ""))
            worker = self._record.thread.replayed(run, self._record.state)
            self._workers[task] = self._record.replay.take(worker, self._end(task))
        return held if held is not None and held.worker is worker else worker.lane()

    def _run(self, task: str, ns: str) -> str:
        """What the steps of a task were recorded under. A subgraph's checkpoints have new ids, and so have its tasks:
        they are known by their nodes, in the order in which they made steps."""
        run = run_of(self._root, task)
        index = self._record.thread.index
        if run in index.stepped or "|" not in ns:
            return run
        path = tuple(part.partition(":")[0] for part in ns.split("|"))
        waiting = self._nested.get(("|".join(path), ""))
        if waiting is None:
            waiting = self._nested["|".join(path), ""] = self._recorded_below(path)
        return waiting.pop(0) if waiting else run

    def _recorded_below(self, path: tuple[str, ...]) -> list[str]:
        index, found = self._record.thread.index, []
        for (ns, _), writes in index.writes.items():
            above = tuple(part.partition(":")[0] for part in ns.split("|")) if ns else ()
            for task, _ in writes:
                run = run_of(self._root, task)
                node = next(iter(writes.values())).order[0].rpartition(", ")[2]
                if run in index.stepped and (*above, node) == path and run not in found:
                    found.append(run)
        return found

    # --- comparing ---------------------------------------------------------------------------------------------------

    def differences(self, error: BaseException | None) -> list[Difference]:
        """How steps, and what was written, differ from the record: the first of it, or all."""
        replay = self._record.replay
        made = [
            Difference(self._root, self._name(task), _of_step(each), None, each)
            for task, worker in self._workers.items()
            for each in replay.differences(worker, whole=error is None)
        ]
        found = self._first(error)
        if found is not None and not (made and isinstance(found.error, (Diverged, ReplayOffline))):
            made.append(found)
        return made

    def _first(self, error: BaseException | None) -> Difference | None:
        if error is not None:
            return self._raised(error)
        for worker in self._workers.values():
            try:
                worker.end(whole=True)
            except Exception as stopped:
                return self._raised(stopped)
        now: dict[str, list[tuple[str, Any]]] = {}
        held = self.get_tuple(self.config)
        for task, channel, value in (held.pending_writes or ()) if held is not None else ():
            if task != NULL_TASK and channel != RESUME:
                now.setdefault(task, []).append((channel, value))
        for task, recorded in self._recorded.items():
            if any(channel in (ERROR, INTERRUPT) for channel, _ in recorded):
                recorded = [write for write in recorded if write[0] not in (ERROR, INTERRUPT)]
                if not recorded:
                    continue  # it came to nothing, and another task took its place
            if task not in now:
                return self._differs(task, "the graph does not come to this task", "missing_call", recorded, None)
            if [channel for channel, _ in now[task]] != [channel for channel, _ in recorded]:
                was, goes = ([channel for channel, _ in writes] for writes in (recorded, now[task]))
                return self._differs(task, f"it writes to {goes}, recorded was {was}", _OUTPUT, recorded, now[task])
            for (channel, before), (_, after) in zip(recorded, now[task], strict=True):
                if not alike(before, after):
                    what = f"to {channel!r} it writes {after!r:.300}, recorded was {before!r:.300}"
                    return self._differs(task, what, _OUTPUT, [(channel, before)], [(channel, after)])
        extra = next((task for task in now if task not in self._recorded), None)
        if extra is None:
            return None
        return self._differs(extra, "the record does not have this task", "extra_call", None, now[extra])

    def _differs(self, task: str, what: str, kind: str, was: Any, now: Any) -> Difference:
        sides = (_shown(writes) for writes in (was, now))
        divergence = self._record.replay.divergence(kind, self._end(task), "0", *sides)
        return Difference(self._root, self._name(task), what, None, divergence)

    def _raised(self, error: BaseException) -> Difference:
        """What stopped a step says where; of another one it is not told which node raised it."""
        divergence = error.divergence if isinstance(error, Diverged) else None
        if not isinstance(error, (Diverged, ReplayOffline)):
            at, said = self._above.index + 1, error_of(error)
            divergence = self._record.replay.divergence("raised", at, "0", None, said, error)
        return Difference(self._root, "", f"{type(error).__name__}: {error}", error, divergence)


def _of_step(divergence: Divergence) -> str:
    call = divergence.actual or divergence.recorded or {}
    return f"{divergence.kind.replace('_', ' ')}: {call.get('kind')} {call.get('name')}"


def _shown(writes: Any) -> Any:
    """What a task writes, as a report shows it: without the ids of messages, which chance gives."""
    if writes is None:
        return None
    shown: dict[str, Any] = {}
    for channel, value in writes:
        shown[channel] = form(_unnamed(value))
    return shown


def _unnamed(value: Any) -> Any:
    if isinstance(value, BaseMessage) and not isinstance(value, RemoveMessage):
        return {name: part for name, part in value.model_dump(exclude={"id"}).items() if part not in (None, {}, [])}
    return [_unnamed(part) for part in value] if isinstance(value, (list, tuple)) else value


def alike(before: Any, after: Any) -> bool:
    """Whether two values are equal; but for the ids of messages, which chance gives, unless one is to be removed."""
    if isinstance(before, BaseMessage) and isinstance(after, BaseMessage):
        out = set() if isinstance(before, RemoveMessage) else {"id"}
        return type(before) is type(after) and _same(before.model_dump(exclude=out), after.model_dump(exclude=out))
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)) and len(before) == len(after):
        return all(map(alike, before, after))
    return _same(before, after)


__all__ = ["Difference", "Replayed", "areplay", "replay"]


replay_by(_of_session)
