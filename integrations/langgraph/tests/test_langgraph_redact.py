"""A client with rules: what they find is not recorded, in no form, and graphs go on from what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph import StreamSaver, publish
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from langgraph_kit import checkpoint, config, put, values

from agentstream import Client, NotSerializable, Redact

KEY = "sk-proj-Zyxwvutsrqponmlkjihgfedcba9876543210"
THREAD: Any = {"configurable": {"thread_id": "1"}}


def bot(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"you said {state['messages'][-1].content}")]}


def graph_of(client: Client) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("bot", bot)
    graph.add_edge(START, "bot")
    return graph.compile(checkpointer=StreamSaver(client))


def test_no_key_is_in_the_store_and_the_graph_goes_on(tmp_path: Path) -> None:
    for said in (f"my key is {KEY}, é", "again"):
        with Client(tmp_path, redact=True) as client:
            graph_of(client).invoke({"messages": [HumanMessage(said)]}, THREAD)
    with Client(tmp_path, redact=True) as client:
        told = [message.content for message in graph_of(client).get_state(THREAD).values["messages"]]
    kept = "my key is [redacted: api_key], é"
    assert told == [kept, f"you said {kept}", "again", "you said again"]
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def restored(client: Client) -> str:
    """All that a reader can make of a thread, compressed forms included."""
    saver = StreamSaver(client)
    found = [repr(one) for one in saver.list(config(ns=None))]
    index = saver.thread("thread").index
    items = [repr(index.item(id)) for id in index.items]
    return "\n".join([*found, *items, *(event.raw.decode() for event in client.session("langgraph/thread").events())])


def leaky(secret: str) -> dict[str, Any]:
    """A state that holds a secret wherever a state can."""
    call: Any = {"name": "log_in", "args": {"user": "ann", "password": secret}, "id": "c1", "type": "tool_call"}
    return {
        "messages": [HumanMessage("hi", id="h"), AIMessage("hm", id="a", tool_calls=[call])],
        "alone": HumanMessage("hi", id="o", additional_kwargs={"password": secret}),
        "users": {f"user {n}": {"password": secret, "long": "x" * 200} for n in range(3)},
        "pairs": [{"password": secret, "at": (1, b"bytes", {2: "two"})}, "y" * 300],
        "password": secret,
    }


RULES = {
    "fields": Redact(keys=False, fields=["password"]),
    "paths": Redact(
        keys=False,
        paths=[
            "state.messages[*].tool_calls[*].args.password",
            "state.alone.additional_kwargs.password",
            "state.users.*.password",
            "state.pairs[0].password",
            "state.password",
            "tool_call.arguments.password",
            "message.parts[*].arguments.password",
        ],
    ),
    "patterns": Redact(keys=False, patterns={"word": "open sesame"}),
    "rule": Redact(keys=False, rule=lambda path, value: "gone" if value == "open sesame" else value),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_reach_all_that_a_state_holds(name: str) -> None:
    secret = "open sesame"
    with Client("memory:", redact=RULES[name]) as client:
        saver, state = StreamSaver(client), leaky(secret)
        parent = put(saver, checkpoint(state))
        saver.put_writes(config(parent), [("users", state["users"]), ("password", secret)], "task")
        put(
            saver,
            checkpoint({**state, "messages": [*state["messages"], AIMessage("on", id="b")]}, messages="2"),
            parent,
        )
        told = restored(client)
        assert secret not in told
        found = values(StreamSaver(client))
        assert found["messages"][1].tool_calls[0]["args"]["user"] == "ann"
        assert found["users"]["user 1"]["long"] == "x" * 200
        assert found["pairs"][0]["at"] == [1, b"bytes", {2: "two"}]
        taken = {found["password"], found["messages"][1].tool_calls[0]["args"]["password"]}
        assert all(text == "gone" or text.startswith("[redacted: ") for text in taken)
    with Client("memory:") as client:
        put(StreamSaver(client), checkpoint(leaky(secret)))
        assert secret in restored(client)


def test_questions_answers_and_errors_too() -> None:
    secret = "open sesame"

    def person(state: MessagesState) -> Any:
        raise PermissionError(interrupt({"question": "word?", "hint": secret})["password"])

    builder = StateGraph(MessagesState)
    builder.add_node("person", person)
    builder.add_edge(START, "person")
    rules = Redact(keys=False, fields=["hint", "password"], patterns={"word": secret})
    for wrapped in (False, True):
        with Client("memory:", redact=rules) as client:
            graph: Any = builder.compile(checkpointer=StreamSaver(client))
            graph = publish(graph, client) if wrapped else graph
            graph.invoke({"messages": []}, config())
            with pytest.raises(PermissionError):
                graph.invoke(Command(resume={"password": secret}), config())
            types = {event.type for event in client.session("langgraph/thread").events()}
            assert {"question", "answer", "error"} <= types
            assert secret not in restored(client)


class Pickled(JsonPlusSerializer):
    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "pickle", b"..."


def test_what_cannot_be_looked_into_is_refused() -> None:
    with Client("memory:", redact=True) as client, pytest.raises(NotSerializable, match="cannot look into"):
        put(StreamSaver(client, serde=Pickled()), checkpoint({"a": object()}))
