"""A person approves, while no process waits: the graph stops at an interrupt, and another process brings the answer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any, TypedDict

from agentstream_langgraph import StreamSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from agentstream import Client

THREAD: Any = {"configurable": {"thread_id": "refund"}}


class Refund(TypedDict):
    amount: int
    approved: bool


def ask(state: Refund) -> dict[str, bool]:
    return {"approved": interrupt(f"Refund {state['amount']} euros?")}


def pay(state: Refund) -> None:
    print(f"paid {state['amount']} euros" if state["approved"] else "not paid")


def graph(client: Client) -> Any:
    builder = StateGraph(Refund)
    builder.add_node("ask", ask)
    builder.add_node("pay", pay)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "pay")
    builder.add_edge("pay", END)
    return builder.compile(checkpointer=StreamSaver(client))


def begin(folder: str) -> None:
    with Client(folder) as client:
        (asked,) = graph(client).invoke({"amount": 30}, THREAD)["__interrupt__"]
        print(f"waits: {asked.value}", flush=True)


def answer(folder: str) -> None:
    with Client(folder) as client:
        graph(client).invoke(Command(resume=True), THREAD)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"begin": begin, "answer": answer}[sys.argv[1]](sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as folder:
            for part in ("begin", "answer"):
                subprocess.run([sys.executable, __file__, part, folder], check=True)
