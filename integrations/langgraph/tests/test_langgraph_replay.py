"""A thread replayed: nodes run, steps are served, and the first place where graph and record part is told."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, areplay, replay
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from langgraph_kit import chat, client_on, in_context

from agentstream import Client, Diverged, NotFound, step

THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    done: Annotated[list[str], operator.add]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with client_on("disk", tmp_path) as client:
        yield client


class Code:
    """A graph with steps, a subgraph with steps and a question. What it does can be changed."""

    def __init__(self, client: Client) -> None:
        self.made: list[str] = []
        self.prefix = ""
        self.ends = "end"

        @step
        def act(name: str) -> str:
            self.made.append(name)
            return f"{name} {len(self.made)}"

        @step
        async def aact(name: str) -> str:
            return f"{name}, async"

        self.act = act

        def first(state: State) -> Any:
            return {"done": [act(self.prefix + "first"), act("second")]}

        async def afirst(state: State) -> Any:
            return {"done": [*await asyncio.gather(aact(self.prefix + "a"), aact("b"))]}

        def ask(state: State) -> Any:
            return {"done": [interrupt(act("asks")), act("asked")]}

        inner = StateGraph(State)
        inner.add_node("inside", lambda state: {"done": [act(self.prefix + "inside")]})
        inner.add_node("again", lambda state: {"done": [act("again")]})
        inner.add_edge(START, "inside")
        inner.add_edge("inside", "again")
        inner.add_edge("again", END)
        builder = StateGraph(State)
        builder.add_node("first", first)
        builder.add_node("sub", inner.compile())
        builder.add_node("ask", ask)
        builder.add_node("end", lambda state: {"done": [self.ends]})
        for above, below in (START, "first"), ("first", "sub"), ("sub", "ask"), ("ask", "end"), ("end", END):
            builder.add_edge(above, below)
        self.graph = builder.compile(checkpointer=StreamSaver(client))
        async_builder = StateGraph(State)
        async_builder.add_node("first", afirst)
        async_builder.add_edge(START, "first")
        self.async_graph = async_builder.compile(checkpointer=StreamSaver(client))


def test_a_thread_is_replayed(client: Client) -> None:
    code = Code(client)
    code.graph.invoke({"done": ["0"]}, THREAD)
    code.graph.invoke(Command(resume="yes"), THREAD)
    made, before = list(code.made), list(client.session("langgraph/t").events())
    found = replay(code.graph, "t")
    assert found.difference is None, found
    assert (found.identical, found.supersteps, found.steps) == (True, 4, 6)
    assert code.made == made, "no step was made"
    assert list(client.session("langgraph/t").events()) == before, "nothing was written"

    report = client.session("langgraph/t").replay(code.graph)
    assert (report.identical, report.steps, report.divergence) == (True, 6, None)

    code.prefix = "other "
    report = client.session("langgraph/t").replay(code.graph)
    assert not report.identical
    assert report.divergence is not None
    found = replay(code.graph, "t")
    assert found.difference is not None
    assert isinstance(found.difference.error, Diverged)
    code.prefix, code.ends = "", "otherwise"
    found = replay(code.graph, "t")
    assert found.difference is not None
    assert (found.difference.node, found.difference.error) == ("end", None)
    assert "otherwise" in found.difference.what
    with pytest.raises(NotFound):
        replay(code.graph, "nobody")
    with pytest.raises(ValueError, match="no thread"):
        client.session("else").replay(code.graph)
    with pytest.raises(ValueError, match="run= cannot"):
        client.session("langgraph/t").replay(code.graph, run="x")
    assert code.made == made


@in_context
def test_async_nodes(client: Client) -> None:
    code = Code(client)

    async def main() -> None:
        await code.async_graph.ainvoke({"done": []}, THREAD)
        found = await areplay(code.async_graph, "t")
        assert (found.identical, found.steps) == (True, 2), found
        assert (await client.to_async().session("langgraph/t").replay(code.async_graph)).identical
        code.prefix = "other "
        assert not (await areplay(code.async_graph, "t")).identical

    asyncio.run(main())


def test_a_workflow(client: Client) -> None:
    code = Code(client)

    @task
    def work(name: str) -> str:
        return code.act(name)

    @entrypoint(checkpointer=StreamSaver(client))
    def flow(names: list[str]) -> list[str]:
        return [future.result() for future in [work(name) for name in names]]

    flow.invoke(["a", "b"], THREAD)
    made = list(code.made)
    found = replay(flow, "t")
    assert (found.identical, found.steps) == (True, 2), found
    assert code.made == made


def test_messages_are_compared_by_what_they_say(client: Client) -> None:
    saver = StreamSaver(client)
    chat(saver, 4).invoke({"messages": []}, THREAD)
    assert replay(chat(saver, 4), "t").identical
    found = replay(chat(saver, 4, lambda number: f"other {number}"), "t")
    assert found.difference is not None
    assert "other 0" in found.difference.what
