"""With durability="async" tasks may begin before their checkpoint is put: they are recorded after it all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from agentstream_langgraph import StreamSaver, _arriving
from agentstream_langgraph._arriving import Arrivals
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph_kit import in_context

from agentstream import Client, NotSerializable, outside_run, step

THREAD: Any = {"configurable": {"thread_id": "t"}}
LONG = 60


class Late(StreamSaver):
    """Puts the first superstep's checkpoint, and what the input wrote, when it is let: LangGraph goes on meanwhile."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.go_on = threading.Event()
        self.fails = False

    def made(self, checkpoint: Any) -> Any:
        broken = {**checkpoint["channel_values"], "messages": threading.Lock()}
        return {**checkpoint, "channel_values": broken} if self.fails else checkpoint

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == 0:
            assert self.go_on.wait(LONG)
            checkpoint = self.made(checkpoint)
        return super().put(config, checkpoint, metadata, new_versions)

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == 0:
            assert await asyncio.to_thread(self.go_on.wait, LONG)
            checkpoint = self.made(checkpoint)
        return await super().aput(config, checkpoint, metadata, new_versions)

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        if "model" in task_path:
            threading.Timer(0.05, self.go_on.set).start()
        else:
            assert self.go_on.wait(LONG)
        super().put_writes(config, writes, task_id, task_path)

    async def aput_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        if "model" in task_path:
            asyncio.get_running_loop().call_later(0.05, self.go_on.set)
        else:
            assert await asyncio.to_thread(self.go_on.wait, LONG)
        await super().aput_writes(config, writes, task_id, task_path)


def built(saver: Any, model: Any, amodel: Any = None) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("model", amodel or model)
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    return builder.compile(checkpointer=saver)


def invoked(graph: Any, in_loop: bool, **how: Any) -> Any:
    given = {"messages": [("user", "hi")]}
    if in_loop:
        return asyncio.run(graph.ainvoke(given, THREAD, **how))
    return graph.invoke(given, THREAD, **how)


@pytest.mark.parametrize("in_loop", [False, True])
def test_an_answer_comes_after_its_question(in_loop: bool) -> None:
    with Client("memory:") as client:
        graph = built(Late(client), lambda state: {"messages": [AIMessage("well")]})
        invoked(graph, in_loop, durability="async")
        state = client.session("langgraph/t").state()
        assert [message["role"] for message in state.messages] == ["user", "assistant"]
        assert graph.get_state(THREAD).values["messages"][-1].content == "well"


def test_what_waits_goes_on_in_the_order_in_which_it_came() -> None:
    """A task that was given another's result is told of after it, though each waits in a thread of its own."""
    place, arrivals = ("", "c1"), Arrivals()
    arrivals.began(in_loop=False)
    turns = [arrivals.turn(place) for _ in range(4)]
    futures = [next(turn).future for turn in turns]
    given_up = turns.pop(1)
    futures.pop(1)
    assert not any(future.done() for future in futures)
    arrivals.came(place)
    late = arrivals.turn(place)
    turns.append(late)
    futures.append(next(late).future)
    given_up.close()
    for number, turn in enumerate(turns):
        assert [future.done() for future in futures] == [at <= number for at in range(len(turns))]
        _returned(turn)()
    _returned(arrivals.turn(place))()  # nobody is left that it would wait for


def test_all_go_on_where_no_checkpoint_is_to_come() -> None:
    place, arrivals = ("", "c1"), Arrivals()
    arrivals.began(in_loop=False)
    turns = [arrivals.turn(place) for _ in range(3)]
    futures = [next(turn).future for turn in turns]
    arrivals.failed()
    assert all(future.done() for future in futures)
    for turn in turns:
        _returned(turn)()
    _returned(arrivals.turn(place))()


def _returned(steps: Any) -> Any:
    with pytest.raises(StopIteration) as stopped:
        next(steps)
    return stopped.value.value


@pytest.mark.parametrize("in_loop", [False, pytest.param(True, marks=in_context)])
def test_a_step_returns_when_its_checkpoint_is_in_the_log(in_loop: bool) -> None:
    found: list[list[str]] = []
    with Client("memory:") as client:
        saver = Late(client)

        def checkpoints() -> list[str]:
            with outside_run():
                return [event.type for event in client.session("langgraph/t").events() if event.type == "checkpoint"]

        def act() -> int:
            threading.Timer(0.05, saver.go_on.set).start()
            return 1

        sync_step, async_step = step(act), step(name="act")(_awaiting(act))

        def model(state: Any) -> Any:
            sync_step()
            found.append(checkpoints())
            return {"messages": [("ai", "well")]}

        async def amodel(state: Any) -> Any:
            await async_step()
            found.append(checkpoints())
            return {"messages": [("ai", "well")]}

        invoked(built(saver, model, amodel if in_loop else None), in_loop, durability="async")
        assert len(found[0]) == 2  # the input's, and the one that the node stands on


def _awaiting(function: Callable[[], int]) -> Any:
    async def act() -> int:
        return function()

    return act


@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("kind", ["sync", "async", "plain step in a loop", "plain graph in a loop"])
def test_nobody_waits_for_what_does_not_come(kind: str, durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps return where a checkpoint is not put before the end, and where they stop the loop that would put it."""
    monkeypatch.setattr(_arriving, "PATIENCE", 10 * LONG)
    sync_step, async_step = step(name="act")(lambda: 1), step(name="act")(_awaiting(lambda: 1))

    def model(state: Any) -> Any:
        sync_step()
        return {"messages": [("ai", "well")]}

    async def amodel(state: Any) -> Any:
        return model(state) if kind == "plain step in a loop" else {"messages": [("ai", str(await async_step()))]}

    with Client("memory:") as client:
        saver = StreamSaver(client)
        graph = built(saver, model) if kind in ("sync", "plain graph in a loop") else built(saver, model, amodel)

        async def in_loop() -> None:
            graph.invoke({"messages": [("user", "hi")]}, THREAD, durability=durability)

        if kind == "plain graph in a loop":
            asyncio.run(in_loop())
        else:
            invoked(graph, kind != "sync", durability=durability)
        assert len(graph.get_state(THREAD).values["messages"]) == 2


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_checkpoint_that_cannot_be_put_is_not_waited_for(in_loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arriving, "PATIENCE", 10 * LONG)
    with Client("memory:") as client:
        saver = Late(client)
        saver.fails = True

        def act() -> int:
            saver.go_on.set()
            return 1

        sync_step, async_step = step(act), step(name="act")(_awaiting(act))

        def model(state: Any) -> Any:
            sync_step()
            return {"messages": []}

        async def amodel(state: Any) -> Any:
            await async_step()
            return {"messages": []}

        with pytest.raises(NotSerializable):
            invoked(built(saver, model, amodel if in_loop else None), in_loop, durability="async")


class Dropping(StreamSaver):
    """Wraps the saver and does not put the checkpoint of the first superstep."""

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return config if metadata["step"] == 0 else super().put(config, checkpoint, metadata, new_versions)

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return config if metadata["step"] == 0 else await super().aput(config, checkpoint, metadata, new_versions)


@pytest.mark.parametrize("in_loop", [False, True])
def test_one_that_never_comes_is_told_of(
    in_loop: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_arriving, "PATIENCE", 0.05)
    with Client("memory:") as client:
        graph = built(Dropping(client), lambda state: {"messages": [AIMessage("well")]})
        assert invoked(graph, in_loop, durability="async")["messages"][-1].content == "well"
    assert [record.message.partition(" ")[2].partition(" ")[2] for record in caplog.records] == [
        "was not put within 0.05 s: what its tasks record may come before it"
    ]
