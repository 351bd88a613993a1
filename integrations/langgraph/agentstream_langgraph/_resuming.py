"""`session.resume(graph)`: a thread goes on where it stands, with the answers that its questions got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import RESUME

from agentstream import NotFound, RunWaiting
from agentstream.adapters import Call, State, Steps, fold, resume_by
from agentstream_langgraph._people import question_of
from agentstream_langgraph._replaying import NULL_TASK, thread_here

if TYPE_CHECKING:
    from agentstream_langgraph._saver import StreamSaver
    from agentstream_langgraph._thread import Thread


def resume_threads(client: Any, session: str, graph: Any, *, take_over: bool, in_loop: bool) -> Steps[Any] | None:
    """`session.resume(graph)` of a thread's session; None for what is no graph."""
    found = thread_here(client, session, graph)
    if found is None:
        return None
    steps = resumed(graph, session, *found, in_loop=in_loop)
    return _taking_over(found[0].thread(found[1]), steps) if take_over else steps


def _taking_over(thread: Thread, steps: Steps[Any]) -> Steps[Any]:
    thread.take_over = True
    try:
        return (yield from steps)
    finally:
        thread.take_over = False


def resumed(graph: Any, session: str, saver: StreamSaver, thread_id: str, *, in_loop: bool) -> Steps[Any]:
    """Goes on with a thread, with the answers there are. NotFound where no node is left; RunWaiting."""
    from langgraph.types import Command  # who has a graph has langgraph; a saver alone does without

    thread = saver.thread(thread_id)
    state = yield from _record(thread)
    last = thread.index.find("", None)
    if state is None or last is None:
        raise NotFound(f"session {session!r}: there is no checkpoint of the thread to go on from")
    config: Any = {"configurable": {"thread_id": thread_id}}
    stands = yield Call(lambda: graph.aget_state(config) if in_loop else graph.get_state(config))
    if not stands.tasks:  # those that are done, too: their writes may wait for a checkpoint
        raise NotFound(f"session {session!r}: the thread has come to its end, and no node is left to run")
    resumes = any(write.channel == RESUME and write.task == NULL_TASK for write in thread.index.pending(last.place))
    resumed_at = thread.index.told[last.place, NULL_TASK] if resumes else -1
    given: dict[str, Any] = {}
    open_: list[Any] = []
    for interrupt in stands.interrupts:
        question, asked = state.questions.get(question_of(interrupt)), state.find("question", question_of(interrupt))
        if question is None or (asked is not None and asked.index < resumed_at):
            continue  # its node asks again, or was given an answer (`Command(resume=…)`) and has not come further
        if question.answer is not None:
            given[interrupt.id] = question.answer.value
        else:
            open_.append(interrupt)
    if open_ and len(open_) == len(stands.interrupts):
        raise _waiting(session, state, open_)
    input: Any = Command(resume=given) if given else None
    result = yield Call(lambda: graph.ainvoke(input, config) if in_loop else graph.invoke(input, config))
    asks = result.get("__interrupt__") if isinstance(result, dict) else None
    if asks:
        raise _waiting(session, (yield from _record(thread)), asks)
    return result


def _record(thread: Thread) -> Steps[State | None]:
    log = yield from thread.record()
    return fold(log) if log is not None else None


def _waiting(session: str, state: State | None, interrupts: Sequence[Any]) -> RunWaiting:
    keys = [question_of(interrupt) for interrupt in interrupts]
    questions = state.questions if state is not None else {}
    return RunWaiting(
        f"session {session!r}: the graph waits for an answer to {', '.join(keys)} "
        "(`agentstream answer`, or invoke it with Command(resume=…))",
        questions=[questions[key] for key in keys if key in questions],
    )


resume_by(resume_threads)
