"""An agent with a tool, kept as a session: a second process goes on with the conversation, and anyone can read it.

Runs offline: the model answers from a list. Put a real one in its place: create_agent("openai:gpt-5", tools=[…]).
"""

from __future__ import annotations

import tempfile
from typing import Any

from agentstream_langgraph import StreamSaver
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool

from agentstream import Client


class Scripted(FakeMessagesListChatModel):
    """Says what it was told to; takes tools, as a real model does."""

    def bind_tools(self, tools: Any, **named: Any) -> Any:
        return self


@tool
def lookup_order(order: str) -> str:
    """What became of an order."""
    return f"{order} is on its way"


def agent(client: Client, *answers: BaseMessage) -> Any:
    return create_agent(Scripted(responses=list(answers)), [lookup_order], checkpointer=StreamSaver(client))


def main(folder: str) -> None:
    thread: Any = {"configurable": {"thread_id": "42"}}
    call: Any = {"name": "lookup_order", "args": {"order": "A1"}, "id": "call-1", "type": "tool_call"}
    with Client(folder) as client:
        first = agent(client, AIMessage("", tool_calls=[call]), AIMessage("It is on its way."))
        print(first.invoke({"messages": [("user", "Where is A1?")]}, thread)["messages"][-1].content)

    with Client(folder) as client:  # as another process would
        second = agent(client, AIMessage("You are welcome."))
        print(second.invoke({"messages": [("user", "Thanks!")]}, thread)["messages"][-1].content)
        for message in client.session("langgraph/42").state().messages:
            parts = [part.get("text") or part.get("content") or part["name"] for part in message["parts"]]
            print(f"{message['role']:>9}: {parts}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
