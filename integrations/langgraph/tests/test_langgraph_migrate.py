"""Threads move from an official saver, with their branches, subgraphs, questions and writes, and go on."""

from __future__ import annotations

import asyncio
import io
import operator
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, amigrate, migrate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from langgraph_kit import chat, client_on

from agentstream import AgentStreamError

THREADS = ("a", "b")


class State(TypedDict):
    done: Annotated[list[str], operator.add]


def graph(saver: Any) -> Any:
    """Sends two tasks to a subgraph that asks."""

    def ask(state: State) -> Any:
        return {"done": [interrupt(f"{len(state['done'])}?")]}

    inner = StateGraph(State)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    builder = StateGraph(State)
    builder.add_node("work", lambda state: {"done": ["work"]})
    builder.add_node("quick", lambda state: {"done": ["quick"]})
    builder.add_node("sub", inner.compile())
    builder.add_edge(START, "work")
    builder.add_conditional_edges(
        "work", lambda state: [Send("sub", {"done": []}), Send("quick", {})], ["sub", "quick"]
    )
    builder.add_edge("sub", END)
    return builder.compile(checkpointer=saver)


@pytest.fixture(params=["memory", "sqlite"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An official saver with threads."""
    if request.param == "memory":
        yield filled(InMemorySaver())
        return
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.sqlite")) as saver:
        yield filled(saver)


async def amigrated(source: Any, target: Any, tell: Any, folder: Path) -> Any:
    if isinstance(source, InMemorySaver):
        return await amigrate(source, target, progress=tell)
    async with AsyncSqliteSaver.from_conn_string(str(folder / "threads.sqlite")) as opened:
        return await amigrate(opened, target, progress=tell)


def filled(saver: Any) -> Any:
    for thread in THREADS:
        config: Any = {"configurable": {"thread_id": thread}}
        made = graph(saver)
        made.invoke({"done": ["0"]}, config)
        made.update_state(config, {"done": ["fork"]}, as_node="quick")
        old = list(made.get_state_history(config))[-2]
        made.invoke(None, old.config)
    return saver


def history(saver: Any, thread: str) -> Any:
    found = []
    for item in saver.list({"configurable": {"thread_id": thread}}):
        writes = [tuple(write) for write in item.pending_writes]
        found.append((item.config, item.checkpoint, item.metadata, item.parent_config, writes))
    return sorted(found, key=lambda one: (one[0]["configurable"]["checkpoint_ns"], one[1]["id"]))


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("store", ["disk", "hostile"])
def test_what_was_there_is_there_and_goes_on(way: str, store: str, source: Any, tmp_path: Path) -> None:
    told: list[Any] = []
    with client_on(store, tmp_path) as client:
        target = StreamSaver(client)

        def tell(*what: Any) -> None:
            told.append(what)

        if way == "sync":
            done = migrate(source, target, progress=tell)
        else:
            done = asyncio.run(amigrated(source, target, tell, tmp_path))
        assert (done.threads, done.present) == (2, 0)
        assert [(number, whole) for number, whole, _ in told] == [(1, 2), (2, 2)]
        for thread in THREADS:
            assert history(StreamSaver(client), thread) == history(source, thread)
            config: Any = {"configurable": {"thread_id": thread}}
            assert graph(target).get_state(config).interrupts == graph(source).get_state(config).interrupts
            resumed = [graph(saver).invoke(Command(resume="yes"), config) for saver in (source, target)]
            assert resumed[0] == resumed[1]
            assert "yes" in resumed[0]["done"]


def test_it_goes_on_where_it_was_broken_off(source: Any, tmp_path: Path) -> None:
    with client_on("memory", tmp_path) as client:
        target = StreamSaver(client)

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            migrate(source, target, progress=stop)
        done = migrate(source, target, progress=False)
        assert (done.threads, done.present) == (2, 1)
        assert all(history(target, thread) == history(source, thread) for thread in THREADS)
        graph(target).update_state({"configurable": {"thread_id": "a"}}, {"done": ["other"]}, as_node="quick")
        with pytest.raises(AgentStreamError, match="life of its own"):
            migrate(source, target, progress=False)
        assert migrate(source, target, threads=["b"], progress=False).present == 1


def test_a_difference_is_told(tmp_path: Path) -> None:
    source = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "t"}}
    chat(source, 2).invoke({"messages": []}, config)

    class Forgets(InMemorySaver):
        def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            changed: Any = {**checkpoint, "channel_values": {**checkpoint["channel_values"], "messages": ["else"]}}
            return super().put(config, changed, metadata, new_versions)

    with pytest.raises(AgentStreamError, match=r"thread 't': the values of checkpoint"):
        migrate(source, Forgets(), progress=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    source = filled(InMemorySaver())
    for shown, stream in ((True, Terminal()), (False, Terminal()), (True, io.StringIO())):
        monkeypatch.setattr(sys, "stderr", stream)
        migrate(source, InMemorySaver(), progress=shown)
        half, whole = "#" * 20 + "." * 20, "#" * 40
        expected = f"\r[{half}] 1/2 threads\r[{whole}] 2/2 threads\n" if shown and stream.isatty() else ""
        assert stream.getvalue() == expected
