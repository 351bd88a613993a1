"""Random graphs, worked through in random ways, leave the same states and histories as with LangGraph's own saver."""

from __future__ import annotations

import asyncio
import operator
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, RetryPolicy, Send, interrupt
from langgraph_kit import IN_CONTEXT, StreamSaver, client_on

from agentstream import Client

THREAD: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 60}


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**old, **new}


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    files: Annotated[dict[str, Any], merged]
    last: Any
    rounds: Annotated[int, operator.add]


@dataclass(frozen=True)
class Spec:
    """What a graph does: its nodes in order, how often all of it, whether it pauses before one."""

    nodes: tuple[str, ...]
    rounds: int
    pause: bool


KINDS = ("say", "write", "last", "fan", "ask", "sub", "flaky", "broken", "edit", "go")


class Broken(Exception):
    pass


def work(given: Any) -> Any:
    said = AIMessage(f"w{given['n']}", id=f"w{given['id']}")
    return {"log": [("worked", given["n"])], "messages": [said]}


def build(spec: Spec, saver: Any) -> Any:
    failed: set[str] = set()

    def act(kind: str, name: str) -> Callable[[State], Any]:
        def node(state: State) -> Any:
            place = f"{name} {state.get('rounds', 0)} {len(state.get('log', []))}"
            log = [{"at": place, "more": ["x" * 40, (1, 2)]}]
            if kind == "say":
                return {"messages": [AIMessage(f"said {place} " * 9, id=place)], "log": log}
            if kind == "write":
                return {"files": {f"file {number}": {"text": place * 9} for number in range(3)}, "log": log}
            if kind == "last":
                return {"last": {1: place, "set": {place}}, "log": log}
            if kind == "ask":
                return {"log": [*log, interrupt({"question": place}), interrupt("sure?")]}
            if kind in ("flaky", "broken"):  # the first is tried again at once, the second when the graph goes on
                if place not in failed:
                    failed.add(place)
                    raise Broken(place) if kind == "broken" else ConnectionError(place)
                return {"log": log}
            if kind == "edit":  # an update and a removal of what is there
                messages = state.get("messages", [])
                return {"messages": [AIMessage("edited", id=messages[0].id)] if messages else [], "log": log}
            if kind == "go":
                return Command(update={"log": [*log, "gone"]})
            return {"log": log}

        return node

    builder: Any = StateGraph(State)
    names = [f"{kind}{number}" for number, kind in enumerate(spec.nodes)]
    for kind, name in zip(spec.nodes, names, strict=True):
        if kind == "sub":
            inner: Any = StateGraph(State)
            inner.add_node("in1", lambda state: {"log": [f"inner {len(state.get('log', []))}"]})
            inner.add_node("in2", lambda state: {"log": [interrupt("inside")], "last": "inner"})
            inner.add_edge(START, "in1")
            inner.add_edge("in1", "in2")
            whole = inner.compile()
            builder.add_node(name, lambda state, whole=whole: {"last": whole.invoke({"log": []})["log"]})
        else:
            policy = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2, retry_on=ConnectionError)
            builder.add_node(name, act(kind, name), retry_policy=policy if kind == "flaky" else None)
    builder.add_node("worker", work)
    builder.add_node("end", lambda state: {"rounds": 1})
    builder.add_edge(START, names[0])
    for kind, name, after in zip(spec.nodes, names, [*names[1:], "end"], strict=True):
        if kind == "fan":

            def sends(state: State, after: str = after) -> list[Any]:
                base = len(state.get("log", []))
                return [after, *(Send("worker", {"n": n, "id": f"{base}-{n}"}) for n in range(3))]

            builder.add_conditional_edges(name, sends, [after, "worker"])
        else:
            builder.add_edge(name, after)
    builder.add_conditional_edges(
        "end", lambda state: names[0] if state["rounds"] < spec.rounds else END, [names[0], END]
    )
    return builder.compile(checkpointer=saver, interrupt_before=[names[-1]] if spec.pause else None)


Move = tuple[str, int]


def play(graph: Any, moves: list[Move], durability: Any, in_loop: bool) -> list[Any]:
    """Makes the moves, and says what came of each and what there is at the end."""
    told: list[Any] = []

    def call(given: Any, config: Any = THREAD) -> None:
        try:
            if in_loop:
                result = asyncio.run(graph.ainvoke(given, config, durability=durability))
            else:
                result = graph.invoke(given, config, durability=durability)
            told.append(plain(result))
        except (Broken, ConnectionError) as error:
            told.append(repr(error))

    call({"log": ["begin"], "rounds": 0})
    for move, number in moves:
        state = graph.get_state(THREAD)
        if move == "resume":
            waiting = [asked for task in state.tasks for asked in task.interrupts]
            if waiting:
                call(Command(resume={asked.id: f"answer {number}" for asked in waiting}))
            else:
                call(None)
        elif move == "again":
            call({"log": [f"again {number}"], "rounds": -1})
        else:
            history = list(graph.get_state_history(THREAD))
            old = history[number % len(history)].config
            if move == "update":
                graph.update_state(old, {"log": [f"update {number}"]}, as_node="end")
            else:
                call(None, {**old, "recursion_limit": 60})
    history = list(graph.get_state_history(THREAD))
    places = {state.config["configurable"]["checkpoint_id"]: place for place, state in enumerate(history)}
    for state in history:
        parent = state.parent_config and places.get(state.parent_config["configurable"]["checkpoint_id"])
        tasks = [
            (task.name, task.error and repr(task.error), [asked.value for asked in task.interrupts])
            for task in state.tasks
        ]
        metadata = {name: state.metadata.get(name) for name in ("source", "step")}
        told.append((plain(state.values), sorted(state.next), sorted(map(repr, tasks)), metadata, parent))
    return told


def plain(value: Any) -> Any:
    """Without ids that are made by chance."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if name != "__interrupt__"}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return repr(value)


specs = st.builds(
    Spec,
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(tuple),
    st.integers(1, 2),
    st.booleans(),
)
moves_of = st.lists(
    st.tuples(st.sampled_from(("resume", "resume", "again", "update", "travel")), st.integers(0, 20)), max_size=5
)


IN_LOOP = st.booleans() if IN_CONTEXT else st.just(False)


@settings(max_examples=settings.default.max_examples // 4 if settings.default else 25)
@given(specs, moves_of, st.sampled_from(("sync", "async", "exit")), IN_LOOP, st.sampled_from(("memory", "disk")))
def test_random_graphs(spec: Spec, moves: list[Move], durability: str, in_loop: bool, store: str) -> None:
    expected = play(build(spec, InMemorySaver()), moves, durability, in_loop)
    with tempfile.TemporaryDirectory() as folder, client_on(store, Path(folder)) as client:
        found = play(build(spec, StreamSaver(client)), moves, durability, in_loop)
        assert found == expected
        anew = play_history(build(spec, StreamSaver(client)))
        assert anew == [one[0] for one in expected if isinstance(one, tuple)]


def play_history(graph: Any) -> list[Any]:
    return [plain(state.values) for state in graph.get_state_history(THREAD)]


# --- killed anywhere --------------------------------------------------------------------------------------------------

steady = st.builds(
    Spec,
    st.lists(st.sampled_from(("say", "write", "last", "fan", "edit", "go")), min_size=1, max_size=4).map(tuple),
    st.integers(1, 2),
    st.just(False),
)


def whole(graph: Any, thread: Any) -> list[Any]:
    return [
        (plain(state.values), state.next, state.metadata.get("source"), state.metadata.get("step"))
        for state in graph.get_state_history(thread)
    ]


@settings(max_examples=settings.default.max_examples // 8 if settings.default else 12)
@given(steady, st.sampled_from(("sync", "async")), st.data())
def test_killed_after_any_event_a_graph_comes_to_the_same_history(spec: Spec, durability: Any, data: Any) -> None:
    """What a killed process leaves is the first events that it wrote, be it one of two that belong together."""
    begin: Any = {"log": ["begin"], "rounds": 0}
    expected = build(spec, InMemorySaver())
    expected.invoke(begin, THREAD)
    with Client("memory:") as client:
        build(spec, StreamSaver(client)).invoke(begin, THREAD, durability=durability)
        session = client.session("langgraph/t")
        cut = data.draw(st.integers(1, len(list(session.events()))), label="events that were written")
        session.fork("langgraph/left", at=cut)
        left: Any = {"configurable": {"thread_id": "left"}, "recursion_limit": 60}
        saver = StreamSaver(client)
        graph = build(spec, saver)
        graph.invoke(begin if saver.get_tuple(left) is None else None, left, durability=durability)
        assert whole(graph, left) == whole(expected, THREAD)
        assert whole(build(spec, StreamSaver(client)), left) == whole(expected, THREAD)
