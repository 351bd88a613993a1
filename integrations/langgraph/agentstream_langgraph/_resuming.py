"""`session.resume(graph)`: a thread goes on where it stands, with the answers that its questions got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import RESUME
from langgraph.types import Command

from agentstream import NotFound, RunWaiting
from agentstream.adapters import Call, Steps, fold, resume_by
from agentstream_langgraph._people import question_of
from agentstream_langgraph._replaying import thread_here

if TYPE_CHECKING:
    from agentstream_langgraph._saver import StreamSaver
    from agentstream_langgraph._thread import Thread


def resume_threads(client: Any, session: str, graph: Any, *, in_loop: bool) -> Steps[Any] | None:
    """`session.resume(graph)` of a thread's session; None for what is no graph."""
    found = thread_here(client, session, graph)
    return _resuming(graph, session, *found, in_loop=in_loop) if found is not None else None


def _resuming(graph: Any, session: str, saver: StreamSaver, thread_id: str, *, in_loop: bool) -> Steps[Any]:
    thread = saver.thread(thread_id)
    questions = yield from _questions(thread)
    last = thread.index.find("", None)
    if last is None:
        raise NotFound(f"session {session!r}: there is no checkpoint of the thread to go on from")
    config: Any = {"configurable": {"thread_id": thread_id}}
    state = yield Call(lambda: graph.aget_state(config) if in_loop else graph.get_state(config))
    if not state.next:
        raise NotFound(f"session {session!r}: the thread has come to its end, and no node is left to run")
    given: dict[str, Any] = {}
    if not any(write.channel == RESUME for write in thread.index.pending(last.place)):
        # else its nodes have the answers already, or ask for more than those
        asked = {interrupt.id: questions.get(question_of(interrupt)) for interrupt in state.interrupts}
        given = {id: each.answer.value for id, each in asked.items() if each is not None and each.answer is not None}
        if asked and not given:
            raise _waiting(session, questions, state.interrupts)
    input: Any = Command(resume=given) if given else None
    result = yield Call(lambda: graph.ainvoke(input, config) if in_loop else graph.invoke(input, config))
    asks = result.get("__interrupt__") if isinstance(result, dict) else None
    if asks:
        raise _waiting(session, (yield from _questions(thread)), asks)
    return result


def _questions(thread: Thread) -> Steps[dict[str, Any]]:
    log = yield from thread.record()
    return dict(fold(log).questions) if log is not None else {}


def _waiting(session: str, questions: dict[str, Any], interrupts: Sequence[Any]) -> RunWaiting:
    keys = [question_of(interrupt) for interrupt in interrupts]
    return RunWaiting(
        f"session {session!r}: the graph waits for an answer to {', '.join(keys)} "
        "(`agentstream answer`, or invoke it with Command(resume=…))",
        questions=[questions[key] for key in keys if key in questions],
    )


resume_by(resume_threads)
