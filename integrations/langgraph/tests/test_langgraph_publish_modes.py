"""Publishing a graph changes nothing of what its caller streams, and all that its nodes write is told, once."""

from __future__ import annotations

import asyncio
import itertools
import operator
import os
import re
import threading
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, publish
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import task
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import RunControl, Runtime, get_runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import StreamWriter, TimeoutPolicy
from langgraph_kit import client_on, in_context
from test_langgraph_publish import THREAD, built, given

from agentstream import Client

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))

MODES: Any = [
    "values", "updates", "custom", "messages", "tasks", "checkpoints", "debug", "tools",
    ["values"], ["updates", "messages", "custom"],
]  # fmt: skip
PRINTED: Any = [{"print_mode": "messages"}, {"print_mode": ["custom", "updates"]}, {"debug": True}]

EVERY: Any = [
    *itertools.product((False, True), MODES, (False, True), ("v1", "v2"), ({},)),
    *itertools.product((False, True), ("values", "messages"), (False, True), ("v1", "v2"), PRINTED),
]
CASES = EVERY if ALL else EVERY[::11]
"""Every eleventh: each mode, and all else, with some of the others."""

_CHANCE = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-0)?|\b[0-9a-f]{32}\b|\d{4}-\d\d-\d\dT[\d:.+]+|\b\d{32}\.0\.\d+"
)
"""Ids (a model that streams gives its messages some without the "-0"), times and versions."""


def same(told: Any) -> str:
    """A text without what no two calls share: each such thing is named by when it came first."""
    seen: dict[str, int] = {}
    return _CHANCE.sub(lambda found: f"<{seen.setdefault(found[0], len(seen))}>", str(told))


def streamed(graph: Any, input: Any, in_loop: bool, **options: Any) -> list[Any]:
    async def collected() -> list[Any]:
        return [chunk async for chunk in graph.astream(input, THREAD, **options)]

    return asyncio.run(collected()) if in_loop else list(graph.stream(input, THREAD, **options))


@pytest.mark.parametrize(("in_loop", "mode", "subgraphs", "version", "more"), CASES)
def test_the_caller_gets_what_the_graph_gives(
    tmp_path: Path, capsys: Any, in_loop: bool, mode: Any, subgraphs: bool, version: Any, more: Any
) -> None:
    options: Any = {"stream_mode": mode, "subgraphs": subgraphs, "version": version, **more}
    expected = same(streamed(built(InMemorySaver()), given(), in_loop, **options)), same(capsys.readouterr().out)
    with client_on("disk", tmp_path) as client:
        graph = publish(built(StreamSaver(client)), client)
        found = same(streamed(graph, given(), in_loop, **options)), same(capsys.readouterr().out)
        assert found == expected
        custom = [event.value for event in client.session("langgraph/t").events() if event.type == "custom"]
    assert custom == [{"at": "answer"}] * 2


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def sequence(*nodes: Any, saver: Any = None, **patient: Any) -> Any:
    """A graph of these nodes (or their names and they), one after another."""
    builder: Any = StateGraph(Log)
    named = [node if isinstance(node, tuple) else (node.__name__, node) for node in nodes]
    for name, node in named:
        builder.add_node(name, node, **({"timeout": patient[name]} if name in patient else {}))
    for above, below in itertools.pairwise([START, *(name for name, _ in named), END]):
        builder.add_edge(above, below)
    return builder.compile(checkpointer=saver)


def writing(saver: Any) -> Any:
    """A graph whose nodes write in every way that there is, at every depth."""

    async def given_a_writer(state: Log, writer: StreamWriter) -> Any:
        writer("given a writer")
        return {"log": []}

    async def of_the_runtime(state: Log, runtime: Runtime) -> Any:
        runtime.stream_writer("of the runtime")
        return {"log": []}

    async def asking(state: Log) -> Any:
        get_stream_writer()("asked for")
        return {"log": []}

    @task
    async def called() -> None:
        get_stream_writer()("in a task")

    async def calling(state: Log) -> Any:
        await called()
        return {"log": []}

    inner = sequence(given_a_writer, of_the_runtime)
    middle = sequence(asking, ("inner", inner))

    async def invoking(state: Log) -> Any:
        await middle.ainvoke({"log": []})
        return {"log": []}

    async def streaming(state: Log) -> Any:
        """Listens itself to what its subgraphs write."""
        return {"log": [chunk async for chunk in inner.astream({"log": []}, stream_mode="custom")]}

    nodes: Any = (given_a_writer, of_the_runtime, calling, ("middle", middle), invoking, streaming, ("in time", middle))
    return sequence(*nodes, saver=saver, **{"in time": TimeoutPolicy(idle_timeout=60)})


def told(client: Client) -> list[tuple[str, Any]]:
    """What was told: the nodes that it is from, above the one that wrote it, and what it was."""
    found: list[tuple[str, Any]] = []
    for event in client.session("langgraph/t").events():
        if event.type == "custom":
            parts = event.key.split("/")[1:-1]
            found.append(("/".join(re.sub(r":[^|]*", "", part) for part in parts), event.value))
    return found


WRITTEN = [
    ("", "given a writer"), ("", "of the runtime"), ("calling", "in a task"),
    ("middle", "asked for"), ("middle|inner", "given a writer"), ("middle|inner", "of the runtime"),
    ("invoking", "asked for"), ("invoking|inner", "given a writer"), ("invoking|inner", "of the runtime"),
    ("streaming", "given a writer"), ("streaming", "of the runtime"),
    ("in time", "asked for"), ("in time|inner", "given a writer"), ("in time|inner", "of the runtime"),
]  # fmt: skip


@in_context
@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("mode", ["updates", "custom", "messages"])
def test_all_that_is_written_is_told_once(tmp_path: Path, mode: Any, subgraphs: bool) -> None:
    options: Any = {"stream_mode": mode, "subgraphs": subgraphs}
    expected = same(streamed(writing(InMemorySaver()), {"log": []}, True, **options))
    with client_on("disk", tmp_path) as client:
        graph = publish(writing(StreamSaver(client)), client)
        assert same(streamed(graph, {"log": []}, True, **options)) == expected
        assert told(client) == WRITTEN


def test_what_a_thread_without_the_nodes_context_writes_is_told(tmp_path: Path) -> None:
    def elsewhere(state: Log) -> Any:
        writer = get_stream_writer()
        thread = threading.Thread(target=writer, args=("from a thread",))
        thread.start()
        thread.join(60)
        return {"log": ["done"]}

    with client_on("disk", tmp_path) as client:
        graph = publish(sequence(elsewhere, saver=StreamSaver(client)), client)
        assert graph.invoke({"log": []}, THREAD) == {"log": ["done"]}
        assert told(client) == [("", "from a thread")]


def test_what_is_handed_to_nodes_is_theirs(tmp_path: Path) -> None:
    """The store, the context and the control of the graph, and what a config holds of an outer runtime."""
    seen: list[Any] = []

    def looks(state: Log, runtime: Runtime[Any]) -> Any:
        seen.append((runtime.store, runtime.context, runtime.control, get_runtime().store))
        return {"log": ["looked"]}

    schema: Any = dict
    builder: Any = StateGraph(Log, context_schema=schema)
    builder.add_node("looks", looks)
    builder.add_edge(START, "looks")
    store, control = InMemoryStore(), RunControl()
    with client_on("disk", tmp_path) as client:
        graph = publish(builder.compile(checkpointer=StreamSaver(client), store=store), client)
        graph.invoke({"log": []}, THREAD, context={"user": "Ann"}, control=control)
        assert seen.pop() == (store, {"user": "Ann"}, control, store)
        wrote: list[Any] = []
        made: Any = Runtime
        outer = made(store=store, context={"user": "Bob"}, stream_writer=wrote.append)
        graph.invoke({"log": []}, {"configurable": {"thread_id": "t", "__pregel_runtime": outer}})
        assert seen.pop()[:2] == (store, {"user": "Bob"})
        graph.invoke({"log": []}, {"configurable": {"thread_id": "t", "__pregel_runtime": Seeded(store)}})
        assert seen.pop()[:2] == (store, {"user": "Cid"})


class Seeded:
    """What a server may put in place of a runtime."""

    context: Any = {"user": "Cid"}  # noqa: RUF012

    def __init__(self, store: Any) -> None:
        self.store = store
