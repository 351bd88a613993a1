"""A process that works through a graph or a workflow of 40 steps, each with an effect, and may be killed anywhere."""

from __future__ import annotations

import asyncio
import operator
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from agentstream_langgraph import StreamSaver, publish
from langchain_core.runnables import RunnableLambda
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph

from agentstream import Client, step

STEPS = 40
THREAD: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 100}


class State(TypedDict):
    done: Annotated[list[int], operator.add]


def effect(folder: Path, number: int) -> int:
    file = os.open(folder / "effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{number}\n".encode())
    os.close(file)
    return number


def graph(folder: Path, saver: StreamSaver) -> Any:
    def node(state: State) -> Any:
        return {"done": [effect(folder, len(state["done"]))]}

    async def anode(state: State) -> Any:
        return node(state)

    builder = StateGraph(State)
    builder.add_node("node", RunnableLambda(node, anode))
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", lambda state: "node" if len(state["done"]) < STEPS else END, ["node", END])
    return builder.compile(checkpointer=saver)


def steps(folder: Path) -> tuple[Any, Any]:
    @step
    def act(number: int) -> int:
        return effect(folder, number)

    @step(name="act")
    async def aact(number: int) -> int:
        return effect(folder, number)

    return act, aact


def stepping(folder: Path, saver: StreamSaver) -> Any:
    """A graph of few nodes with many steps each: a crash falls into the middle of one."""
    act, aact = steps(folder)

    def numbers(state: State) -> range:
        return range(len(state["done"]), len(state["done"]) + STEPS // 4)

    def node(state: State) -> Any:
        done: list[int] = []
        for number in numbers(state):
            done.append(act(number))
            effect(folder, -1 - number)  # it has returned
        return {"done": done}

    async def anode(state: State) -> Any:
        done: list[int] = []
        for number in numbers(state):
            done.append(await aact(number))
            effect(folder, -1 - number)
        return {"done": done}

    builder = StateGraph(State)
    builder.add_node("node", RunnableLambda(node, anode))
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", lambda state: "node" if len(state["done"]) < STEPS else END, ["node", END])
    return builder.compile(checkpointer=saver)


def workflow(folder: Path, saver: StreamSaver) -> Any:
    @task
    async def act(number: int) -> int:
        return effect(folder, number)

    @entrypoint(checkpointer=saver)
    async def flow(_: Any) -> dict[str, list[int]]:
        return {"done": [await act(number) for number in range(STEPS)]}

    return flow


def sync_workflow(folder: Path, saver: StreamSaver) -> Any:
    @task
    def act(number: int) -> int:
        return effect(folder, number)

    @entrypoint(checkpointer=saver)
    def flow(_: Any) -> dict[str, list[int]]:
        return {"done": [act(number).result() for number in range(STEPS)]}

    return flow


def stepping_workflow(folder: Path, saver: StreamSaver, way: str) -> Any:
    """Steps in the body of a workflow, and in its tasks."""
    act, aact = steps(folder)

    def made(number: int) -> int:
        done = act(number)
        effect(folder, -1 - number)  # it has returned
        return done

    async def amade(number: int) -> int:
        done = await aact(number)
        effect(folder, -1 - number)
        return done

    part, apart = task(made), task(amade)

    @entrypoint(checkpointer=saver)
    def flow(_: Any) -> dict[str, list[int]]:
        return {"done": [part(number).result() if number % 2 else made(number) for number in range(STEPS)]}

    @entrypoint(checkpointer=saver)
    async def aflow(_: Any) -> dict[str, list[int]]:
        return {"done": [await (apart(number) if number % 2 else amade(number)) for number in range(STEPS)]}

    return aflow if way == "async" else flow


def built(kind: str, way: str, folder: Path, saver: StreamSaver) -> Any:
    if kind == "workflow":
        return (workflow if way == "async" else sync_workflow)(folder, saver)
    if kind == "stepping workflow":
        return stepping_workflow(folder, saver, way)
    if kind == "published":
        return publish(stepping(folder, saver), saver.client)
    return {"graph": graph, "steps": stepping}[kind](folder, saver)


def worked(folder: Path, kind: str, way: str, durability: Any) -> list[int]:
    with Client(folder / "store") as client:
        saver = StreamSaver(client)
        made = built(kind, way, folder, saver)
        # not `state.next`: that is empty too when a crash fell between a task's writes and the next checkpoint
        given: Any = None if saver.get_tuple(THREAD) is not None else (1 if "workflow" in kind else {"done": []})
        if way == "async":
            return asyncio.run(made.ainvoke(given, THREAD, durability=durability))["done"]
        return made.invoke(given, THREAD, durability=durability)["done"]


if __name__ == "__main__":
    worked(Path(sys.argv[1]), *sys.argv[2:5])
