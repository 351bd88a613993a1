"""A client with rules: what they find in texts is written over, and graphs go on from what is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentstream_langgraph import StreamSaver
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from agentstream import Client

KEY = "sk-proj-Zyxwvutsrqponmlkjihgfedcba9876543210"


def bot(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"you said {state['messages'][-1].content}")]}


def graph_of(client: Client) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("bot", bot)
    graph.add_edge(START, "bot")
    return graph.compile(checkpointer=StreamSaver(client))


def test_no_key_is_in_the_store_and_the_graph_goes_on(tmp_path: Path) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    for said in (f"my key is {KEY}, é", "again"):
        with Client(tmp_path, redact=True) as client:
            graph_of(client).invoke({"messages": [HumanMessage(said)]}, config)
    with Client(tmp_path, redact=True) as client:
        told = [message.content for message in graph_of(client).get_state(config).values["messages"]]
    kept = f"my key is {'*' * len(KEY)}, é"
    assert told == [kept, f"you said {kept}", "again", "you said again"]
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
