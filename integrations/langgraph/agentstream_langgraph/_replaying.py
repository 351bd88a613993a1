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

from agentstream import Diverged, NotFound, Report
from agentstream.adapters import Call, Lane, State, Steps, TaskWorker, adrive, drive, fold, replay_by, same_place
from agentstream_langgraph._migrating import _same  # pyright: ignore[reportPrivateUsage]
from agentstream_langgraph._names import thread_of
from agentstream_langgraph._nodes import TASK, run_of
from agentstream_langgraph._saver import StreamSaver

if TYPE_CHECKING:
    from agentstream_langgraph._index import Stored
    from agentstream_langgraph._thread import Thread

NULL_TASK = "00000000-0000-0000-0000-000000000000"


class Difference(NamedTuple):
    """Where graph and record part: a task of a checkpoint (with its node, where that is told), and how."""

    checkpoint: str
    node: str
    what: str
    error: BaseException | None = None


class Replayed(NamedTuple):
    """What a replay found: how many supersteps ran again, how many steps were served, and the first difference."""

    supersteps: int
    steps: int
    difference: Difference | None = None

    @property
    def identical(self) -> bool:
        return self.difference is None


def replay(graph: Any, thread_id: str) -> Replayed:
    """Runs the supersteps of a thread's latest branch again, each from its checkpoint, and tells the first difference.

    `graph` is compiled with the StreamSaver that kept the thread. Steps are served from the record (model clients and
    tools, if they are recorded); nothing is written. Raises NotFound for a thread that is not there.
    """
    saver = _saver_of(graph)
    return drive(saver.client, _replaying(graph, saver, str(thread_id), in_loop=False))


async def areplay(graph: Any, thread_id: str) -> Replayed:
    """As `replay`, for graphs with async nodes."""
    saver = _saver_of(graph)
    return await adrive(saver.client, _replaying(graph, saver, str(thread_id), in_loop=True))


def _of_session(client: Any, session: str, graph: Any, *, in_loop: bool) -> Steps[Report] | None:
    """`session.replay(graph)` of a thread's session; None for what is no graph."""
    saver = getattr(graph, "checkpointer", None)
    if not isinstance(saver, StreamSaver):
        return None
    thread = thread_of(saver.prefix, session) if session.startswith(f"{saver.prefix}/") else None
    if thread is None or not same_place(saver.client, client):
        raise ValueError(f"session {session!r} is no thread of the graph's StreamSaver")
    return _reported(_replaying(graph, saver, thread, in_loop=in_loop))


def _reported(steps: Steps[Replayed]) -> Steps[Report]:
    found = yield from steps
    difference = found.difference
    if difference is None:
        return Report(True, None, found.steps, returned=True)
    error = difference.error if isinstance(difference.error, Exception) else None
    divergence = error.divergence if isinstance(error, Diverged) else None
    where = f"checkpoint {difference.checkpoint}" + (f", node {difference.node!r}" if difference.node else "")
    return Report(False, None, found.steps, divergence, (f"{where}: {difference.what}",), error)


class _Record(NamedTuple):
    saver: StreamSaver
    thread: Thread
    id: str
    state: State


def _saver_of(graph: Any) -> StreamSaver:
    saver = getattr(graph, "checkpointer", None)
    if not isinstance(saver, StreamSaver):
        raise TypeError("replay takes a graph that was compiled with the StreamSaver which kept the thread")
    return saver


def _replaying(graph: Any, saver: StreamSaver, thread_id: str, *, in_loop: bool) -> Steps[Replayed]:
    thread = saver.thread(thread_id)
    log = yield from thread.record()
    last = thread.index.find("", None)
    if log is None or last is None:
        raise NotFound(f"there is no thread {thread_id!r} to replay")
    record = _Record(saver, thread, thread_id, fold(log))
    line = [last, *thread.index.ancestors(last)][::-1]
    supersteps = served = 0
    for above, below in pairwise(line):
        if below.head.get("source") != "loop":
            continue  # an input, or somebody's update: no code made it
        if {write.order[0].rpartition(", ")[2] for write in thread.index.pending(above.place)} <= {"__start__"}:
            continue  # nor this, the input handed on
        offline = yield Call(partial(_Offline, record, above))
        error = yield from _again(graph.copy({"checkpointer": offline}), offline, in_loop)
        supersteps += 1
        found = offline.difference(error)
        served += offline.served
        if found is not None:
            return Replayed(supersteps, served, found)
    return Replayed(supersteps, served)


def _again(graph: Any, offline: _Offline, in_loop: bool) -> Steps[Exception | None]:
    """Runs one superstep; what it raised."""
    call = graph.ainvoke if in_loop else graph.invoke
    try:
        yield Call(lambda: call(None, offline.latest, interrupt_after="*", durability="sync"))
    except Exception as error:
        return error
    return None


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

    @property
    def served(self) -> int:
        return sum(len(worker.served) for worker in self._workers.values())

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
            worker = self._workers[task] = self._record.thread.replayed(run, self._record.state)
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

    def difference(self, error: BaseException | None) -> Difference | None:
        """How what was written differs from the record."""
        if error is not None:
            return self._differs("", f"{type(error).__name__}: {error}", error)
        for worker in self._workers.values():
            try:
                worker.end(whole=True)
            except Exception as stopped:
                return self._differs("", f"{type(stopped).__name__}: {stopped}", stopped)
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
                return self._differs(task, "the graph does not come to this task")
            if [channel for channel, _ in now[task]] != [channel for channel, _ in recorded]:
                was, goes = ([channel for channel, _ in writes] for writes in (recorded, now[task]))
                return self._differs(task, f"it writes to {goes}, recorded was {was}")
            for (channel, before), (_, after) in zip(recorded, now[task], strict=True):
                if not _alike(before, after):
                    return self._differs(task, f"to {channel!r} it writes {after!r:.300}, recorded was {before!r:.300}")
        extra = next((task for task in now if task not in self._recorded), None)
        return self._differs(extra, "the record does not have this task") if extra is not None else None

    def _differs(self, task: str, what: str, error: BaseException | None = None) -> Difference:
        node = self._paths.get(task, "").rpartition(", ")[2]
        return Difference(self._root, node, what, error)


def _alike(before: Any, after: Any) -> bool:
    """Whether two values are equal; but for the ids of messages, which chance gives, unless one is to be removed."""
    if isinstance(before, BaseMessage) and isinstance(after, BaseMessage):
        out = set() if isinstance(before, RemoveMessage) else {"id"}
        return type(before) is type(after) and _same(before.model_dump(exclude=out), after.model_dump(exclude=out))
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)) and len(before) == len(after):
        return all(map(_alike, before, after))
    return _same(before, after)


__all__ = ["Difference", "Replayed", "areplay", "replay"]


replay_by(_of_session)
