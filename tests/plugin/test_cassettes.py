"""Cassettes of every adapter: recorded with the real SDKs against a stand-in provider, played without a call of it."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import anthropic_kit
import openai_kit
import pytest
from agentstream_langgraph import StreamSaver, publish
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from support.provider import Provider

from agentstream import Diverged, agent, attach, emit, sleep, spawn, step
from agentstream.plugin.taping import NotPlayed, Taping

Play = Callable[..., Any]


def taped(folder: Path, *, recording: bool) -> Taping:
    return Taping(folder / "cassette.jsonl", recording=recording, redact=True, recorded=set())


def told(taping: Taping) -> Any:
    """What stands in the sessions of a test, but for what chance gave."""
    states = [session.state() for session in taping._sessions()]
    steps = [(step.kind, step.name, step.status, str(step.usage)) for state in states for step in state.steps]
    return sorted(steps), [message["parts"] for state in states for message in state.messages]


@pytest.fixture
def twice(tmp_path: Path) -> Play:
    """Does something while it is recorded, and again from the cassette: with the same result, and no call of `made`."""

    def play(do: Callable[[Taping], Any], made: list[Any]) -> Any:
        found, calls = [], []
        for recording in (True, False):
            taping = taped(tmp_path, recording=recording)
            try:
                found.append((do(taping), told(taping)))
                taping.finish()
            finally:
                taping.close()
            calls.append(len(made))
        assert found[1] == found[0]
        assert calls[1] == calls[0] > 0
        return found[0][0]

    return play


def test_openai(twice: Play) -> None:
    with Provider(openai_kit.ALL) as provider, openai_kit.sync_client(provider) as client:

        @agent
        def everything() -> Any:
            return [surface(client) for surface in openai_kit.SYNC]

        twice(lambda taping: taping.run(everything), provider.asked)


def test_anthropic(twice: Play) -> None:
    with anthropic_kit.serving(anthropic_kit.ALL) as provider, anthropic_kit.sync_client(provider) as client:

        @agent
        def everything() -> Any:
            return [surface(client) for surface in anthropic_kit.SYNC]

        twice(lambda taping: taping.run(everything), provider.asked)


def test_async_calls_at_once(twice: Play) -> None:
    with Provider(openai_kit.ALL) as provider:

        @agent
        async def everything() -> Any:
            async with openai_kit.async_client(provider) as client:
                return await asyncio.gather(*(surface(client) for surface in openai_kit.ASYNC))

        twice(lambda taping: asyncio.run(taping.arun(everything)), provider.asked)


class State(TypedDict):
    done: Annotated[list[str], operator.add]


class Graph:
    """A graph with steps in nodes that run at once, and a question. What it does can be changed."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.prefix = ""

    def compiled(self, taping: Taping, published: bool) -> Any:
        @step(kind="tool")
        def act(name: str) -> str:
            self.made.append(name)
            return f"{name} {len(self.made)}"

        def first(state: State) -> Any:
            return {"done": [act(self.prefix + "first"), act("second")]}

        def beside(state: State) -> Any:
            return {"done": [act("beside")]}

        def ask(state: State) -> Any:
            return {"done": [interrupt("go on?"), act("asked")]}

        builder = StateGraph(State)
        for node in (first, beside, ask):
            builder.add_node(node.__name__, node)
        for above, below in ((START, "first"), (START, "beside"), ("first", "ask"), ("beside", "ask"), ("ask", END)):
            builder.add_edge(above, below)
        graph = builder.compile(checkpointer=StreamSaver(taping.client))
        return publish(graph, taping.client) if published else graph

    def play(self, taping: Taping, published: bool = False) -> Any:
        graph, thread = self.compiled(taping, published), {"configurable": {"thread_id": "t"}}
        graph.invoke({"done": []}, thread)
        return sorted(graph.invoke(Command(resume="yes"), thread)["done"])


@pytest.mark.parametrize("published", [False, True], ids=["saved", "published"])
def test_langgraph(twice: Play, tmp_path: Path, published: bool) -> None:
    graph = Graph()
    twice(lambda taping: graph.play(taping, published), graph.made)
    graph.prefix = "other "
    taping = taped(tmp_path, recording=False)
    with pytest.raises(Diverged, match="other first"):
        graph.play(taping, published)
    assert "other first" in str(taping.explained(RuntimeError("whatever the graph makes of it")))
    taping.close()
    assert len(graph.made) == 4


def test_what_has_no_part_outside_is_done_again(twice: Play, tmp_path: Path) -> None:
    made: list[Any] = []
    file = tmp_path / "a.txt"
    file.write_text("content")

    @step
    def act(name: str) -> str:
        made.append(name)
        emit("custom", {"name": name})
        return name

    @agent
    def child(name: str) -> str:
        return act(f"child {name}")

    @agent
    def parent() -> Any:
        sleep(0.01)
        return [act("parent"), spawn(child, "a").result(), attach(file).size]

    def do(taping: Taping) -> Any:
        taping.session.append("message", {"role": "user", "parts": []})
        result = taping.run(parent)
        branch = taping.session.fork("branch")
        return [result, branch.run(child, "b")]

    assert twice(do, made) == [["parent", "child a", 7], "child b"]


def test_errors_are_raised_as_they_were(twice: Play) -> None:
    made: list[Any] = []

    @step(retries=1)
    def fails() -> None:
        made.append(1)
        raise LookupError("no order")

    @agent
    def tries() -> str:
        try:
            fails()
        except LookupError as error:
            return str(error)
        return "found"

    assert twice(lambda taping: taping.run(tries), made) == "no order"


def test_a_lane_more_or_less_is_a_divergence(tmp_path: Path) -> None:
    @step
    async def act(name: str) -> str:
        return name

    @agent
    async def lanes() -> Any:
        return await asyncio.gather(*map(act, names))

    def played(*, recording: bool) -> None:
        taping = taped(tmp_path, recording=recording)
        try:
            asyncio.run(taping.arun(lanes))
            taping.finish()
        finally:
            taping.close()

    names = ["a", "b", "c"]
    played(recording=True)
    names = ["c", "a", "b"]
    played(recording=False)
    names = ["a", "b"]
    with pytest.raises(NotPlayed) as left:
        played(recording=False)
    assert [each.recorded["input"] for each in left.value.divergences] == [{"name": "c"}]
    names = ["a", "b", "x", "c"]
    with pytest.raises(Diverged):
        played(recording=False)
