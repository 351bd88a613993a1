"""Steps in nodes: recorded under the checkpoint and the task, served when the task is executed again, and never of
another task."""

from __future__ import annotations

import asyncio
import operator
import threading
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import ContextThreadPoolExecutor
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from langgraph_kit import Xor, client_on

from agentstream import AgentStreamError, Client, Diverged, delta, emit, step
from agentstream.agents.alone import _OURS, nobody_else

THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    said: Annotated[list[str], operator.add]


class Effects:
    """What was done, in order; `fails` names what raises once."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails: set[str] = set()

        @step
        def act(name: str) -> str:
            self.done.append(name)
            return name.upper()

        @step
        async def aact(name: str) -> str:
            self.done.append(name)
            return name.upper()

        self.act, self.aact = act, aact

    def trip(self, name: str) -> None:
        if name in self.fails:
            self.fails.discard(name)
            raise RuntimeError(f"{name} fell over")


def built(saver: Any, *nodes: Any, **options: Any) -> Any:
    builder = StateGraph(State)
    names = [f"n{number}" for number in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        builder.add_node(name, node, **options)
    for above, below in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(above, below)
    return builder.compile(checkpointer=saver)


@pytest.fixture(params=["memory", "disk", "hostile"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with client_on(request.param, tmp_path) as client:
        yield client


def test_a_failed_node_is_served_what_it_did(client: Client) -> None:
    effects = Effects()
    effects.fails = {"b"}

    def node(state: State) -> Any:
        first = effects.act("a")
        effects.trip("b")
        return {"said": [first, effects.act("b")]}

    graph = built(StreamSaver(client), node)
    with pytest.raises(RuntimeError, match="fell over"):
        graph.invoke({"said": []}, THREAD)
    assert graph.invoke(None, THREAD) == {"said": ["A", "B"]}
    assert effects.done == ["a", "b"]
    # another process
    effects.fails = {"b"}
    with pytest.raises(RuntimeError, match="fell over"):
        graph.invoke({"said": ["more"]}, THREAD)
    fresh = built(StreamSaver(client.to_async().to_sync()), node)
    assert fresh.invoke(None, THREAD) == {"said": ["A", "B", "more", "A", "B"]}
    assert effects.done == ["a", "b", "a", "b"], "the second invocation is another task"


def test_async_nodes_and_their_tasks(client: Client) -> None:
    effects = Effects()
    effects.fails = {"x"}

    async def node(state: State) -> Any:
        both = await asyncio.gather(effects.aact("a"), effects.aact("b"))
        after = await effects.aact("c")
        effects.trip("x")
        return {"said": [*both, after]}

    async def main() -> None:
        graph = built(StreamSaver(client), RunnableLambda(lambda _: None, node))
        with pytest.raises(RuntimeError):
            await graph.ainvoke({"said": []}, THREAD)
        assert await graph.ainvoke(None, THREAD) == {"said": ["A", "B", "C"]}

    asyncio.run(main())
    assert sorted(effects.done) == ["a", "b", "c"]


def test_what_came_before_an_interrupt_is_not_done_again(client: Client) -> None:
    effects = Effects()

    def node(state: State) -> Any:
        first = effects.act("a")
        answer = interrupt(f"{first}?")
        return {"said": [first, effects.act(answer)]}

    graph = built(StreamSaver(client), node)
    graph.invoke({"said": []}, THREAD)
    assert graph.invoke(Command(resume="yes"), THREAD) == {"said": ["A", "YES"]}
    assert effects.done == ["a", "yes"]


def test_a_retried_node_is_served_what_it_did(client: Client) -> None:
    effects = Effects()
    effects.fails = {"b"}

    def node(state: State) -> Any:
        first = effects.act("a")
        if "b" in effects.fails:
            effects.fails.discard("b")
            raise ConnectionError
        return {"said": [first]}

    policy = RetryPolicy(initial_interval=0.001, jitter=False)
    graph = built(StreamSaver(client), node, retry_policy=policy)
    assert graph.invoke({"said": []}, THREAD) == {"said": ["A"]}
    assert effects.done == ["a"]


def test_fanned_out_nodes_and_subgraphs_keep_to_themselves(client: Client) -> None:
    effects = Effects()
    effects.fails = {"inner"}

    def inner(state: State) -> Any:
        said = effects.act("same")
        effects.trip("inner")
        return {"said": [said]}

    sub = built(None, inner)

    def outer(state: State) -> Any:
        first = effects.act("same")
        return {"said": [first, *sub.invoke({"said": []})["said"]]}

    graph = built(StreamSaver(client), outer, lambda state: {"said": [effects.act("same")]})
    with pytest.raises(RuntimeError):
        graph.invoke({"said": []}, THREAD)
    assert graph.invoke(None, THREAD) == {"said": ["SAME"] * 3}
    assert effects.done == ["same"] * 3


def test_tasks_of_a_workflow(client: Client) -> None:
    effects = Effects()
    effects.fails = {"late"}

    @task
    def work(name: str) -> str:
        said = effects.act(name)
        effects.trip("late")
        return said

    @entrypoint(checkpointer=StreamSaver(client))
    def flow(names: list[str]) -> list[str]:
        return [effects.act("start"), *(future.result() for future in [work(name) for name in names])]

    with pytest.raises(RuntimeError):
        flow.invoke(["a", "b"], THREAD)
    assert flow.invoke(None, THREAD) == ["START", "A", "B"]
    assert sorted(effects.done) == ["a", "b", "start"]


@pytest.mark.parametrize("change", ["input", "left out"])
def test_other_code_diverges(client: Client, change: str) -> None:
    effects = Effects()
    effects.fails = {"x"}
    names = ["a"]

    def node(state: State) -> Any:
        for name in names:
            effects.act(name)
        effects.trip("x")
        return {"said": []}

    graph = built(StreamSaver(client), node)
    with pytest.raises(RuntimeError):
        graph.invoke({"said": []}, THREAD)
    names[:] = ["other"] if change == "input" else []
    with pytest.raises(Diverged) as caught:
        graph.invoke(None, THREAD)
    assert caught.value.divergence is not None
    assert effects.done == ["a"]
    names[:] = ["a"]
    assert graph.invoke(None, THREAD) == {"said": []}
    assert effects.done == ["a"]


def test_a_divergence_cannot_be_swallowed(client: Client) -> None:
    effects = Effects()
    effects.fails = {"x"}
    name = ["a"]

    def node(state: State) -> Any:
        try:
            effects.act(name[0])
        except Exception:
            return {"said": ["went on"]}
        effects.trip("x")
        return {"said": []}

    graph = built(StreamSaver(client), node)
    with pytest.raises(RuntimeError):
        graph.invoke({"said": []}, THREAD)
    name[0] = "b"
    with pytest.raises(Diverged):
        graph.invoke(None, THREAD, durability="sync")
    assert "went on" not in graph.get_state(THREAD).values["said"]


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_divergence_is_told_at_once_where_nobody_else_is_about(
    client: Client, in_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who calls what was not recorded need not wait for a thread or task that cannot be there."""
    monkeypatch.setattr("agentstream.agents.progress.STALLED", 600.0)
    monkeypatch.setattr("agentstream.agents.progress.STALLED_BY_STRANGERS", 600.0)
    monkeypatch.setattr("agentstream.agents.alone._OURS", _OURS | {"execnet"})  # what runs these tests has a thread
    effects = Effects()
    effects.fails = {"x"}
    name = ["a"]

    def node(state: State) -> Any:
        effects.act(name[0])
        effects.trip("x")
        return {"said": []}

    async def anode(state: State) -> Any:
        await effects.aact(name[0])
        effects.trip("x")
        return {"said": []}

    graph = built(StreamSaver(client), RunnableLambda(node, anode))

    def call(given: Any) -> Any:
        return asyncio.run(graph.ainvoke(given, THREAD)) if in_loop else graph.invoke(given, THREAD)

    with pytest.raises(RuntimeError):
        call({"said": []})
    name[0] = "b"
    with pytest.raises(Diverged):
        call(None)


def test_a_thread_that_comes_late_is_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new waits for what was recorded as long as another thread is in code that may yet call it."""
    effects = Effects()
    effects.fails = {"x"}
    late, looked = threading.Event(), threading.Event()

    def looking(engine: frozenset[str]) -> bool:
        found = nobody_else(engine)
        looked.set()
        return found

    monkeypatch.setattr("agentstream.agents.tasks.nobody_else", looking)

    def first() -> str:
        if late.is_set():
            assert looked.wait(60)
        return effects.act("a")

    def second() -> str:
        effects.trip("x")
        return effects.act("b")

    def node(state: State) -> Any:
        with ContextThreadPoolExecutor(2) as pool:
            one = pool.submit(first)
            if not late.is_set():
                one.result()
            two = pool.submit(second)
            return {"said": [one.result(), two.result()]}

    graph = built(StreamSaver(client), node)
    with pytest.raises(RuntimeError):
        graph.invoke({"said": []}, THREAD)
    late.set()
    assert graph.invoke(None, THREAD) == {"said": ["A", "B"]}
    assert effects.done == ["a", "b"]
    assert looked.is_set()


def test_large_inputs_stand_beside_the_savers_items(client: Client) -> None:
    effects = Effects()

    @step
    def read(messages: list[str]) -> int:
        return len(messages)

    def node(state: State) -> Any:
        long = [f"{number} " * 60 for number in range(20)]
        return {"said": [str(read(long)), *long, str(read(long))]}

    graph = built(StreamSaver(client), node, node)
    done = graph.invoke({"said": []}, THREAD)
    assert StreamSaver(client).get_tuple(THREAD).checkpoint["channel_values"]["said"] == done["said"]  # type: ignore[union-attr]
    state = client.session("langgraph/t").state()
    first = next(step for step in state.steps if step.kind != "node")
    assert first.input["messages"] == done["said"][1:21]
    assert not effects.done


def test_a_copy_keeps_what_was_done(client: Client) -> None:
    effects = Effects()
    effects.fails = {"x"}

    def node(state: State) -> Any:
        said = effects.act("a")
        effects.trip("x")
        return {"said": [said]}

    saver = StreamSaver(client)
    graph = built(saver, node)
    with pytest.raises(RuntimeError):
        graph.invoke({"said": []}, THREAD)
    saver.copy_thread("t", "copy")
    assert graph.invoke(None, {"configurable": {"thread_id": "copy"}}) == {"said": ["A"]}
    assert effects.done == ["a"]


def test_an_encrypting_serializer_says_nothing_in_clear(client: Client) -> None:
    effects = Effects()
    serde = EncryptedSerializer(Xor())
    graph = built(StreamSaver(client, serde=serde), lambda state: {"said": [effects.act("secret")]})
    with pytest.raises(AgentStreamError, match="in clear"):
        graph.invoke({"said": []}, THREAD)
    assert not effects.done


def test_a_thread_forks_at_any_event(client: Client) -> None:
    """A fork of the session at any event is a thread: it goes on from the latest checkpoint that it holds."""
    effects = Effects()

    def node(name: str) -> Any:
        return lambda state: {"said": [effects.act(name)]}

    graph = built(StreamSaver(client), node("a"), node("b"), node("c"))
    graph.invoke({"said": ["0"]}, THREAD, durability="sync")
    session = client.session("langgraph/t")
    history = list(session.events())
    for at in range(2, len(history)):
        config: Any = {"configurable": {"thread_id": f"at {at}"}}
        session.fork(f"langgraph/at {at}", at=at)
        before = len(effects.done)
        checkpoints = [event for event in history[:at] if event.type == "checkpoint"]
        finished = {event.key for event in history[:at] if event.type == "outcome"}
        graph.invoke(None if checkpoints else {"said": ["0"]}, config)
        assert graph.get_state(config).values == {"said": ["0", "A", "B", "C"]}, at
        assert len(effects.done) - before == 3 - len(finished), "what was done before the cut is done once"


def test_what_a_node_says_is_in_the_session(client: Client) -> None:
    """`delta` and `emit` in a node, with steps and without."""
    effects = Effects()

    def node(state: State) -> Any:
        delta("Here: ", target="page")
        emit("progress", {"done": 0})
        return {"said": [effects.act("a")]}

    def quiet(state: State) -> Any:
        delta("and there.", target="page")
        return {}

    built(StreamSaver(client), node, quiet).invoke({"said": []}, THREAD)
    session = client.session("langgraph/t")
    assert session.output().texts["page"] == "Here: and there."
    assert [event.value for event in session.events() if event.type == "progress"] == [{"done": 0}]
