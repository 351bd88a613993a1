"""Graphs with a DeltaChannel, whose value is made from its ancestors' writes: the states and histories are those that
LangGraph's own saver leaves, and what such a value is made from is found."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from langgraph_kit import StreamSaver, checkpoint, client_on, config, put

EVERY = 4
"""Updates between two snapshots."""


def joined(value: Any, writes: Sequence[Any]) -> list[str]:
    return [*value, *itertools.chain.from_iterable(writes)]


class State(TypedDict):
    log: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=EVERY)]
    last: str


def graph(saver: Any) -> Any:
    """Rounds of one node, which sends to three workers; snapshots fall into the middle of them."""

    def begin(state: State) -> Any:
        return {"log": [f"round of {len(state['log'])}"], "last": str(len(state["log"]))}

    def sends(state: State) -> Any:
        return ["end", *(Send("work", {"last": f"{state['last']}-{number}"}) for number in range(3))]

    builder: Any = StateGraph(State)
    builder.add_node("begin", begin)
    builder.add_node("work", lambda state: {"log": [f"worked {state['last']}"]})
    builder.add_node("end", lambda state: {"log": [f"end of {len(state['log'])}"]})
    builder.add_edge(START, "begin")
    builder.add_conditional_edges("begin", sends, ["work", "end"])
    builder.add_conditional_edges("end", lambda state: "begin" if len(state["log"]) < 20 else END, ["begin", END])
    return builder.compile(checkpointer=saver)


def of(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def call(made: Any, given: Any, where: Any, durability: Any) -> Any:
    if durability == "async":
        return asyncio.run(made.ainvoke(given, where, durability=durability))
    return made.invoke(given, where, durability=durability)


def history(made: Any, thread: str = "t") -> list[Any]:
    """What each checkpoint of a thread is, with its parent told by its place."""
    found = list(made.get_state_history(of(thread)))
    places = {state.config["configurable"]["checkpoint_id"]: place for place, state in enumerate(found)}
    return [
        (
            state.values,
            state.next,
            state.metadata["source"],
            state.metadata["step"],
            state.parent_config and places.get(state.parent_config["configurable"]["checkpoint_id"]),
        )
        for state in found
    ]


def worked(made: Any, durability: str) -> list[Any]:
    """Two calls, a fork in the middle that goes on, and a call after it; with what each gave."""
    told = [call(made, {"log": [name]}, of("t"), durability) for name in ("one", "two")]
    old = list(made.get_state_history(of("t")))
    fork = made.update_state(old[len(old) // 2].config, {"log": ["forked"]}, as_node="end")
    return [*told, call(made, None, fork, durability), call(made, {"log": ["three"]}, of("t"), durability)]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_graph_with_a_delta_channel(durability: str, tmp_path: Path) -> None:
    expected = graph(InMemorySaver())
    told = worked(expected, durability)
    whole = history(expected)
    with client_on("disk", tmp_path) as client:
        saver = StreamSaver(client)
        assert worked(graph(saver), durability) == told
        assert history(graph(saver)) == whole
        held = [found.checkpoint["channel_values"].get("log") for found in saver.list(config(thread="t"))]
        assert any(isinstance(one, _DeltaSnapshot) for one in held)
        assert any(one is None for one in held)

    with client_on("disk", tmp_path) as client:  # as another process
        saver = StreamSaver(client)
        assert history(graph(saver)) == whole
        saver.copy_thread("t", "copy")
        saver.prune(["t"])
        assert history(graph(saver)) == [(*whole[0][:-1], None)]
        assert history(graph(saver), "copy") == whole
        more = call(expected, {"log": ["more"]}, of("t"), durability)
        assert call(graph(saver), {"log": ["more"]}, of("t"), durability) == more
        assert call(graph(StreamSaver(client)), {"log": ["more"]}, of("copy"), durability) == more
        assert graph(StreamSaver(client)).get_state(of("t")).values == more
        saver.delete_thread("t")
        assert history(graph(saver)) == []
        assert history(graph(StreamSaver(client)), "copy") == history(expected)


# --- what a value is made from ----------------------------------------------------------------------------------------


def both(client: Any) -> list[Any]:
    """Our saver and LangGraph's own, with one thread: root, then "2" (a snapshot of `d`), then "3", then "4"."""
    savers: list[Any] = [StreamSaver(client), InMemorySaver()]
    for saver in savers:
        put(saver, checkpoint({"d": ["oldest"], "e": ["e"]}, id="1"))
        saver.put_writes(config("1"), [("d", ["before"]), ("e", ["e1"])], "t")
        put(saver, checkpoint({"d": _DeltaSnapshot(["newer"])}, id="2", d="2", e="2"), "1")
        saver.put_writes(config("2"), [("d", ["last"]), ("e", ["e3"])], "z", "~2")
        saver.put_writes(config("2"), [("d", ["with a path"])], "b", "~1")
        saver.put_writes(config("2"), [("d", ["without"]), ("e", ["e2"])], "c")
        put(saver, checkpoint(id="3", d="3", e="3"), "2")
        saver.put_writes(config("3"), [("e", ["e4"])], "t")
        put(saver, checkpoint(id="4", d="3", e="4"), "3")
    return savers


@pytest.mark.parametrize("again", [False, True])
def test_what_a_delta_channel_is_made_from(again: bool, tmp_path: Path) -> None:
    with client_on("disk", tmp_path) as client:
        ours, official = both(client)
        ours = StreamSaver(client) if again else ours
        found: Any = ours.get_delta_channel_history(config=config("4"), channels=["d", "e"])
        assert found["d"]["seed"] == _DeltaSnapshot(["newer"])  # the nearest of two
        assert [value for _, _, (value,) in found["d"]["writes"]] == ["without", "with a path", "last"]
        assert found["e"]["seed"] == ["e"]  # of another ancestor
        assert [value for _, _, (value,) in found["e"]["writes"]] == ["e1", "e2", "e3", "e4"]
        for id, channels in itertools.product([None, *"1234", "none"], [["d", "e"], ["e"], ["d", "other"], []]):
            asked: Any = {"config": config(id), "channels": channels}
            expected = official.get_delta_channel_history(**asked)
            assert ours.get_delta_channel_history(**asked) == expected
            assert asyncio.run(ours.aget_delta_channel_history(**asked)) == expected
