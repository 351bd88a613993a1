"""A supervisor with two subgraphs, followed live by a second process: nodes, tokens, and what a node says of itself.

The second process knows the thread's name and the store, and nothing of the graph.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from agentstream_langgraph import StreamSaver, follow, publish
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph

from agentstream import Client

SAID = {"research": "Three sources say so.", "writing": "It is so, they say."}


def expert(name: str) -> Any:
    """A subgraph with a model of its own. (Any chat model does: here is one that needs no network.)"""
    model = GenericFakeChatModel(messages=iter([AIMessage(SAID[name])]))

    def work(state: MessagesState) -> dict[str, Any]:
        get_stream_writer()({"at work": name})
        return {"messages": [model.invoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(name, work).add_edge(START, name).compile()


def route(state: MessagesState) -> str:
    done = {str(message.content) for message in state["messages"]}
    return next((f"{name}_team" for name, said in SAID.items() if said not in done), END)


def supervisor(client: Client) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("supervisor", lambda state: {})
    builder.add_edge(START, "supervisor")
    builder.add_conditional_edges("supervisor", route, [*(f"{name}_team" for name in SAID), END])
    for name in SAID:
        builder.add_node(f"{name}_team", expert(name))
        builder.add_edge(f"{name}_team", "supervisor")
    return publish(builder.compile(checkpointer=StreamSaver(client)), client)


def watch(store: str) -> None:
    with Client(store) as client:
        text = ""
        for event in follow(client, "report"):
            value = event.value
            if event.type == "step" and value["kind"] == "node":
                print("node", value["name"])
            elif event.type == "custom":
                print("says", value)
            elif event.type == "delta":
                text += value["text"]  # a page would show it now
            elif event.type == "outcome" and text:
                print("text", text)
                text = ""
            elif event.type == "status" and value["status"] == "finished":
                return


def main(arguments: Sequence[str]) -> None:
    if arguments:
        watch(arguments[0])
        return
    with tempfile.TemporaryDirectory() as store, Client(store) as client:
        client.session("langgraph/report").label(title="A report")  # there is something to follow
        with subprocess.Popen([sys.executable, __file__, store]) as watcher:
            thread: Any = {"configurable": {"thread_id": "report"}}
            supervisor(client).invoke({"messages": [("user", "Is it so?")]}, thread)
            watcher.wait(60)


if __name__ == "__main__":
    main(sys.argv[1:])
