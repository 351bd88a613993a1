"""Beside LangGraph's SqliteSaver: a conversation that grows by one message of 1 KB a superstep.

There it is a graph of one node whose state is the list of messages; here a loop whose step
is given the list. The graph is run without a saver too: what is compared is what keeping
the record adds (without a record, our loop is a call of a function).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from harness import Numbers, Row, kb, main, ms, on_disk, text, timed

from agentstream import Client, agent, step

SHORT = 50


def reply(messages: list[str]) -> str:
    return text(1000, len(messages))


@step
def turn(messages: list[str]) -> str:
    return reply(messages)


@agent
def conversation(turns: int) -> list[float]:
    messages: list[str] = []
    durations: list[float] = []
    for _ in range(turns):
        with timed(durations):
            messages.append(turn(messages))
    return durations


class State(TypedDict):
    messages: Annotated[list[str], operator.add]


def graph(turns: int, saver: Any) -> Callable[[], None]:
    """What runs the conversation as a graph."""
    from langgraph.graph import END, START, StateGraph

    def model(state: State) -> dict[str, list[str]]:
        return {"messages": [reply(state["messages"])]}

    def on(state: State) -> str:
        return "model" if len(state["messages"]) < turns else END

    builder = StateGraph(State)
    builder.add_node("model", model)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", on)
    compiled = builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": f"turns-{turns}"}, "recursion_limit": turns + 5}

    def run() -> None:
        given: Any = {"messages": []}
        compiled.invoke(given, config)

    return run


def measure(folder: Path, quick: bool) -> dict[str, float]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    turns = 100 if quick else 500
    plain: list[float] = []
    alone = graph(turns, None)
    alone()
    with timed(plain):
        alone()

    theirs = folder / "theirs"
    theirs.mkdir()
    saved: list[float] = []
    with SqliteSaver.from_conn_string(str(theirs / "checkpoints.db")) as saver:
        graph(5, saver)()
        run = graph(turns, saver)
        with timed(saved):
            run()

    with Client(folder / "ours") as client:
        durations = client.session("conversation").run(conversation, turns)
    return {
        "turns": turns,
        "plain": plain[0] / turns,
        "theirs": saved[0] / turns,
        "theirs disk": on_disk(theirs),
        "ours": sum(durations) / turns,
        "ours first": sum(durations[1 : SHORT + 1]) / SHORT,
        "ours last": sum(durations[-SHORT:]) / SHORT,
        "ours disk": on_disk(folder / "ours"),
    }


def rows(numbers: Numbers) -> list[Row]:
    ours, theirs = numbers["ours"], numbers["theirs"] - numbers["plain"]
    turns = f"{numbers['turns']:,.0f} turns of 1 KB, the list in each"
    disk = numbers["ours disk"], numbers["theirs disk"]
    drift = numbers["ours last"] / numbers["ours first"]
    return [
        Row(f"{turns}: a turn", ms(ours), f"SqliteSaver adds {ms(theirs)} a superstep", ours / theirs),
        Row(f"{turns}: disk", kb(disk[0]), f"SqliteSaver {kb(disk[1])}", disk[0] / disk[1]),
        Row("… the last turns", ms(numbers["ours last"]), f"the first {SHORT}: {ms(numbers['ours first'])}", drift),
    ]


if __name__ == "__main__":
    main(measure)
