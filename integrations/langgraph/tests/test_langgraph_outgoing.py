"""A thread that was recorded without rules leaves its store under them: nothing that they find is left, in no form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph import StreamSaver, publish
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from langgraph_kit import checkpoint, config, put, values
from test_langgraph_redact import RULES, Pickled, graph_of, leaky, restored

from agentstream import Client, Redact, step

SECRET = "open sesame"
THREAD: Any = {"configurable": {"thread_id": "thread"}}


def handed_on(client: Client, file: Path, rules: Redact) -> bytes:
    """The thread in the store of `client`, exported under rules."""
    client.session("langgraph/thread").export(file, redact=rules)
    return file.read_bytes()


@pytest.mark.parametrize("name", RULES)
def test_rules_reach_all_that_a_thread_keeps(name: str, tmp_path: Path) -> None:
    file = tmp_path / "thread.jsonl"
    with Client("memory:") as client:
        saver, state = StreamSaver(client), leaky(SECRET)
        parent = put(saver, checkpoint(state))
        saver.put_writes(config(parent), [("users", state["users"]), ("password", SECRET)], "task")
        more = checkpoint({**state, "messages": [*state["messages"], AIMessage("on", id="b")]}, messages="2")
        put(saver, more, parent)
        assert SECRET in restored(client)
        before = [event.raw for event in client.session("langgraph/thread").events()]
        handed_on(client, file, RULES[name])
        assert [event.raw for event in client.session("langgraph/thread").events()] == before
    with Client("memory:") as client:
        client.import_(file)
        assert SECRET not in restored(client)
        found = values(StreamSaver(client))
        assert [message.id for message in found["messages"]] == ["h", "a", "b"]
        assert found["messages"][1].tool_calls[0]["args"]["user"] == "ann"
        assert found["users"]["user 1"]["long"] == "x" * 200
        assert found["pairs"][0]["at"] == (1, b"bytes", {2: "two"}) or found["pairs"][0]["at"] == [
            1,
            b"bytes",
            {2: "two"},
        ]
        taken = {found["password"], found["messages"][1].tool_calls[0]["args"]["password"]}
        assert all(text == "gone" or text.startswith("[redacted: ") for text in taken)
        pending = StreamSaver(client).get_tuple(config(parent))
        assert pending is not None
        assert {channel for _, channel, _ in pending.pending_writes or ()} == {"users", "password"}


def test_what_is_imported_goes_on_and_is_replayed(tmp_path: Path) -> None:
    @step
    def model(text: str) -> str:
        return f"you said {text}"

    def bot(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(model(str(state["messages"][-1].content)))]}

    def graph(client: Client) -> Any:
        builder = StateGraph(MessagesState)
        builder.add_node("bot", bot)
        builder.add_edge(START, "bot")
        return builder.compile(checkpointer=StreamSaver(client))

    file = tmp_path / "thread.jsonl"
    with Client("memory:") as client:
        for said in (f"my word is {SECRET}, é", "again", "x" * 9000 + SECRET):
            graph(client).invoke({"messages": [HumanMessage(said)]}, THREAD)
        raw = handed_on(client, file, RULES["patterns"])
    assert SECRET.encode() not in raw
    assert b"[redacted: word]" in raw
    with Client(tmp_path / "store") as client:
        [session] = client.import_(file)
        session.export(tmp_path / "again.jsonl")
        assert (tmp_path / "again.jsonl").read_bytes() == raw
        assert SECRET not in restored(client)
        report = session.replay(graph(client))
        assert report.identical, report
        assert report.steps == 3
        graph(client).invoke({"messages": [HumanMessage("third")]}, THREAD)
        told = [message.content for message in graph(client).get_state(THREAD).values["messages"]]
        kept = "my word is [redacted: word], é"
        assert told[:4] == [kept, f"you said {kept}", "again", "you said again"]
        assert told[-2:] == ["third", "you said third"]


def test_questions_answers_errors_and_nodes_too(tmp_path: Path) -> None:
    def person(state: MessagesState) -> Any:
        raise PermissionError(interrupt({"question": "word?", "hint": SECRET})["password"])

    builder = StateGraph(MessagesState)
    builder.add_node("person", person)
    builder.add_edge(START, "person")
    rules = Redact(keys=False, fields=["hint", "password"], patterns={"word": SECRET})
    for wrapped in (False, True):
        file = tmp_path / f"{wrapped}.jsonl"
        with Client("memory:") as client:
            graph: Any = builder.compile(checkpointer=StreamSaver(client))
            graph = publish(graph, client) if wrapped else graph
            graph.invoke({"messages": [HumanMessage(SECRET)]}, config())
            with pytest.raises(PermissionError):
                graph.invoke(Command(resume={"password": SECRET}), config())
            assert SECRET.encode() not in handed_on(client, file, rules)
        with Client("memory:") as client:
            client.import_(file)
            assert SECRET not in restored(client)
            assert {"question", "answer", "error"} <= {
                event.type for event in client.session("langgraph/thread").events()
            }


def test_what_cannot_be_looked_into_is_left_out(tmp_path: Path) -> None:
    class Telling(Pickled):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            return "pickle", SECRET.encode() * 5

    file = tmp_path / "thread.jsonl"
    with Client("memory:") as client:
        put(StreamSaver(client, serde=Telling()), checkpoint({"a": object()}))
        handed_on(client, file, Redact())
    with Client("memory:") as client:
        client.import_(file)
        assert values(StreamSaver(client))["a"] == "[redacted: pickle]"
        assert SECRET not in restored(client)


def test_forks_share_what_they_shared(tmp_path: Path) -> None:
    file = tmp_path / "family.jsonl"
    with Client(tmp_path / "one") as client:
        graph_of(client).invoke({"messages": [HumanMessage(SECRET)]}, THREAD)
        session = client.session("langgraph/thread")
        session.fork("langgraph/fork")
        graph_of(client).invoke({"messages": [HumanMessage("on")]}, {"configurable": {"thread_id": "fork"}})
        session.export(file, forks=True, redact=RULES["patterns"])
        assert SECRET.encode() not in file.read_bytes()
    assert b'"shares":{"session":"langgraph/thread"' in file.read_bytes()
    with Client(tmp_path / "two") as client:
        client.import_(file)
        told = graph_of(client).get_state({"configurable": {"thread_id": "fork"}}).values["messages"]
        assert told[0].content == "[redacted: word]"
        assert len(told) == 4


def test_a_graph_of_another_store_replays_an_exported_thread(tmp_path: Path) -> None:
    """As in CI: the file is all there is, the graph is compiled with its own store, which stays as it was."""
    file = tmp_path / "thread.jsonl"
    with Client(tmp_path / "one") as client:
        graph_of(client).invoke({"messages": [HumanMessage("hi")]}, THREAD)
        client.session("langgraph/thread").export(file)
    with Client(tmp_path / "graphs") as own, Client("memory:") as client:
        [session] = client.import_(file)
        report = session.replay(graph_of(own))
        assert report.identical, report
        with pytest.raises(ValueError, match="no thread of the graph"):
            session.replay(graph_of(own), live_from=3)
        assert own.sessions() == []
