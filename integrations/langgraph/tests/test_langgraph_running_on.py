"""A thread is gone on with from one of its steps, in a fork: what comes before is served, what comes after is made."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, publish
from agentstream_langgraph.middleware import Recorded
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from langgraph_kit import client_on, in_context

from agentstream import Client, Report, step

THREAD: Any = {"configurable": {"thread_id": "t"}}
WHOLE = ["be kind", "a!", "m1: be kind", "c!", "paid x"]


class State(TypedDict):
    done: Annotated[list[str], operator.add]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with client_on("disk", tmp_path) as client:
        yield client


class Code:
    """Two nodes with steps, one of which acts on the world; made in `way`."""

    def __init__(self, client: Client, way: str = "sync") -> None:
        self.client, self.is_async = client, way == "async"
        self.made: list[str] = []

        @step(kind="tool")
        def act(name: str) -> str:
            self.made.append(name)
            return f"{name}!"

        @step(kind="tool", effect="once")
        def pay(name: str) -> str:
            self.made.append(f"pay {name}")
            return f"paid {name}"

        @step(kind="model")
        def ask(system: str, model: str = "m1") -> str:
            self.made.append(f"{model}: {system}")
            return f"{model}: {system}"

        def first(state: State) -> Any:
            return {"done": [act("a"), ask(state["done"][0])]}

        def last(state: State) -> Any:
            return {"done": [act("c"), pay("x")]}

        async def afirst(state: State) -> Any:
            return first(state)

        async def alast(state: State) -> Any:
            return last(state)

        builder = StateGraph(State)
        builder.add_node("first", afirst if self.is_async else first)
        builder.add_node("last", alast if self.is_async else last)
        builder.add_edge(START, "first")
        builder.add_edge("first", "last")
        graph = builder.compile(checkpointer=StreamSaver(client))
        self.graph = publish(graph, client) if way == "published" else graph

    def invoke(self) -> None:
        given: Any = {"done": ["be kind"]}
        if self.is_async:
            asyncio.run(self.graph.ainvoke(given, THREAD, durability="sync"))
        else:
            self.graph.invoke(given, THREAD, durability="sync")
        self.made.clear()

    def replay(self, session: str = "langgraph/t", **options: Any) -> Report:
        self.made.clear()
        if not self.is_async:
            return self.client.session(session).replay(self.graph, **options)

        async def main() -> Report:
            return await self.client.to_async().session(session).replay(self.graph, **options)

        return asyncio.run(main())

    def number(self, name: str) -> int:
        """Of a step with this name, its number."""
        return next(n for n, each in enumerate(self.client.session("langgraph/t").state().steps) if each.name == name)


@pytest.mark.parametrize("way", ["sync", pytest.param("async", marks=in_context), "published"])
def test_from_a_step_on_it_is_made(client: Client, way: str) -> None:
    code = Code(client, way)
    code.invoke()
    before = list(client.session("langgraph/t").events())

    report = code.replay(live_from=code.number("pay"), allow=["pay"])
    assert (report.fork, report.returned, report.identical) == ("langgraph/t-live-1", True, True)
    assert code.made[-1:] == ["pay x"]
    assert (report.result["done"], report.divergence) == (WHOLE, None)
    if way != "published":  # there a node is a step of its own, which is made again
        assert (report.steps, report.made, code.made) == (4, 2, ["pay x"])

    refused = code.replay(live_from=code.number("ask"))
    assert refused.refused is not None
    assert "'pay' acts on the world" in refused.refused
    assert (refused.returned, refused.identical, "pay x" in code.made) == (False, False, False)

    other = code.replay(
        live_from=code.number("ask"), model="m2", system="be brief", mock={"pay": "owed"}, into="langgraph/other"
    )
    assert other.result["done"] == ["be kind", "a!", "m2: be brief", "c!", "owed"]
    assert (other.fork, other.identical, "m2: be brief" in code.made) == ("langgraph/other", False, True)
    told = client.session("langgraph/other").state().tags["replay"]
    assert (told["of"], told["model"], told["mock"]) == ("langgraph/t", "m2", ["pay"])
    assert code.replay("langgraph/other").identical, "it is known by what the code asked"
    assert list(client.session("langgraph/t").events()) == before, "the thread itself is as it was"


def test_several_times_and_checked(client: Client) -> None:
    code = Code(client)
    code.invoke()
    found = code.replay(repeat=2, check=lambda state: state["done"] == WHOLE)
    assert (found.passed, found.identical, len(found.tries), code.made) == (2, True, 2, [])
    assert code.replay(check=lambda state: "refused" in state["done"]).passed == 0
    live = code.replay(
        live_from=code.number("pay"), allow="pay", repeat=2, check=lambda state: "paid x" in state["done"]
    )
    assert (live.passed, code.made) == (2, ["pay x", "pay x"])
    assert [each.fork for each in live.tries] == ["langgraph/t-live-1", "langgraph/t-live-2"]


def test_what_cannot_be_gone_on_from(client: Client) -> None:
    code = Code(client)
    code.invoke()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"live_from": 6}, "of which there are 6"),
        ({"live_from": 1, "run": "x"}, "run= cannot be asked"),
        ({"live_from": 1, "into": "else/1"}, "no thread of the graph's StreamSaver"),
        ({"live_from": client.session("langgraph/t").state(at=1).events[0]}, "no checkpoint of the thread"),
        ({"input": {"done": []}}, "input= cannot be asked"),
    ]
    for options, told in cases:
        with pytest.raises(ValueError, match=told):
            code.replay(**options)
    assert code.made == []
    assert code.replay(live_from=1, confirm=lambda cost: False).notes == ("nothing was run",)
    assert [summary.id for summary in client.sessions()] == ["langgraph/t"], "no fork was made"


def test_one_call_of_several_and_a_question(client: Client) -> None:
    saver = StreamSaver(client)
    said: list[str] = []

    def answer(state: State) -> Any:
        said.append(state["done"][-1])
        return {"done": [interrupt("sure?") if state["done"][-1] == "ask" else "well"]}

    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    graph: Any = builder.compile(checkpointer=saver)
    for text in "one", "two":
        graph.invoke({"done": [text]}, THREAD, durability="sync")
    report = client.session("langgraph/t").replay(graph, live_from=0)
    assert (report.identical, report.result) == (True, {"done": ["one", "well"]}), "the second call is not of it"
    assert said == ["one", "two", "one"]
    assert (
        "no model call was sent otherwise"
        in client.session("langgraph/t").replay(graph, live_from=1, model="m").notes[0]
    )

    graph.update_state(THREAD, {"done": ["ask"]}, as_node="__start__")
    graph.invoke(None, THREAD, durability="sync")
    question = client.session("langgraph/t").questions()[0]
    client.session("langgraph/t").answer(question, "yes")
    client.session("langgraph/t").resume(graph)
    at = client.session("langgraph/t").state().find("question", question.key)
    waits = client.session("langgraph/t").replay(graph, live_from=at)
    assert (waits.returned, waits.identical) == (False, False)
    assert "waits for an answer" in waits.notes[0]
    assert waits.fork is not None
    assert [each.prompt for each in client.session(waits.fork).questions()] == ["sure?"]


def test_it_came_out_the_same_if_its_steps_and_its_state_did(client: Client) -> None:
    ends = ["end"]

    @step
    def quiet() -> int:
        return 1

    def node(state: State) -> Any:
        quiet()
        return {"done": ends}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph: Any = builder.compile(checkpointer=StreamSaver(client))
    graph.invoke({"done": []}, THREAD, durability="sync")
    session = client.session("langgraph/t")
    assert session.replay(graph, live_from=0).identical
    assert not session.replay(graph, live_from=0, mock={"quiet": 2}).identical
    ends[:] = ["other"]
    assert not session.replay(graph, live_from=0).identical


class Model(FakeMessagesListChatModel):
    model_name: str = "m1"
    heard: list[tuple[str, str]]

    def bind_tools(self, tools: Any, **named: Any) -> Any:
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self.heard.append((self.model_name, messages[0].content))
        return super()._generate(messages, *args, **kwargs)


@pytest.mark.parametrize("way", ["sync", pytest.param("async", marks=in_context)])
def test_the_middleware_sends_another_model_and_prompt(client: Client, way: str) -> None:
    usage: Any = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    model = Model(responses=[AIMessage("well", usage_metadata=usage)], heard=[])
    graph: Any = create_agent(
        model, [], system_prompt=SystemMessage("be kind"), middleware=[Recorded()], checkpointer=StreamSaver(client)
    )
    costs: list[str] = []
    live: Any = {"live_from": 0, "model": "gpt-4o", "system": "be brief"}
    live["confirm"] = lambda cost: costs.append(f"{cost} {cost.calls}") or True

    async def asynchronously() -> Report:
        await graph.ainvoke({"messages": [("user", "hi")]}, THREAD, durability="sync")
        return await client.to_async().session("langgraph/t").replay(graph, **live)

    if way == "sync":
        graph.invoke({"messages": [("user", "hi")]}, THREAD, durability="sync")
        report = client.session("langgraph/t").replay(graph, **live)
    else:
        report = asyncio.run(asynchronously())
    assert report.returned, report
    assert model.heard == [("m1", "be kind"), ("gpt-4o", "be brief")]
    assert costs == ["$0.0035 1"]
    assert report.fork is not None
    asked = next(each for each in client.session(report.fork).state().steps if each.kind == "model").input
    assert (asked["model"], asked["messages"][0]["parts"][0]["text"]) == ("gpt-4o", "be brief")
    assert client.session(report.fork).replay(graph).identical if way == "sync" else True
