"""A published graph: its caller gets what the graph gives, its thread's session all that it does, and it is the
thread's one worker."""

from __future__ import annotations

import asyncio
import itertools
import operator
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StepsNotRecorded, StreamSaver, follow, publish
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.config import get_stream_writer
from langgraph.errors import GraphDrained
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import RunControl
from langgraph.types import Command, interrupt
from langgraph_kit import Xor, client_on, in_context

from agentstream import Client, SessionBusy, step

WORDS = "All is well that ends well"
THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]


def model() -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=itertools.cycle([AIMessage(WORDS)]))


def built(saver: Any, ask: bool = False, then: Callable[[], Any] = lambda: None) -> Any:
    """A graph with a model, a subgraph with another, what nodes write themselves, and an interrupt."""

    def answer(state: State) -> Any:
        get_stream_writer()({"at": "answer"})
        return {"messages": [model().invoke(state["messages"])], "log": ["answer"]}

    async def aanswer(state: State) -> Any:
        get_stream_writer()({"at": "answer"})
        return {"messages": [await model().ainvoke(state["messages"])], "log": ["answer"]}

    def last(state: State) -> Any:
        then()
        return {"log": [interrupt("On?") if ask else "end"]}

    inner = StateGraph(State)
    inner.add_node("answer", RunnableLambda(answer, aanswer))
    inner.add_edge(START, "answer")
    inner.add_edge("answer", END)
    builder = StateGraph(State)
    builder.add_node("first", RunnableLambda(answer, aanswer))
    builder.add_node("sub", inner.compile())
    builder.add_node("last", last)
    for above, below in itertools.pairwise([START, "first", "sub", "last", END]):
        builder.add_edge(above, below)
    return builder.compile(checkpointer=saver)


def given() -> Any:
    return {"messages": [("user", "Say it")], "log": []}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with client_on("disk", tmp_path) as client:
        yield client


def plain(value: Any) -> Any:
    """What a caller was given, without the ids and times that no two invocations share."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if name not in _OWN}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, str):
        return value.partition(":")[0] if ":" in value else value
    return value.content if isinstance(value, (AIMessage, AIMessageChunk)) else repr(type(value))


_OWN = frozenset(("metadata", "config", "parent_config", "run_id", "parent_ids", "seq", "params", "checkpoint", "id"))


def by_stream(mode: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda graph: list(graph.stream(given(), THREAD, stream_mode=mode, **options))


def by_astream(mode: Any, **options: Any) -> Callable[[Any], Any]:
    async def work(graph: Any) -> Any:
        return [chunk async for chunk in graph.astream(given(), THREAD, stream_mode=mode, **options)]

    return lambda graph: asyncio.run(work(graph))


async def _aevents(graph: Any) -> Any:
    return [event["event"] async for event in graph.astream_events(given(), THREAD, version="v2")]


def _v3(graph: Any) -> Any:
    run = graph.stream_events(given(), THREAD, version="v3")
    return [str(message.text) for message in run.messages], plain(run.output)


WAYS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda graph: graph.invoke(given(), THREAD),
    "invoke v2": lambda graph: graph.invoke(given(), THREAD, version="v2").value,
    "ainvoke": lambda graph: asyncio.run(graph.ainvoke(given(), THREAD)),
    "stream": lambda graph: list(graph.stream(given(), THREAD)),
    "stream values": by_stream("values"),
    "stream many": by_stream(["updates", "values", "custom"]),
    "stream many, subgraphs": by_stream(["updates", "messages"], subgraphs=True),
    "stream messages": by_stream("messages"),
    "stream messages, subgraphs": by_stream("messages", subgraphs=True),
    "stream custom": by_stream("custom"),
    "stream v2": by_stream(["updates", "custom"], version="v2"),
    "stream tasks": by_stream("tasks"),
    "astream": by_astream("updates"),
    "astream messages": by_astream("messages"),
    "astream many, subgraphs": by_astream(["updates", "custom"], subgraphs=True),
    "astream_events": lambda graph: asyncio.run(_aevents(graph)),
    "v3": _v3,
}


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("way", WAYS)
def test_however_it_is_called(client: Client, way: str) -> None:
    """The caller gets what the graph gives; the session has tokens, nodes and what they wrote, of the subgraph too."""
    expected = plain(WAYS[way](built(InMemorySaver())))
    graph = publish(built(StreamSaver(client)), client)
    found = plain(WAYS[way](graph))
    if way == "astream_events":
        assert sorted(set(found)) == sorted(set(expected))
    else:
        assert found == expected

    session = client.session("langgraph/t")
    state = session.state()
    assert state.status == "finished"
    texts = list(session.output().texts.values())
    assert texts == [WORDS, WORDS]
    nodes = [step.name for step in state.steps if step.kind == "node"]
    assert nodes == ["first", "sub", "answer", "last"]
    assert [step.kind for step in state.steps if step.kind != "node"] == ["model", "model"]
    assert all(step.outcome is not None for step in state.steps)
    custom = [event.value for event in session.events() if event.type == "custom"]
    assert custom == [{"at": "answer"}] * 2
    said = [message["id"] for message in state.messages if message["role"] == "assistant"]
    assert said == list(session.output().texts), "the final message closes the tokens under its id"


def test_a_question_waits_and_its_answer_is_seen(client: Client) -> None:
    graph = publish(built(StreamSaver(client), ask=True), client)
    session = client.session("langgraph/t")
    waits = graph.invoke(given(), THREAD)["__interrupt__"]
    state = session.state()
    assert state.status == "waiting"
    (question,) = state.questions.values()
    assert (question.prompt, question.status) == ("On?", "open")
    assert question.key.startswith(waits[0].id)
    graph.invoke(Command(resume="yes"), THREAD)
    state = session.state()
    assert state.status == "finished"
    assert len(state.runs) == 1, "the same run went on"
    assert [answer.value for answer in state.questions[question.key].answers] == ["yes"]
    assert [step.name for step in state.steps if step.kind == "node"].count("last") == 1


def test_an_error_is_seen(client: Client) -> None:
    def fail() -> None:
        raise LookupError("not there")

    graph = publish(built(StreamSaver(client), then=fail), client)
    with pytest.raises(LookupError):
        graph.invoke(given(), THREAD)
    session = client.session("langgraph/t")
    assert session.state().status == "failed"
    assert [(event.value["name"], event.value["text"]) for event in session.events() if event.type == "error"] == [
        ("LookupError", "not there")
    ]


def test_another_worker_is_busy_until_it_ends(client: Client, tmp_path: Path) -> None:
    at, go = threading.Event(), threading.Event()

    def hold() -> None:
        at.set()
        assert go.wait(60)

    graph = publish(built(StreamSaver(client), then=hold), client)
    working = threading.Thread(target=graph.invoke, args=(given(), THREAD))
    working.start()
    try:
        assert at.wait(60)
        with Client(tmp_path / "store") as other:
            second = built(StreamSaver(other))
            with pytest.raises(SessionBusy):
                publish(second, other).invoke(given(), THREAD)
            with pytest.raises(SessionBusy):
                second.update_state(THREAD, {"log": ["from beside"]})
    finally:
        go.set()
        working.join(60)
    assert client.session("langgraph/t").status() == "finished"
    assert graph.invoke(given(), THREAD)["log"][-1] == "end"


def test_it_is_followed_from_any_event(client: Client) -> None:
    saver = StreamSaver(client)
    graph = publish(built(saver), client)
    graph.invoke(given(), THREAD)
    whole = list(client.session("langgraph/t").events())

    async def main() -> None:
        for start in (0, len(whole) // 2):
            found = []
            async for event in follow(client.to_async(), "t", start=start):
                found.append(event)
                if event.index == whole[-1].index:
                    break
            assert found == whole[start:]

    asyncio.run(main())
    live = follow(client, "t", start=whole[-1])
    graph.invoke(given(), THREAD)
    texts = ""
    for event in live:
        if event.type == "delta":
            texts += event.value["text"]
        if event.type == "status" and event.value["status"] == "finished":
            break
    assert texts == WORDS * 2


def test_one_that_is_left_is_abandoned_and_goes_on(client: Client) -> None:
    graph = publish(built(StreamSaver(client)), client)
    stream = graph.stream(given(), THREAD, durability="sync")
    next(stream)
    stream.close()
    session = client.session("langgraph/t")
    assert session.status() == "abandoned"
    assert graph.invoke(None, THREAD)["log"] == ["answer", "answer", "answer", "end"]
    assert session.status() == "finished"
    assert len(session.state().runs) == 1


def test_one_that_is_drained_is_abandoned_and_goes_on(client: Client) -> None:
    control = RunControl()
    control.request_drain()
    graph = publish(built(StreamSaver(client)), client)
    with pytest.raises(GraphDrained):
        graph.invoke(given(), THREAD, control=control)
    session = client.session("langgraph/t")
    assert session.status() == "abandoned"
    assert graph.invoke(None, THREAD)["log"][-1] == "end"
    assert session.status() == "finished"
    assert len(session.state().runs) == 1


@in_context
@pytest.mark.parametrize("durability", ["sync", "async"])
def test_one_that_is_cancelled_is_abandoned_and_goes_on(client: Client, durability: Any) -> None:
    async def main() -> None:
        at, made = asyncio.Event(), []

        @step
        async def act() -> str:
            made.append("act")
            return "acted"

        async def waits(state: State) -> Any:
            said = await act()
            if not at.is_set():
                at.set()
                await asyncio.Event().wait()
            return {"log": [said]}

        builder: Any = StateGraph(State)
        builder.add_node("before", lambda state: {"log": ["before"]})
        builder.add_node("waits", waits)
        for above, below in itertools.pairwise([START, "before", "waits", END]):
            builder.add_edge(above, below)
        graph = publish(builder.compile(checkpointer=StreamSaver(client)), client)
        call = asyncio.create_task(graph.ainvoke(given(), THREAD, durability=durability))
        await asyncio.wait_for(at.wait(), 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        session = client.to_async().session("langgraph/t")
        assert await session.status() == "abandoned"
        assert (await graph.ainvoke(None, THREAD))["log"] == ["before", "acted"]
        assert await session.status() == "finished"
        assert len((await session.state()).runs) == 1
        assert made == ["act"]

    asyncio.run(main())


def test_with_another_saver_only_what_is_published_is_there(client: Client) -> None:
    with pytest.warns(StepsNotRecorded, match="no StreamSaver") as told:
        graph = publish(built(InMemorySaver()), client, prefix="live")
    assert [(one.filename, one.category) for one in told] == [(__file__, StepsNotRecorded)]
    graph.invoke(given(), THREAD)
    session = client.session("live/t")
    assert list(session.output().texts.values()) == [WORDS, WORDS]
    assert {event.type for event in session.events()} == {
        "session", "claim", "run", "status", "step", "outcome", "delta", "custom"
    }  # fmt: skip


def test_its_settings_are_kept(client: Client) -> None:
    class Hears(BaseCallbackHandler):
        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            heard.append(kwargs.get("name"))

    heard: list[Any] = []
    graph = publish(built(StreamSaver(client)), client).with_config(THREAD, callbacks=[Hears()])
    graph.invoke(given())
    assert {"first", "sub", "answer", "last"} <= set(heard)
    assert client.session("langgraph/t").status() == "finished"
    assert graph.get_state(THREAD).values["log"] == ["answer", "answer", "answer", "end"]


def test_what_it_refuses(client: Client, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="compiled graph"):
        publish(StateGraph(State), client)
    with pytest.raises(ValueError, match="thread"), pytest.warns(StepsNotRecorded):
        publish(built(None), client).invoke(given())
    with client_on("memory", tmp_path) as other, pytest.raises(ValueError, match="another client"):
        publish(built(StreamSaver(client)), other)
    with pytest.raises(ValueError, match="in clear"):
        publish(built(StreamSaver(client, serde=EncryptedSerializer(Xor()))), client)
