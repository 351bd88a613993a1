"""What LangGraph cancels it executes again, and the steps of it are made again; what a node's own code cancelled stays
cancelled."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver, publish
from langgraph.graph import START, StateGraph
from langgraph_kit import client_on, in_context

from agentstream import Client, step

pytestmark = in_context

THREAD: Any = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def beside(saver: Any, *nodes: Any) -> Any:
    """A graph of nodes that work at once."""
    builder: Any = StateGraph(State)
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    return builder.compile(checkpointer=saver)


@pytest.fixture(params=["memory", "disk"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with client_on(request.param, tmp_path) as client:
        yield client


@pytest.mark.parametrize("tidies", [False, True])
@pytest.mark.parametrize("is_published", [False, True])
def test_a_step_that_was_cancelled_with_its_node_is_made_again(
    client: Client, tidies: bool, is_published: bool
) -> None:
    made: list[str] = []

    async def main() -> None:
        at, failed = asyncio.Event(), False

        @step
        async def act(name: str) -> str:
            made.append(name)
            if name == "second" and not at.is_set():
                at.set()
                await asyncio.Event().wait()
            return name

        async def acts(state: State) -> Any:
            try:
                return {"said": [await act("first"), await act("second"), await act("third")]}
            finally:
                if tidies:
                    await act("tidied")

        async def fails(state: State) -> Any:
            nonlocal failed
            await at.wait()
            if not failed:
                failed = True
                raise LookupError("beside")
            return {"said": ["well"]}

        def graph() -> Any:
            made = beside(StreamSaver(client), acts, fails)
            return publish(made, client) if is_published else made

        with pytest.raises(LookupError):
            await graph().ainvoke({"said": []}, THREAD)
        done = await asyncio.wait_for(graph().ainvoke(None, THREAD), 60)
        assert done == {"said": ["first", "second", "third", "well"]}

    asyncio.run(main())
    more = ["tidied"] if tidies else []
    assert made == ["first", "second", *more, "second", "third", *more]


def test_a_step_that_the_nodes_own_code_cancelled_stays_so(client: Client) -> None:
    made: list[str] = []

    async def main() -> None:
        failed = False

        @step
        async def act(name: str) -> str:
            made.append(name)
            if name == "waits":
                at.set()
                await asyncio.Event().wait()
            return name

        async def races(state: State) -> Any:
            nonlocal failed
            begun = asyncio.Event()

            async def waits() -> str:
                begun.set()
                return await act("waits")

            waiting = asyncio.create_task(waits())
            await begun.wait()
            await at.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
            after = await act("after")
            if not failed:
                failed = True
                raise LookupError("fell over")
            return {"said": [str(waiting.cancelled()), after]}

        at = asyncio.Event()
        graph = beside(StreamSaver(client), races)
        with pytest.raises(LookupError):
            await graph.ainvoke({"said": []}, THREAD)
        done = await asyncio.wait_for(beside(StreamSaver(client), races).ainvoke(None, THREAD), 60)
        assert done == {"said": ["True", "after"]}

    asyncio.run(main())
    assert made == ["waits", "after"]
