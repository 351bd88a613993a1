"""`session.replay(graph, live_from=…)`: a thread forked before a step, and the graph gone on with there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.adapters import Call, Steps
from agentstream_langgraph._names import thread_of
from agentstream_langgraph._replaying import HIDDEN, alike
from agentstream_langgraph._resuming import resumed

if TYPE_CHECKING:
    from agentstream import Report
    from agentstream.adapters.replaying import Asked, Steering
    from agentstream_langgraph._index import Stored
    from agentstream_langgraph._saver import StreamSaver


def run_on(
    graph: Any, saver: StreamSaver, thread_id: str, session: str, asked: Asked, number: int, *, in_loop: bool
) -> Steps[Report]:
    """One try of it; the steps of a `session.replay`."""
    from agentstream.adapters import replaying

    thread = saver.thread(thread_id)
    yield from thread.refresh()
    with thread.lock:
        roots = sorted(thread.index.by_ns.get("", {}).values(), key=lambda stored: stored.index)
        engine = _Forks(graph, saver, thread_id, roots, thread.index.size, in_loop)
    return (yield from replaying.run_on(saver.client, session, asked, number, engine))


class _Forks:
    """The forks of one thread (`agentstream.adapters.replaying.Engine`). `roots` are its checkpoints as they came."""

    def __init__(
        self, graph: Any, saver: StreamSaver, thread_id: str, roots: list[Stored], size: int, in_loop: bool
    ) -> None:
        self._graph = graph
        self._saver = saver
        self._thread_id = thread_id
        self._roots = roots
        self._size = size
        self._in_loop = in_loop

    def check_id(self, new_id: str) -> None:
        self._thread_of(new_id)

    def _thread_of(self, session: str) -> str:
        prefix = self._saver.prefix
        thread = thread_of(prefix, session) if session.startswith(f"{prefix}/") else None
        if thread is None:
            raise ValueError(f"{session!r} is no thread of the graph's StreamSaver: those are {prefix}/…")
        return thread

    def end(self, cut: int) -> int:
        if not any(stored.index < cut for stored in self._roots):
            raise ValueError(
                "no checkpoint of the thread is stored before that step, so that there is nothing to go on from; "
                "take a later one, or call the graph on a new thread"
            )
        begins = (stored.index for stored in self._roots if stored.head.get("source") != "loop")
        return next((index for index in begins if index >= cut), self._size)

    def stands(self, run: str, cut: int) -> bool:
        root = next((stored for stored in self._roots if stored.id == run.partition(":")[0]), None)
        return root is None or root.index < cut

    def go(self, new_id: str, steering: Steering) -> Steps[Any]:
        thread = self._saver.thread(self._thread_of(new_id))
        thread.steering = steering
        try:
            return (
                yield from resumed(self._graph, new_id, self._saver, self._thread_of(new_id), in_loop=self._in_loop)
            )
        finally:
            thread.steering = None

    def same(self, new_id: str, end: int) -> Steps[bool]:
        recorded = max(stored.id for stored in self._roots if stored.index < end)
        then = yield from self._values(self._thread_id, recorded)
        return alike(then, (yield from self._values(self._thread_of(new_id))))

    def _values(self, thread_id: str, checkpoint: str | None = None) -> Steps[list[tuple[str, Any]]]:
        """What the channels hold, without LangGraph's own."""
        named = {"thread_id": thread_id, "checkpoint_ns": "", **({"checkpoint_id": checkpoint} if checkpoint else {})}
        config: Any = {"configurable": named}
        saver = self._saver
        found = yield Call(lambda: saver.aget_tuple(config) if self._in_loop else saver.get_tuple(config))
        values: dict[str, Any] = found.checkpoint["channel_values"] if found is not None else {}
        return sorted((name, value) for name, value in values.items() if not name.startswith(HIDDEN))
