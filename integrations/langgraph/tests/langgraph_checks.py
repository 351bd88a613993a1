"""What the conformance suite does not see: each rule is a check, which a saver passes or not."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from langgraph_kit import StreamSaver, chat, checkpoint, config, put, values


def metadata_is_merged(saver: Any) -> None:
    given = {**config(None, user="ann", langgraph_step=3, __secret="no"), "metadata": {"tag": "a\x00b"}}
    saver.put(given, checkpoint(), {"source": "input", "step": -1, "parents": {}, "note": "c\x00d"}, {})
    found = saver.get_tuple(config())
    assert found is not None
    assert found.metadata == {
        "source": "input",
        "step": -1,
        "parents": {},
        "note": "cd",
        "tag": "ab",
        "user": "ann",
    }


def the_config_names_the_checkpoint(saver: Any) -> None:
    made = put(saver, checkpoint())
    found = saver.get_tuple({"configurable": {"thread_id": "thread"}})
    assert found is not None
    assert found.config["configurable"] == {"thread_id": "thread", "checkpoint_ns": "", "checkpoint_id": made}


def writes_may_come_first(saver: Any) -> None:
    made = checkpoint()
    saver.put_writes(config(made["id"]), [("x", 1)], "task")
    put(saver, made)
    found = saver.get_tuple(config())
    assert found is not None
    assert found.pending_writes == [("task", "x", 1)]


def writes_are_sorted(saver: Any) -> None:
    made = put(saver, checkpoint())
    saver.put_writes(config(made), [("x", "second"), ("x", "third")], "a", "~2")
    saver.put_writes(config(made), [("x", "first")], "b", "~1")
    found = saver.get_tuple(config())
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == ["first", "second", "third"]


def the_first_write_of_a_place_counts(saver: Any) -> None:
    made = put(saver, checkpoint())
    saver.put_writes(config(made), [("x", "kept")], "task")
    saver.put_writes(config(made), [("x", "again"), ("y", "more")], "task")
    found = saver.get_tuple(config())
    assert found is not None
    assert found.pending_writes == [("task", "x", "kept"), ("task", "y", "more")]


def the_last_special_write_counts(saver: Any) -> None:
    made = put(saver, checkpoint())
    saver.put_writes(config(made), [(RESUME, ["A1"]), ("x", 1)], "task")
    saver.put_writes(config(made), [(RESUME, ["A1", "A2"]), ("x", 2)], "task")
    saver.put_writes(config(made), [(INTERRUPT, "ask"), (ERROR, "boom")], "task")
    found = saver.get_tuple(config())
    assert found is not None
    held = {channel: value for _, channel, value in found.pending_writes or ()}
    assert len(found.pending_writes or ()) == 4
    assert held == {RESUME: ["A1", "A2"], INTERRUPT: "ask", ERROR: "boom", "x": 1}


def versions_are_never_the_same_twice(saver: Any) -> None:
    first = saver.get_next_version(None, None)
    one, other = (saver.get_next_version(first, None) for _ in range(2))
    assert first < one
    assert first < other
    assert one != other
    ten = saver.get_next_version("9", None)
    assert ten < saver.get_next_version(ten, None)


def unchanged_channels_keep_their_value(saver: Any) -> None:
    first = put(saver, checkpoint({"a": "old", "b": 1}))
    second = put(saver, checkpoint({"a": "old", "b": 2}, b="2"), first, new=["b"])
    third = put(saver, checkpoint({"a": "old"}, b="3"), second, new=["b"])
    assert values(saver, second) == {"a": "old", "b": 2}
    assert values(saver, third) == {"a": "old"}
    other = StreamSaver(saver._client)
    assert values(other, second) == {"a": "old", "b": 2}
    assert values(other, third) == {"a": "old"}


def branches_with_equal_versions_are_apart(saver: Any) -> None:
    root = put(saver, checkpoint({"a": "root"}, a=1))
    left = put(saver, checkpoint({"a": "left"}, a=2), root)
    right = put(saver, checkpoint({"a": "right"}, a=2), root)
    below = put(saver, checkpoint({"a": "left", "b": 1}, a=2, b=1), left, new=["b"])
    assert saver.get_tuple(config(left)) is not None
    assert [values(StreamSaver(saver._client), id)["a"] for id in (left, right, below)] == ["left", "right", "left"]


def the_latest_has_the_highest_id(saver: Any) -> None:
    put(saver, checkpoint({"a": "new"}, id="2"))
    put(saver, checkpoint({"a": "old"}, id="1"))
    assert values(saver) == {"a": "new"}


def the_last_put_of_an_id_counts(saver: Any) -> None:
    put(saver, checkpoint({"a": 1}, id="1"))
    put(saver, checkpoint({"a": 2}, id="1"))
    assert values(saver) == {"a": 2}


def no_namespace_lists_all_and_an_empty_one_the_root(saver: Any) -> None:
    root = put(saver, checkpoint(id="1"))
    put(saver, checkpoint(id="2"), ns="sub:1", parents={"": root})
    assert [found.checkpoint["id"] for found in saver.list(config(ns=None))] == ["2", "1"]
    assert [found.checkpoint["id"] for found in saver.list(config(ns=""))] == ["1"]
    assert [found.checkpoint["id"] for found in saver.list(config(ns="sub:1"))] == ["2"]


def before_leaves_its_own_out(saver: Any) -> None:
    for id in "123":
        put(saver, checkpoint(id=id))
    assert [found.checkpoint["id"] for found in saver.list(config(), before=config("3"), limit=1)] == ["2"]


def a_thread_is_named_by_its_text(saver: Any) -> None:
    saver.put(config(thread=7), checkpoint({"a": 1}), {"source": "loop", "step": 0, "parents": {}}, {"a": "1"})
    assert saver.get_tuple(config(thread="7")) is not None


def _delta(saver: Any) -> tuple[str, Any]:
    """A fork: 9 → 5 (not in the order of ids), and 9 → 7; the channel's seed is at 9."""
    root = put(saver, checkpoint({"d": ["seed"]}, id="9"))
    saver.put_writes(config(root), [("d", "b")], "a", "~2")
    saver.put_writes(config(root), [("d", "a")], "b", "~1")
    other = put(saver, checkpoint(id="7", d="2"), root, source="fork")
    saver.put_writes(config(other), [("d", "other")], "t")
    middle = put(saver, checkpoint(id="5", d="2"), root)
    saver.put_writes(config(middle), [("d", "c")], "t")
    last = put(saver, checkpoint(id="6", d="3"), middle)
    saver.put_writes(config(last), [("d", "not yet")], "t")
    history = saver.get_delta_channel_history(config=config(last), channels=["d", "none"])
    return last, history


def delta_history_follows_the_parents(saver: Any) -> None:
    last, history = _delta(saver)
    assert [value for _, _, value in history["d"]["writes"]] == ["a", "b", "c"]
    assert history["d"].get("seed") == ["seed"]
    assert history["none"] == {"writes": []}
    assert asyncio.run(saver.aget_delta_channel_history(config=config(last), channels=["d", "none"])) == history
    whole = BaseCheckpointSaver.get_delta_channel_history(saver, config=config(last), channels=["d", "none"])
    assert whole == history


def pruning_keeps_what_delta_channels_are_made_of(saver: Any) -> None:
    last, history = _delta(saver)
    saver.delete_for_runs(["nobody"])
    for old in ("5", "7"):
        saver._drive(
            saver._forget(saver._thread("thread"), [saver._thread("thread").index.checkpoints["", old]], False)
        )
    assert saver.get_tuple(config("5")) is None
    assert saver.get_delta_channel_history(config=config(last), channels=["d", "none"]) == history


def what_is_put_is_copied(saver: Any) -> None:
    made, metadata = checkpoint({"a": {"x": [1, 2]}, "b": [{"long": "x" * 300}, {}]}), {"source": "loop", "step": 1}
    saver.put(config(), made, metadata, made["channel_versions"])  # type: ignore[arg-type]
    made["channel_values"]["a"]["x"].append(3)
    made["channel_versions"]["a"] = "9"
    metadata["step"] = 99
    given = saver.get_tuple(config())
    assert given is not None
    given.checkpoint["channel_values"]["b"][1]["changed"] = True
    given.checkpoint["channel_versions"]["a"] = "8"
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": {"x": [1, 2]}, "b": [{"long": "x" * 300}, {}]}
    assert found.checkpoint["channel_versions"]["a"] == "1"
    assert found.metadata["step"] == 1


def other_methods_may_be_called_while_listing(saver: Any) -> None:
    for id in "123":
        put(saver, checkpoint({"a": id}, id=id))

    async def both() -> None:
        async for found in saver.alist(config()):
            assert await saver.aget_tuple(found.config) == saver.get_tuple(found.config) == found
            await saver.aput_writes(found.config, [("x", 1)], "task")
            saver.put_writes(found.config, [("x", 1)], "other")

    asyncio.run(both())
    for found in saver.list(config()):
        assert saver.get_tuple(found.config) == found


def a_task_is_not_run_again_when_it_resumes(saver: Any) -> None:
    graph = chat(saver, 3, interrupt_before=["model"])
    thread = {"configurable": {"thread_id": "c"}}
    graph.invoke({"messages": [("user", "hi")]}, thread)
    for _ in range(3):
        graph.invoke(None, thread)
    assert [message.content for message in graph.get_state(thread).values["messages"]] == ["hi", "1", "2"]
    assert graph.get_state(thread).next == ()


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def asking(saver: Any, done: list[str]) -> Any:
    """One node that acts, beside one that asks; then another."""

    def node(name: str, ask: bool = False) -> Any:
        def work(state: Log) -> Any:
            answer = interrupt(name) if ask else ""
            done.append(name)
            return {"log": [name + answer]}

        return work

    builder: Any = StateGraph(Log)
    builder.add_node("act", node("act"))
    builder.add_node("ask", node("ask", True))
    builder.add_node("last", node("last"))
    builder.add_edge(START, "act")
    builder.add_edge(START, "ask")
    builder.add_edge(["act", "ask"], "last")
    builder.add_edge("last", END)
    return builder.compile(checkpointer=saver)


def _addressed(saver: Any) -> Any:
    done: list[str] = []
    graph, thread = asking(saver, done), {"configurable": {"thread_id": "a"}}
    graph.invoke({"log": []}, thread)
    asked = graph.get_state(thread).config
    told = [graph.invoke(Command(resume="!"), asked), [*done]]  # of the latest: what was done is not done again
    told += [graph.invoke(Command(resume="?"), asked), [*done]]  # the thread has moved past it
    return [*told, [(state.values, state.next, state.metadata) for state in graph.get_state_history(thread)]]


def an_addressed_run_sees_whether_the_thread_moved_on(saver: Any) -> None:
    assert _addressed(saver) == _addressed(InMemorySaver())


def the_same_run_goes_on(saver: Any) -> None:
    done: list[str] = []
    graph = asking(saver, done)
    thread: Any = {"configurable": {"thread_id": "r"}, "metadata": {"run_id": "one"}}
    graph.invoke({"log": ["given"]}, thread)
    again = asking(StreamSaver(saver._client), done)
    assert again.invoke({"log": ["again"]}, thread)["log"] == ["given", "act"]
    assert done == ["act"]
    other = {**thread, "metadata": {"run_id": "two"}}
    assert again.invoke({"log": ["other"]}, other)["log"] == ["given", "other", "act"]
    assert done == ["act", "act"]


class Crash(BaseException):
    pass


def a_crash_before_the_next_checkpoint_is_gone_on_from(saver: Any) -> None:
    """What tasks wrote is there, and `next` is empty as at the end; yet the graph has more to do."""
    done: list[str] = []
    graph, thread = asking(saver, done), {"configurable": {"thread_id": "k"}}
    graph.invoke({"log": []}, thread)
    put = saver.put

    def crashing(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
        if metadata["step"] == 1:
            raise Crash
        return put(config, checkpoint, metadata, versions)

    saver.put = crashing
    with pytest.raises(Crash):
        graph.invoke(Command(resume="!"), thread, durability="sync")
    del saver.put
    fresh = asking(StreamSaver(saver._client), done)
    state = fresh.get_state(thread)
    assert (state.next, state.values) == ((), {"log": ["act", "ask!"]})
    assert fresh.invoke(None, thread) == {"log": ["act", "ask!", "last"]}
    assert done == ["act", "ask", "last"]


Check = Callable[[Any], None]
CHECKS: list[Check] = [
    metadata_is_merged,
    the_config_names_the_checkpoint,
    writes_may_come_first,
    writes_are_sorted,
    the_first_write_of_a_place_counts,
    the_last_special_write_counts,
    versions_are_never_the_same_twice,
    unchanged_channels_keep_their_value,
    branches_with_equal_versions_are_apart,
    the_latest_has_the_highest_id,
    the_last_put_of_an_id_counts,
    no_namespace_lists_all_and_an_empty_one_the_root,
    before_leaves_its_own_out,
    a_thread_is_named_by_its_text,
    delta_history_follows_the_parents,
    pruning_keeps_what_delta_channels_are_made_of,
    what_is_put_is_copied,
    other_methods_may_be_called_while_listing,
    a_task_is_not_run_again_when_it_resumes,
    an_addressed_run_sees_whether_the_thread_moved_on,
    the_same_run_goes_on,
    a_crash_before_the_next_checkpoint_is_gone_on_from,
]
