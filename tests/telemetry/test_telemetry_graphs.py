"""A published graph as spans: its run, its nodes, and the model and tool calls in them."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, publish
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from telemetry_kit import Seen, attributes, parent_of

from agentstream import Client, step

THREAD: Any = {"configurable": {"thread_id": "t"}}
USAGE: Any = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}


class State(TypedDict):
    done: Annotated[list[str], operator.add]


class Inner(TypedDict):
    said: str


class Both(State, Inner):
    pass


class Model(FakeMessagesListChatModel):
    def _get_ls_params(self, *args: Any, **kwargs: Any) -> Any:
        return {"ls_model_name": "gpt-4o", "ls_provider": "openai", "ls_model_type": "chat"}


@tool
def find(what: str) -> str:
    """Finds it."""
    return f"found {what}"


@step(kind="tool")
def act(what: str) -> str:
    return trace.get_current_span().name  # type: ignore[attr-defined]


@step(kind="model", name="own")
def think() -> str:
    return "well"


def built(client: Client, *, asks: bool = False, fails: bool = False, is_async: bool = False) -> Any:
    model = Model(responses=[AIMessage("well", usage_metadata=USAGE)])

    def inside(state: Inner) -> Any:
        return {"said": model.invoke("hi").content}

    def work(state: State) -> Any:
        if fails:
            raise LookupError("no such order")
        return {"done": [find.invoke({"what": "it"}), act("it"), interrupt("on?") if asks else ""]}

    async def awork(state: State) -> Any:
        return {"done": [await find.ainvoke({"what": "it"}), act("it")]}

    inner = StateGraph(Inner)
    inner.add_node("inside", inside)
    inner.add_edge(START, "inside")
    builder = StateGraph(Both)
    builder.add_node("sub", inner.compile())
    builder.add_node("work", awork if is_async else work)
    builder.add_edge(START, "sub")
    builder.add_edge("sub", "work")
    return publish(builder.compile(checkpointer=StreamSaver(client), name="support"), client)


def span_id(span: Any) -> str:
    return f"{span.context.span_id:016x}"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_published_graph(seen: Seen, way: str) -> None:
    with Client("memory:") as client:
        seen.live(client)
        graph = built(client, is_async=way == "async")
        with seen.provider.get_tracer("outer").start_as_current_span("outer"):
            if way == "sync":
                result = graph.invoke({"done": []}, THREAD)
            else:
                result = asyncio.run(graph.ainvoke({"done": []}, THREAD))
            assert trace.get_current_span().name == "outer"  # type: ignore[attr-defined]
        assert result["done"][:2] == ["found it", "execute_tool act"], "a step is the current span of its function"
        state = client.session("langgraph/t").state()

    below = {name: parent_of(seen, name) for name in seen.spans() if name != "outer"}
    assert below == {
        "invoke_agent support": "outer",
        "node sub": "invoke_agent support",
        "node inside": "node sub",
        "chat gpt-4o": "node inside",
        "node work": "invoke_agent support",
        "execute_tool find": "node work",
        "execute_tool act": "node work",
    }
    spans = seen.spans()
    run, chat = attributes(spans["invoke_agent support"]), attributes(spans["chat gpt-4o"])
    assert run["gen_ai.conversation.id"] == "langgraph/t"
    assert (run["agentstream.run.status"], run["agentstream.run.resumed"]) == ("finished", False)
    assert state.run is not None
    assert (run["agentstream.run"], run["agentstream.position"]) == (state.run.key, str(state.events[1].position))
    assert (chat["gen_ai.provider.name"], chat["gen_ai.request.model"]) == ("openai", "gpt-4o")
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == (7, 2)
    told = {attributes(span).get("agentstream.step") for span in spans.values()} - {None}
    assert told == {each.key for each in state.steps}, "each span names the events of its step"
    assert state.run.start.value["trace"].split("-")[2] == span_id(spans["invoke_agent support"])
    metrics = seen.metrics()
    assert [point.sum for point in metrics["gen_ai.client.token.usage"]] == [7, 2]
    assert metrics["gen_ai.client.operation.duration"][0].count == 1


def test_a_run_that_waits_and_goes_on_in_another_span(seen: Seen) -> None:
    with Client("memory:") as client:
        seen.live(client)
        graph = built(client, asks=True)
        graph.invoke({"done": []}, THREAD)
        first = seen.spans()["invoke_agent support"]
        assert attributes(first)["agentstream.run.status"] == "waiting"
        assert (first.status.status_code, seen.spans()["node work"].status.status_code) == (StatusCode.UNSET,) * 2
        seen.exporter.clear()
        graph.invoke(Command(resume="yes"), THREAD)
        second = seen.spans()["invoke_agent support"]
        assert attributes(second)["agentstream.run.resumed"] is True
        assert [(f"{link.context.span_id:016x}", dict(link.attributes or {})) for link in second.links] == [
            (span_id(first), {"agentstream.link": "resumed"})
        ]
        assert "execute_tool act" not in seen.names(), "what the record serves makes no span"


def test_a_graph_with_a_saver_alone(seen: Seen) -> None:
    builder = StateGraph(State)
    builder.add_node("work", lambda state: {"done": [act("it")]})
    builder.add_node("fails", lambda state: {"done": [1 / 0]})
    builder.add_edge(START, "work")
    builder.add_edge("work", "fails")
    with Client("memory:") as client:
        seen.live(client)
        graph: Any = builder.compile(checkpointer=StreamSaver(client))
        with seen.provider.get_tracer("outer").start_as_current_span("outer"), pytest.raises(ZeroDivisionError):
            graph.invoke({"done": []}, THREAD)
        steps = {step.name: step.key for step in client.session("langgraph/t").state().steps}
    for span, name in ("execute_tool act", "act"), ("node work", "work"), ("node fails", "fails"):
        assert parent_of(seen, span) == "outer"
        assert attributes(seen.spans()[span])["agentstream.step"] == steps[name]
    assert seen.spans()["node fails"].status.status_code is StatusCode.ERROR


def test_a_run_that_fails(seen: Seen) -> None:
    with Client("memory:") as client:
        seen.live(client)
        with pytest.raises(LookupError):
            built(client, fails=True).invoke({"done": []}, THREAD)
    for name in "invoke_agent support", "node work":
        span = seen.spans()[name]
        assert (span.status.status_code, attributes(span)["error.type"]) == (StatusCode.ERROR, "LookupError")


def test_a_model_call_that_is_a_step_too_is_measured_once(seen: Seen) -> None:
    class Own(Model):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            think()
            return super()._generate(*args, **kwargs)

    model = Own(responses=[AIMessage("well", usage_metadata=USAGE)])
    builder = StateGraph(State)
    builder.add_node("ask", lambda state: {"done": [model.invoke("hi").content]})
    builder.add_edge(START, "ask")
    with Client("memory:") as client:
        seen.live(client)
        publish(builder.compile(checkpointer=StreamSaver(client)), client).invoke({"done": []}, THREAD)
    assert sum(point.count for point in seen.metrics()["gen_ai.client.operation.duration"]) == 1
