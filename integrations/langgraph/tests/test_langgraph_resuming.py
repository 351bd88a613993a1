"""`session.resume(graph)`: each interrupt is a question, and a thread goes on with the answers there are."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, publish
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from langgraph_kit import client_on, in_context

from agentstream import Client, Fenced, RunWaiting, SessionBusy

THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    done: Annotated[list[str], operator.add]


class Both(State):
    left: str


class Left(TypedDict):
    left: str


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with client_on("disk", tmp_path) as client:
        yield client


def asking(client: Client) -> Any:
    """One node asks twice, then two ask side by side, one of them in a subgraph."""

    def twice(state: State) -> Any:
        return {"done": [interrupt("first?"), interrupt("second?")]}

    inner = StateGraph(Left)
    inner.add_node("inside", lambda state: {"left": interrupt("left?")})
    inner.add_edge(START, "inside")
    builder = StateGraph(Both)
    builder.add_node("twice", twice)
    builder.add_node("left", inner.compile())
    builder.add_node("right", lambda state: {"done": [interrupt("right?")]})
    for above, below in (START, "twice"), ("twice", "left"), ("twice", "right"):
        builder.add_edge(above, below)
    return builder.compile(checkpointer=StreamSaver(client))


def answer(client: Client, **answers: str) -> None:
    """Answers open questions by their prompts."""
    session = client.session("langgraph/t")
    for question in session.questions():
        given = answers.pop(question.prompt.removesuffix("?"), None)
        if given is not None:
            session.answer(question, given)
    assert not answers, "it was not asked"


def open_questions(client: Client) -> list[str]:
    return sorted(question.prompt for question in client.session("langgraph/t").questions())


@pytest.mark.parametrize("is_published", [False, True])
def test_each_interrupt_is_a_question(client: Client, is_published: bool) -> None:
    graph = asking(client)
    graph = publish(graph, client) if is_published else graph
    session = client.session("langgraph/t")
    graph.invoke({"done": []}, THREAD)
    with pytest.raises(RunWaiting):
        session.resume(graph)
    assert open_questions(client) == ["first?"]
    answer(client, first="1")
    with pytest.raises(RunWaiting) as waiting:
        session.resume(graph)
    assert [question.prompt for question in waiting.value.questions] == open_questions(client) == ["second?"]
    answer(client, second="2")
    with pytest.raises(RunWaiting) as waiting:
        session.resume(graph)
    assert sorted(question.prompt for question in waiting.value.questions) == ["left?", "right?"]
    answer(client, right="4")
    with pytest.raises(RunWaiting) as waiting:
        session.resume(graph)
    assert [question.prompt for question in waiting.value.questions] == open_questions(client) == ["left?"]
    answer(client, left="3")
    assert session.resume(graph) == {"done": ["1", "2", "4"], "left": "3"}
    assert {question.status for question in session.state().questions.values()} == {"answered"}


@in_context
def test_they_are_answered_together(client: Client) -> None:
    graph = asking(client)
    graph.invoke({"done": []}, THREAD)
    graph.invoke(Command(resume="1"), THREAD)  # by LangGraph's own way: it is no answer to what is asked next
    with pytest.raises(RunWaiting):
        client.session("langgraph/t").resume(graph)
    answer(client, second="2")
    with pytest.raises(RunWaiting):
        client.session("langgraph/t").resume(graph)
    answer(client, left="3", right="4")
    assert asyncio.run(client.to_async().session("langgraph/t").resume(graph)) == {"done": ["1", "2", "4"], "left": "3"}


def test_a_command_that_came_to_nothing_is_gone_on_with(client: Client) -> None:
    fails = [True]

    def node(state: State) -> Any:
        said = interrupt("on?")
        if fails:
            raise KeyboardInterrupt  # as if the process was stopped here
        return {"done": [said]}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph: Any = builder.compile(checkpointer=StreamSaver(client))
    graph.invoke({"done": []}, THREAD)
    with pytest.raises(KeyboardInterrupt):
        graph.invoke(Command(resume="yes"), THREAD)
    fails.clear()
    assert client.session("langgraph/t").resume(graph) == {"done": ["yes"]}


@pytest.mark.parametrize("takes", ["published", "plain"])
def test_a_living_worker_is_taken_over_where_asked_for(client: Client, tmp_path: Path, takes: str) -> None:
    at, go, stopped = threading.Event(), threading.Event(), list[BaseException]()

    def builds(client: Client, waits: bool) -> Any:
        def node(state: State) -> Any:
            if waits:
                at.set()
                assert go.wait(60)
            return {"done": ["old" if waits else "new"]}

        builder = StateGraph(State)
        builder.add_node("node", node)
        builder.add_edge(START, "node")
        return builder.compile(checkpointer=StreamSaver(client))

    def works() -> None:
        try:
            publish(builds(client, True), client).invoke({"done": []}, THREAD, durability="sync")
        except Fenced as error:
            stopped.append(error)

    working = threading.Thread(target=works)
    working.start()
    try:
        assert at.wait(60)
        with Client(tmp_path / "store") as other:
            graph = publish(builds(other, False), other) if takes == "published" else builds(other, False)
            session = other.session("langgraph/t")
            with pytest.raises(SessionBusy):
                session.resume(graph)
            assert session.with_options(take_over=True).resume(graph) == {"done": ["new"]}
    finally:
        go.set()
        working.join(60)
    assert len(stopped) == 1
    assert builds(client, False).get_state(THREAD).values == {"done": ["new"]}
