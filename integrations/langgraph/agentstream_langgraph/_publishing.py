"""`publish`: a graph whose work is seen in its thread's session while it goes on. `follow`: seeing it, anywhere."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from langchain_core.runnables.config import var_child_runnable_config

from agentstream import AgentStreamError, AsyncClient, Client, Event, Position
from agentstream.adapters import Hold, Steps, Watched, adrive, are_one, drive, fold, fresh_id, watched
from agentstream_langgraph._arriving import RUNTIME
from agentstream_langgraph._names import session_of
from agentstream_langgraph._nodes import TASK
from agentstream_langgraph._saver import StreamSaver

if TYPE_CHECKING:
    from langgraph.types import Command as Command

    from agentstream_langgraph._telling import Telling
    from agentstream_langgraph._thread import Thread

G = TypeVar("G")


class StepsNotRecorded(UserWarning):
    """`publish` was given a graph whose saver is no StreamSaver: in its nodes a `@step` is a plain function, that is
    called again where a node is."""


def publish(graph: G, client: Client | AsyncClient, *, prefix: str = "langgraph") -> G:
    """The same graph; what it does goes to its thread's session, however it is called.

    Tokens are `delta` events, nodes, model and tool calls `step`s with their outcomes, what nodes write to the stream
    themselves `custom` events, subgraphs included, and the whole a `run` with its status. What the caller gets is what
    the graph itself gives. While a call goes on it is the thread's one worker: another one is `SessionBusy`.

    With a StreamSaver of the same client the thread's session is the saver's; with another saver, or none, it is
    `<prefix>/<thread_id>`, and holds only what is published: steps in its nodes are not recorded, of which
    StepsNotRecorded warns. Publish the outermost graph: inside another graph a published one is as any other. Raises
    ValueError where the saver is another client's, or encrypts by itself.
    """
    from langgraph.pregel import Pregel

    if not isinstance(graph, Pregel):
        raise TypeError(f"publish takes a compiled graph, not {graph!r}")
    saver: Any = graph.checkpointer
    if not isinstance(saver, StreamSaver):
        warnings.warn(
            f"the checkpointer of the graph {graph.get_name()!r} is no StreamSaver: what it does is published, but a "
            "step in its nodes is a plain function, and not recorded. Compile the graph with "
            "checkpointer=agentstream_langgraph.StreamSaver(client), or filter this warning if it has no steps",
            StepsNotRecorded,
            stacklevel=2,
        )
        saver = StreamSaver(client, prefix=prefix)
    elif not are_one(saver.client, client):
        raise ValueError("the graph's StreamSaver writes to another client's sessions: publish to that client")
    if saver.encrypts:
        raise ValueError(
            "the graph's saver encrypts what it keeps (serde=), and what is published would be in clear. Encrypt the "
            "store instead: agentstream.Client(encrypt=…)"
        )
    whole: Any = graph
    made: Any = type(type(whole).__name__, (_Published, type(whole)), {"_saver": saver})
    return made(**{name: part for name, part in whole.__dict__.items() if name != "__orig_class__"})  # as `copy` does


@overload
def follow(
    client: Client, thread_id: str, *, start: Position | Event | int | str | None = None, prefix: str = "langgraph"
) -> Iterator[Event]: ...
@overload
def follow(
    client: AsyncClient, thread_id: str, *, start: Position | Event | int | str | None = None, prefix: str = "langgraph"
) -> AsyncIterator[Event]: ...
def follow(client: Any, thread_id: str, *, start: Any = None, prefix: str = "langgraph") -> Any:
    """The events of a thread, and every one that comes, in any process.

    From the first one, from a `start` (as `session.follow` takes it: an event's position, say), or `"now"`.
    `session.output()` makes texts of them. NotFound before the thread's first event.
    """
    return client.session(session_of(prefix, str(thread_id))).follow(start=start)


_END = object()


class _Invocation(NamedTuple):
    """One call that is published."""

    thread: Thread
    hold: Hold
    run: str
    telling: Telling
    watched: Watched | None

    def current(self) -> AbstractContextManager[None]:
        """Around what the graph does between two chunks."""
        return self.watched.current() if self.watched is not None else nullcontext()


class _Published:
    """Goes before a graph's own class. All ways of calling a graph come to `stream` or `astream`."""

    _saver: StreamSaver

    def stream(self, input: Any, config: Any = None, **options: Any) -> Iterator[Any]:
        graph: Any = super()
        if _is_nested(self, config):
            yield from graph.stream(input, config, **options)
            return
        client = self._saver.client
        made = drive(client, _begun(self, input, config, in_loop=False))
        ended: BaseException | None = None
        try:
            chunks = iter(graph.stream(input, _with(config, made.telling, self), **options))
            while True:
                with made.current():
                    chunk = next(chunks, _END)
                if chunk is _END:
                    break
                yield chunk
        except BaseException as error:
            ended = error
            raise
        finally:
            drive(client, _ended(made, ended))

    async def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        graph: Any = super()
        if _is_nested(self, config):
            async for chunk in graph.astream(input, config, **options):
                yield chunk
            return
        client = self._saver.client
        made = await adrive(client, _begun(self, input, config, in_loop=True))
        ended: BaseException | None = None
        try:
            chunks = aiter(graph.astream(input, _with(config, made.telling, self), **options))
            while True:
                with made.current():
                    chunk = await anext(chunks, _END)
                if chunk is _END:
                    break
                yield chunk
        except BaseException as error:
            ended = error
            raise
        finally:
            await adrive(client, _ended(made, ended))


def _with(config: Any, handler: Telling, graph: Any) -> dict[str, Any]:
    from agentstream_langgraph._written import Told

    named = _named(graph, config)
    told = Told.of(named.get(RUNTIME), graph.store, handler.custom)
    heard: dict[str, Any] = {**(config or {}), "configurable": {**named, RUNTIME: told}}
    callbacks = heard.get("callbacks")
    if callbacks is None or isinstance(callbacks, list):
        return {**heard, "callbacks": [*(callbacks or ()), handler]}
    manager = callbacks.copy()
    manager.add_handler(handler, inherit=True)
    return {**heard, "callbacks": manager}


def _named(graph: Any, config: Any) -> dict[str, Any]:
    """What a call's config makes configurable (its thread and checkpoint, among others), as LangGraph reads it."""
    given = {**((graph.config or {}).get("configurable") or {}), **((config or {}).get("configurable") or {})}
    if any(given.get(name) for name in ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")):
        return given
    around = var_child_runnable_config.get() or {}
    return {**(around.get("configurable") or {}), **given}


def _is_nested(graph: Any, config: Any) -> bool:
    return TASK in _named(graph, config)


# --- being the thread's worker ---------------------------------------------------------------------------------------


def _begun(graph: Any, input: Any, config: Any, *, in_loop: bool) -> Steps[_Invocation]:
    """Takes the thread and says that a run begins, or that the one which waits or was broken off goes on."""
    from agentstream_langgraph._telling import Telling

    named = _named(graph, config)
    if named.get("thread_id") is None:
        raise ValueError('a published graph is told its thread: {"configurable": {"thread_id": …}}')
    thread: Thread = graph._saver.thread(str(named["thread_id"]))
    hold, log = yield from thread.hold_on(branch=bool(named.get("checkpoint_id")), in_loop=in_loop)
    state = fold(log)
    agent = graph.get_name()
    open_ = [run for run in state.open_runs if run.parent is None]
    going = next((run for run in reversed(open_) if run.agent == agent), None)
    if going is not None and not _resumes(input):
        going = None
    for run in open_:
        if run is not going:
            hold.put_soon(("status", run.key, {"status": "cancelled"}), operation="update")
    key = going.key if going is not None else fresh_id()
    watching = watched(graph._saver.client, state, key, agent, resumed=going is not None)
    if going is None:
        traced = {"trace": watching.trace} if watching is not None and watching.trace is not None else {}
        hold.put_soon(("run", key, {"agent": agent, "arguments": {}, "fingerprint": "", **traced}))
    hold.put_soon(
        ("status", key, {"status": "running"}),
        operation="insert" if going is None or state.find("status", key) is None else "update",
    )
    attempts = dict(state.attempts_of(key)) if going is not None else {}
    return _Invocation(thread, hold, key, Telling(hold, key, attempts, watching), watching)


def _resumes(input: Any) -> bool:
    return input is None or getattr(input, "resume", None) is not None


def _ended(made: _Invocation, error: BaseException | None) -> Steps[None]:
    """Says how the run stands; one that its caller left, or drained, is broken off, and says nothing."""
    from langgraph.errors import GraphBubbleUp

    is_over = error is None or (isinstance(error, Exception) and not isinstance(error, GraphBubbleUp))
    status: dict[str, Any] = {"status": "failed"}
    if error is None:
        waits = made.telling.interrupted
        status = {"status": "waiting", "questions": made.telling.questions} if waits else {"status": "finished"}
    if made.watched is not None:
        made.watched.end(status["status"] if is_over else "interrupted", error)
    try:
        if is_over:
            try:
                made.hold.put_soon(("status", made.run, status), operation="update")
                yield from made.hold.durable()
            except AgentStreamError:
                if error is None:
                    raise
    finally:
        yield from made.thread.let_go(made.hold)
