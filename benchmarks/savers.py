"""The saver beside LangGraph's own: a conversation that grows by one message of 1 KB a superstep, at several lengths.

Each saver does the same in turn: the graph is worked through (durability async, then sync), its state and the last 100
checkpoints are read, a fresh saver goes on, the thread is forked, copied (no other saver can) and deleted.
PostgreSQL is there where it is installed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypedDict

from harness import Numbers, Row, kb, main, median, ms, on_disk, text
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from postgres import postgres

from agentstream import Client

LENGTHS = (50, 200, 1000)
THREAD: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 2000}


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@cache
def said(number: int) -> str:
    return text(1000, number)


def chat(turns: int, saver: Any) -> Any:
    def model(state: Chat) -> dict[str, list[AIMessage]]:
        return {"messages": [AIMessage(said(len(state["messages"])))]}

    builder = StateGraph(Chat)
    builder.add_node("model", model)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", lambda state: "model" if len(state["messages"]) < turns else END)
    return builder.compile(checkpointer=saver)


class Timed:
    """How long each call of a saver's method took, from its issue to its end."""

    def __init__(self, saver: Any, *names: str) -> None:
        self.took: dict[str, list[float]] = {name: [] for name in names}
        for name in names:
            setattr(saver, name, self._timing(name, getattr(saver, name)))

    def _timing(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        took = self.took[name]

        def put(config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            begun = time.perf_counter()
            try:
                return method(config, checkpoint, metadata, new_versions)
            finally:
                took.append(time.perf_counter() - begun)

        def put_writes(config: Any, writes: Any, task_id: str, task_path: str = "") -> Any:
            begun = time.perf_counter()
            try:
                return method(config, writes, task_id, task_path)
            finally:
                took.append(time.perf_counter() - begun)

        return put if name == "put" else put_writes


def clocked(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def supersteps(turns: int, saver: Any, durability: Any) -> tuple[Any, float]:
    graph = chat(turns, saver)
    extra: Any = {} if saver is None else {"durability": durability}
    return graph, clocked(lambda: graph.invoke({"messages": []}, THREAD, **extra)) / turns


def measured(turns: int, saver: Any) -> dict[str, float]:
    """What a sync saver takes."""
    timed = Timed(saver, "put", "put_writes")
    graph, step = supersteps(turns, saver, "async")
    puts, tenth = timed.took["put"], max(1, turns // 10)
    *_, early = graph.get_state_history(THREAD, limit=turns // 2)
    return {
        "fork": clocked(lambda: graph.update_state(early.config, {"messages": [("user", "else")]})),
        "step": step,
        "put first": median(puts[:tenth]),
        "put last": median(puts[-tenth:]),
        "writes": median(timed.took["put_writes"]),
        "state": median([clocked(lambda: graph.get_state(THREAD)) for _ in range(5)]),
        "history": clocked(lambda: list(graph.get_state_history(THREAD, limit=100))),
    }


@contextmanager
def postgres_saver(address: str) -> Iterator[Any]:
    """PostgresSaver on a database of that server, which is made empty."""
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(address) as saver:
        saver.setup()
        with saver.conn.cursor() as cursor:
            cursor.execute("TRUNCATE checkpoints, checkpoint_blobs, checkpoint_writes")
        yield saver


def in_tables(saver: Any) -> int:
    """Bytes of its tables, indexes and long values."""
    tables = "checkpoints", "checkpoint_blobs", "checkpoint_writes"
    with saver.conn.cursor() as cursor:
        sizes = [cursor.execute("SELECT pg_total_relation_size(%s)", (table,)).fetchone() for table in tables]
    return sum(next(iter(size.values())) for size in sizes)


async def async_steps(turns: int, file: str) -> float:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(file) as saver:
        graph = chat(turns, saver)
        begun = time.perf_counter()
        await graph.ainvoke({"messages": []}, THREAD)
        return (time.perf_counter() - begun) / turns


def measure(folder: Path, quick: bool) -> dict[str, float]:
    with postgres(folder) as address:
        return measured_beside(address, folder, quick)


def measured_beside(address: str | None, folder: Path, quick: bool) -> dict[str, float]:
    from agentstream_langgraph import StreamSaver, publish
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.sqlite import SqliteSaver

    supersteps(20, None, None)
    numbers: dict[str, float] = {}
    for turns in LENGTHS[:2] if quick else LENGTHS:
        found: dict[str, float] = {"none step": supersteps(turns, None, None)[1]}

        def told(name: str, saver: Any, turns: int = turns, found: dict[str, float] = found) -> None:
            found.update({f"{name} {what}": value for what, value in measured(turns, saver).items()})

        told("memory", InMemorySaver())
        theirs = folder / f"theirs {turns}"
        theirs.mkdir()
        with SqliteSaver.from_conn_string(str(theirs / "checkpoints.db")) as saver:
            told("sqlite", saver)
            found["sqlite bytes"] = on_disk(theirs)
            found["sqlite delete"] = clocked(lambda saver=saver: saver.delete_thread("t"))
        found["asqlite step"] = asyncio.run(async_steps(turns, str(folder / f"theirs {turns} async.db")))
        if address is not None:
            with postgres_saver(address) as saver:
                told("postgres", saver)
                found["postgres bytes"] = in_tables(saver)
                found["postgres delete"] = clocked(lambda saver=saver: saver.delete_thread("t"))

        ours = folder / f"ours {turns}"
        with Client(ours) as client:
            told("ours", StreamSaver(client))
        with Client(folder / f"ours {turns} sync") as client:
            saver = StreamSaver(client)
            found["ours sync step"] = supersteps(turns, saver, "sync")[1]
            held: Any = saver.get_tuple(THREAD)
            messages = held.checkpoint["channel_values"]["messages"]
            found["payload"] = sum(len(saver.serde.dumps_typed(message)[1]) for message in messages)
        with Client(folder / f"ours {turns} published") as client:
            graph = publish(chat(turns, StreamSaver(client)), client)
            found["ours published step"] = clocked(lambda graph=graph: graph.invoke({"messages": []}, THREAD)) / turns
        with Client(folder / f"ours {turns} bare") as client:
            supersteps(turns, StreamSaver(client), "async")
        found["ours bytes"] = on_disk(folder / f"ours {turns} bare")
        with Client(ours) as client:
            saver = StreamSaver(client)
            fresh = chat(turns, StreamSaver(client))
            found["ours resume"] = clocked(
                lambda fresh=fresh: fresh.update_state(THREAD, {"messages": [("user", "on")]})
            )
            found["ours copy"] = clocked(lambda saver=saver: saver.copy_thread("t", "copy"))
        with Client(folder / f"ours {turns} full") as client:
            found["ours full step"] = supersteps(turns, StreamSaver(client, verify="full"), "async")[1]
        with Client(ours) as client:
            first = chat(turns, StreamSaver(client))
            found["ours first history"] = clocked(lambda first=first: list(first.get_state_history(THREAD, limit=100)))
        with Client(ours) as client:
            saver = StreamSaver(client)
            found["ours delete"] = clocked(lambda saver=saver: saver.delete_thread("t"))
        numbers |= {f"{turns} {name}": value for name, value in found.items()}
    return numbers


def beside(n: Numbers, what: str, form: Callable[[float], str]) -> str:
    """What the others need."""
    names = {"sqlite": "SqliteSaver", "asqlite": "async", "postgres": "PostgresSaver", "memory": "in memory"}
    return ", ".join(f"{told} {form(n[key])}" for name, told in names.items() if (key := f"{name} {what}") in n)


def rows(numbers: Numbers) -> list[Row]:
    made: list[Row] = []
    lengths = [turns for turns in LENGTHS if f"{turns} none step" in numbers]
    for turns in lengths:
        n = {name.partition(" ")[2]: value for name, value in numbers.items() if name.startswith(f"{turns} ")}
        longest = turns == LENGTHS[-1]
        added, budget = n["ours step"] - n["none step"], 0.0008 + 0.000002 * turns
        tenths = f"{ms(n['ours put first'])}, {ms(n['ours put last'])}"
        made += [
            Row(f"{turns:,} messages: a superstep, async", ms(n["ours step"]), beside(n, "step", ms), None, None,
                f"≤ {ms(budget)} over none ({ms(n['none step'])})" if longest else "",
                added <= budget if longest else None),
            Row("… verify=full", ms(n["ours full step"])),
            Row("… durability sync", ms(n["ours sync step"])),
            Row("… published", ms(n["ours published step"])),
            Row("… put, the first tenth and the last", tenths,
                f"{beside(n, 'put first', ms)}; {beside(n, 'put last', ms)}"),
            Row("… put_writes, from issue to end", ms(n["ours writes"]), beside(n, "writes", ms),
                None, None, "≤ 20 ms", n["ours writes"] <= 0.02),
            Row("… on disk", kb(n["ours bytes"]), f"payload {kb(n['payload'])}, {beside(n, 'bytes', kb)}",
                n["ours bytes"] / n["payload"], 1.5 if longest else None),
            Row("… get_state", ms(n["ours state"]), beside(n, "state", ms)),
            Row("… 100 checkpoints of history", ms(n["ours history"]), beside(n, "history", ms),
                None, None, "≤ 100 ms", n["ours history"] <= 0.1),
            Row("… the same, the first thing that a fresh saver does", ms(n["ours first history"])),
            Row("… a fresh saver goes on", ms(n["ours resume"])),
            Row("… fork in the middle", ms(n["ours fork"]), beside(n, "fork", ms)),
            Row("… copy", ms(n["ours copy"]), "the others cannot"),
            Row("… delete", ms(n["ours delete"]), beside(n, "delete", ms), None, None, "≤ 10 ms",
                n["ours delete"] <= 0.01),
        ]  # fmt: skip
    if len(lengths) > 1:
        few, many = lengths[0], lengths[-1]
        added = {turns: numbers[f"{turns} ours step"] - numbers[f"{turns} none step"] for turns in (few, many)}
        slope = (added[many] - added[few]) / (many - few)
        copies = numbers[f"{many} ours copy"] / numbers[f"{few} ours copy"]
        made += [
            Row("a superstep, for each message there is", f"{slope * 1e6:.1f} µs", "", None, None,
                "≤ 2 µs", slope <= 0.000002),
            Row(f"copy: {many:,} messages beside {few}", ms(numbers[f"{many} ours copy"]),
                ms(numbers[f"{few} ours copy"]), copies, 3),
        ]  # fmt: skip
    return made


if __name__ == "__main__":
    main(measure)
