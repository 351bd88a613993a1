"""With the saver alone, a thread's session tells of its nodes: each is a step that every reader of sessions knows."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, publish
from langchain_core.messages import AIMessage
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

from agentstream import Client

THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    log: Annotated[list[Any], operator.add]


def nodes(client: Client) -> list[tuple[str, str]]:
    state = client.session("langgraph/t").state()
    return [(step.name, step.status) for step in state.steps if step.kind == "node"]


def work(state: Any) -> Any:
    return {"log": [state["n"]]}


def mapped(saver: Any) -> Any:
    """A node that fans out to others, one of which has a subgraph inside, and one that gathers."""
    inner = StateGraph(State)
    inner.add_node("deep", lambda state: {"log": ["deep"]})
    inner.add_edge(START, "deep")
    inner.add_edge("deep", END)
    builder = StateGraph(State)
    builder.add_node("split", lambda state: {"log": ["split"]})
    builder.add_node("work", work)
    builder.add_node("sub", inner.compile())
    builder.add_edge(START, "split")
    sends = [Send("work", {"n": 1}), Send("sub", {"log": []}), Send("work", {"n": 2})]
    builder.add_conditional_edges("split", lambda state: sends, ["work", "sub"])
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("in_loop", [False, True])
def test_every_node_is_a_step(in_loop: bool) -> None:
    with Client("memory:") as client:
        graph = mapped(StreamSaver(client))
        if in_loop:
            asyncio.run(graph.ainvoke({"log": []}, THREAD, durability="sync"))
        else:
            graph.invoke({"log": []}, THREAD, durability="sync")
        found = nodes(client)
        assert found[0] == ("split", "finished")
        assert sorted(found[1:]) == [("deep", "finished"), ("sub", "finished"), *[("work", "finished")] * 2]
        assert graph.get_state(THREAD).values["log"] == ["split", 1, "deep", 2]


def test_messages_usage_questions_answers_and_errors() -> None:
    def model(state: MessagesState) -> Any:
        usage: Any = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
        calls: Any = [{"id": "c", "name": "f", "args": {}}]
        return {"messages": [AIMessage("well", usage_metadata=usage, tool_calls=calls)]}

    def person(state: MessagesState) -> Any:
        if interrupt("may I?") != "yes":
            raise PermissionError("no")
        return {}

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("person", person)
    builder.add_edge(START, "model")
    builder.add_edge("model", "person")
    with Client("memory:") as client:
        graph: Any = builder.compile(checkpointer=StreamSaver(client))
        graph.invoke({"messages": [("user", "hi")]}, THREAD)
        assert nodes(client) == [("model", "finished")]
        with pytest.raises(PermissionError):
            graph.invoke(Command(resume="no"), THREAD)
        assert nodes(client) == [("model", "finished"), ("person", "failed")]
        state = client.session("langgraph/t").state()
        assert [message["role"] for message in state.messages] == ["user", "assistant"]
        assert state.messages[1]["usage"] == {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
        assert [call["name"] for call in state.tool_calls] == ["f"]
        types = [event.type for event in state.events]
        assert types.count("question") == types.count("answer") == types.count("error") == 1
        assert state.steps[-1].error == {"name": "PermissionError", "text": "no", "module": "builtins"}


def test_what_a_task_returned_is_its_result() -> None:
    @task
    def double(n: int) -> int:
        return 2 * n

    with Client("memory:") as client:

        @entrypoint(checkpointer=StreamSaver(client))
        def flow(n: int) -> int:
            return double(n).result() + double(n + 1).result()

        assert flow.invoke(4, THREAD) == 18
        steps = client.session("langgraph/t").state().steps
        # LangGraph writes them in threads of its own, the last task together with what called it
        assert sorted((step.name, step.result) for step in steps if step.name == "task") == [("task", 8), ("task", 10)]
        assert ("flow", "finished") in nodes(client)


def test_a_published_graph_tells_of_its_nodes_once() -> None:
    with Client("memory:") as client:
        graph = mapped(StreamSaver(client))
        publish(graph, client).invoke({"log": []}, THREAD)
        assert sorted(name for name, _ in nodes(client)) == ["deep", "split", "sub", "work", "work"]
        before = len(nodes(client))
        graph.invoke({"log": []}, THREAD)  # the same graph, without being published
        assert len(nodes(client)) == 2 * before


def test_a_node_that_ran_is_no_step_to_resume() -> None:
    """Its step tells what was: nothing is served from it, and the session can be read by everybody."""
    with Client("memory:") as client:
        mapped(StreamSaver(client)).invoke({"log": []}, THREAD)
        session = client.session("langgraph/t")
        assert session.status() is None
        assert all(event.mark is None for event in session.events())
        assert not session.state().open_runs
