"""A node, or a `@task`, that calls a model through a recorded client, and may be broken off between two calls.

    python langgraph_paid_worker.py STORE URL KIND

does so as a process that is gone after the first call, without a word.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

if __name__ == "__main__":
    root = Path(__file__).parents[3]
    sys.path[:0] = [str(root / "examples"), str(root / "integrations" / "openai" / "tests"), str(root / "tests")]

from agentstream_langgraph import StreamSaver
from agentstream_openai import record
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from openai import AsyncOpenAI, OpenAI
from support.provider import traffic

from agentstream import Client

CALL = traffic("openai-responses-tool-call")[0]
STREAM = traffic("openai-chat-stream-tools")[0]
THREAD: Any = {"configurable": {"thread_id": "t"}}
KINDS = ("node", "async node", "task")


class State(TypedDict, total=False):
    done: Any


def built(kind: str, client: Client, url: str, between: Callable[[], None]) -> Any:
    """A graph, or a workflow, that makes a call and a streamed one."""
    saver = StreamSaver(client)

    def ask() -> Any:
        with OpenAI(base_url=url, api_key="x", max_retries=0) as made:
            openai = record(made)
            first = openai.responses.create(**CALL.request).id
            between()
            return [first, [chunk.id for chunk in openai.chat.completions.create(**STREAM.request)]]

    async def aask(state: State) -> Any:
        async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as made:
            openai = record(made)
            first = (await openai.responses.create(**CALL.request)).id
            between()
            return {
                "done": [first, [chunk.id async for chunk in await openai.chat.completions.create(**STREAM.request)]]
            }

    if kind == "task":
        asked = task(ask)

        @entrypoint(checkpointer=saver)
        def flow(_: Any) -> Any:
            return {"done": asked().result()}

        return flow
    builder: Any = StateGraph(State)
    builder.add_node("ask", aask if kind == "async node" else lambda state: {"done": ask()})
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver)


def call(kind: str, graph: Any, given: Any) -> Any:
    return asyncio.run(graph.ainvoke(given, THREAD)) if kind == "async node" else graph.invoke(given, THREAD)


if __name__ == "__main__":
    store, url, kind = sys.argv[1:]
    with Client(store) as client:
        call(kind, built(kind, client, url, lambda: os._exit(9)), {"done": None})
