"""Steps in nodes and `@task`s: which task of which thread the calling code is, from LangGraph's own config.

A task's steps are recorded under `<root checkpoint>:<task id>`. When the task is executed
again (after a crash, an interrupt, an error that is retried), it is served from there.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from agentstream import AgentStreamError
from agentstream.adapters import Lane, Steps, TaskWorker, drive, find_tasks_by
from agentstream_langgraph._arriving import RUNTIME, puts

if TYPE_CHECKING:
    from agentstream_langgraph._steps import SaverSteps
    from agentstream_langgraph._thread import Thread

TASK, SAVER, SEND = "__pregel_task_id", "__pregel_checkpointer", "__pregel_send"
MAP = "checkpoint_map"

REMEMBERED = 4096
"""Tasks that are known to have ended: one that ended may say so again."""


def run_of(root: str, task: str) -> str:
    """The key under which the steps of a task are recorded."""
    return f"{root}:{task}"


def is_run(config: Any) -> bool:
    """Whether a checkpoint is loaded by a graph that begins to work, and not by somebody who looks (`get_state`), maybe
    from inside of a node."""
    named = (config or {}).get("configurable") or {}
    return RUNTIME in named and TASK not in named


class Tasks:
    """The tasks of one process that make steps. One execution is known by the deque its writes go to, and by its
    attempt: nothing else of it is LangGraph's to tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[tuple[str, str], tuple[int, TaskWorker]] = {}
        """By session and run: the execution's mark, and its worker."""
        self._gone: dict[int, Any] = {}
        self._left: deque[tuple[tuple[str, str], TaskWorker]] = deque()
        self._stopped: dict[tuple[str, str], BaseException] = {}
        """What tasks on a root checkpoint were stopped by."""
        self._done: dict[tuple[str, str], None] = {}
        """Tasks that came to their end."""

    def worker(
        self, thread: Thread, client: Any, run: str, root: str, writes: Any, attempt: int, *, kept: bool
    ) -> TaskWorker:
        key, mark = (thread.session, run), hash((id(writes), attempt))
        with thread.working:  # others' tasks are not kept waiting for this one's record
            with self._lock:
                self._tidy()
                held = self._workers.get(key)
            if held is not None and held[0] == mark and not held[1].ended:
                return held[1]
            if held is not None:
                held[1].ended = True
            made = drive(client, thread.task(run, root, kept=kept))
            with self._lock:
                self._workers[key] = (mark, made)
                self._done.pop(key, None)
                # called by the garbage collector, in the middle of anything: it waits for nothing
                self._gone[id(made)] = weakref.ref(writes, lambda _: self._left.append((key, made)))
            return made

    def _tidy(self) -> None:
        """Under the lock: forgets executions of which nothing is left."""
        while self._left:
            key, worker = self._left.popleft()
            held = self._workers.get(key)
            if held is not None and held[1] is worker:
                del self._workers[key]
            self._gone.pop(id(worker), None)

    def ending(self, thread: Thread, run: str, root: str, channels: Sequence[str], *, in_loop: bool) -> Steps[None]:
        """A task says what came of it. Raises what its steps were stopped by, Diverged if it left recorded ones out."""
        if set(channels) <= {RESUME}:
            return
        failed = bool({ERROR, INTERRUPT}.intersection(channels))
        key = (thread.session, run)
        with self._lock:
            _, worker = self._workers.pop(key, (0, None))
            known = key in self._done
            if not failed:
                self._done[key] = None
                while len(self._done) > REMEMBERED:
                    del self._done[next(iter(self._done))]
        if failed:
            if worker is not None:
                worker.ended = True
            return
        if worker is None and run in thread.index.stepped and not known:
            worker = yield from thread.task(run, root, kept=False, in_loop=in_loop)  # it was begun before, made no step
        if worker is not None:
            self._gone.pop(id(worker), None)
            self._end(thread, root, worker)

    def going_on(self, thread: Thread, root: str) -> None:
        """All tasks on a root checkpoint are done, and the next is put. Raises what one of them was stopped by:
        LangGraph does not wait for what they wrote."""
        with self._lock:
            stopped = self._stopped.get((thread.session, root))
            left = [
                worker
                for (session, run), (_, worker) in self._workers.items()
                if session == thread.session and run.startswith(f"{root}:")
            ]
        if stopped is not None:
            raise stopped
        for worker in left:
            self._end(thread, root, worker)

    def loaded(self, session: str) -> None:
        """Somebody begins anew from what the thread holds."""
        with self._lock:
            for key in [key for key in self._stopped if key[0] == session]:
                del self._stopped[key]

    def _end(self, thread: Thread, root: str, worker: TaskWorker) -> None:
        try:
            worker.end(whole=True)
        except BaseException as error:
            with self._lock:
                self._stopped[thread.session, root] = error
            raise


tasks = Tasks()


def _lane_here(held: Lane | None) -> Lane | None:
    config = var_child_runnable_config.get()
    named: Any = config.get("configurable") if config else None
    if not named or TASK not in named:
        return None
    from agentstream_langgraph._steps import SaverSteps

    saver = named.get(SAVER)
    replayed = getattr(saver, "replayed_lane", None)
    if replayed is not None:
        return replayed(named, held)
    if not isinstance(saver, SaverSteps):
        return None
    root = (named.get(MAP) or {}).get("")
    if root is None or named.get("thread_id") is None:
        return None
    return _lane(saver, named, root, held)


def _lane(saver: SaverSteps, named: Any, root: str, held: Lane | None) -> Lane:
    if saver.encrypts:
        raise AgentStreamError(
            "a step was called in a graph whose saver encrypts what it keeps (serde=); the step would be recorded in "
            "clear. Encrypt the store instead (agentstream.Client(encrypt=…)), or call it `with outside_run():`"
        )
    thread = saver.thread(str(named["thread_id"]))
    run, attempt = run_of(root, named[TASK]), _attempt(named.get(RUNTIME))
    writes = getattr(named.get(SEND), "__self__", None)
    mark = thread if writes is None else writes
    worker = tasks.worker(thread, saver.client, run, root, mark, attempt, kept=puts({"configurable": named}))
    return held if held is not None and held.worker is worker else worker.lane()


def _attempt(runtime: Any) -> int:
    info = getattr(runtime, "execution_info", None)
    attempt = getattr(info, "node_attempt", None)
    return attempt if isinstance(attempt, int) else 1


find_tasks_by(_lane_here)
