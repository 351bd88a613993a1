"""A session debugged from end to end through the real command line, each command a process of its own: looked at,
replayed up to a breakpoint, replayed against changed code, branched with an edit, gone on with, compared."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from debugging_kit import Project

LOOP = """
from pathlib import Path
from agentstream import Client, agent, step

def made(what):
    with Path("made").open("a") as file:
        file.write(what + "\\n")

@step(kind="tool")
def lookup(order):
    made(f"lookup {order}")
    return {"order": order, "amount": 40}

@step(kind="tool")
def refund(order, amount):
    made(f"refund {order} {amount}")
    return f"{amount} back for {order}"

@agent
def support(question):
    order = question.split()[-1]
    found = lookup(order)
    return refund(order, found["amount"])

if __name__ == "__main__":
    with Client() as client:
        client.session("support/42").run(support, "refund A1")
"""

GRAPH = """
import operator
from pathlib import Path
from typing import Annotated, TypedDict
from agentstream_langgraph import StreamSaver
from langgraph.graph import END, START, StateGraph
from agentstream import Client, step

class State(TypedDict):
    done: Annotated[list[str], operator.add]

@step(kind="tool")
def act(name):
    with Path("made").open("a") as file:
        file.write(name + "\\n")
    return name + " done"

def look(state):
    return {"done": [act("look up " + state["done"][0])]}

async def pay(state):
    return {"done": [act("pay")]}

builder = StateGraph(State)
builder.add_node(look)
builder.add_node(pay)
for above, below in (START, "look"), ("look", "pay"), ("pay", END):
    builder.add_edge(above, below)
client = Client()
graph = builder.compile(checkpointer=StreamSaver(client))

if __name__ == "__main__":
    import asyncio
    asyncio.run(graph.ainvoke({"done": ["A1"]}, {"configurable": {"thread_id": "7"}}, durability="sync"))
"""


def test_a_plain_loop(tmp_path: Path) -> None:
    loop = Project(tmp_path, LOOP, apart=True)
    assert loop.cli("list").rows[0][0] == "support/42"
    events = loop.cli("show", "support", "--json").data["events"]
    first = next(event for event in events if event["type"] == "step")
    assert first["value"]["code"] == "agents.py:22 in support"

    # the recorded way, and a stop on it
    assert loop.cli("replay", "support", "agents:support").rows[0][0] == "identical"
    stopped = loop.cli("replay", "support", "agents:support", "--break", "tool:refund?args.amount > 30", "--json").data
    assert (stopped["verdict"], stopped["stopped"]["name"]) == ("stopped", "refund")
    assert stopped["stopped"]["code"].endswith("agents.py:23 in support")

    # other code
    loop.change(
        'found = lookup(order)\n    return refund(order, found["amount"])',
        'found = lookup(order)\n\n    return refund(order, found["amount"] - 1)',
    )
    diverged = loop.cli("replay", "support", "agents:support", "--json", exits=1).data["divergence"]
    assert (diverged["kind"], diverged["path"]) == ("different_args", "input.amount")
    assert (diverged["recorded"]["input"]["amount"], diverged["actual"]["input"]["amount"]) == (40, 39)
    assert diverged["recorded_code"] == "agents.py:23 in support"
    assert diverged["code"].endswith("agents.py:24 in support")

    # a branch with another outcome, gone on with by the other code
    loop.cli("fork", "support", "--as", "try", "--set-outcome", 'step:0={"order": "A1", "amount": 10}')
    assert loop.cli("resume", "try", "agents:support").out.strip() == '"9 back for A1"'
    assert loop.made == ["lookup A1", "refund A1 40", "refund A1 9"], "what was recorded is not made again"
    different = loop.cli("diff", "try", exits=1)
    assert "refund" in different.out
    assert loop.cli("show", "support", "--jsonl").out.count("\n") == len(events), "the session itself is as it was"
    assert [row[1] for row in loop.cli("tree", "support").rows] == ["support/42", "try"]


def test_a_graph(tmp_path: Path) -> None:
    graph = Project(tmp_path, GRAPH, "graphs.py")
    assert graph.cli("list").rows[0][0] == "langgraph/7"
    assert [row[4] for row in graph.cli("show", "langgraph", "--kind", "tool").rows if row[1] == "step"] == ["act"] * 2
    report = graph.cli("replay", "langgraph", "graphs:graph", "--json").data
    assert (report["verdict"], report["steps"]) == ("identical", 2)
    for option in (["--run", "x"], ["--input", "1"]):
        refused = graph.cli("replay", "langgraph", "graphs:graph", *option, exits=2)
        assert "graph" in refused.err

    # stops: at a step in a node, at a node, at a place
    for option, stop in (
        (["--break", "tool:act?args.name == 'pay'"], ("tool", "act")),
        (["--break", "node:pay?'look up A1 done' in args.done"], ("node", "pay")),
        (["--until", "step:1"], ("node", "pay")),
    ):
        stopped = graph.cli("replay", "langgraph", "graphs:graph", *option, "--json").data
        assert (stopped["verdict"], stopped["stopped"]["kind"], stopped["stopped"]["name"]) == ("stopped", *stop)
        assert stopped["steps"] == 1

    graph.change('act("look up " + ', 'act("find " + ')
    report = graph.cli("replay", "langgraph", "graphs:graph", "--json", exits=1).data
    assert report["divergence"]["recorded"]["input"] == {"name": "look up A1"}
    assert report["divergence"]["actual"]["input"] == {"name": "find A1"}
    assert "look up A1" in report["notes"][0]
    graph.change('act("find " + ', 'act("look up " + ')
    graph.change('act("pay")]', 'act("pay"), "and more"]')
    told = graph.cli("replay", "langgraph", "graphs:graph", exits=1)
    assert "and more" in told.out
    graph.change('act("look up " + ', 'act("find " + ')
    every = graph.cli("replay", "langgraph", "graphs:graph", "--keep-going", "--json", exits=1).data
    assert [each["kind"] for each in every["divergences"]] == ["different_args", "different_output"]
    assert every["divergences"][1]["diff"][0]["value"] == "and more"
    drifted = graph.cli("replay", "langgraph", "graphs:graph", "--match", "ordered", "--json", exits=1).data
    assert [each["kind"] for each in drifted["drifts"]] == ["different_args"]
    graph.change('act("find " + ', 'act("look up " + ')
    graph.change('act("pay"), "and more"]', 'act("pay")]')

    graph.cli("fork", "langgraph/7", "--as", "langgraph/8")
    goes_on = "import graphs; print(graphs.graph.get_state({'configurable': {'thread_id': '8'}}).values['done'])"
    shown = graph.run(sys.executable, "-c", goes_on)
    assert "look up A1 done" in shown.out
    assert graph.cli("diff", "langgraph/8").code == 0
    assert graph.made == ["look up A1", "pay"], "nothing was made again"
    ended = graph.cli("resume", "langgraph/8", "graphs:graph", exits=3)
    assert "come to its end" in ended.err

    # a branch with another outcome of a step in a node, gone on with
    command = "fork", "langgraph/7", "--as", "langgraph/9", "--set-outcome"
    assert "node" in graph.cli(*command, "step:1=null", exits=2).err, "what a node wrote is no outcome of a step"
    graph.cli(*command, 'step:0="found it"')
    gone_on = graph.cli("resume", "langgraph/9", "graphs:graph", "--json").data
    assert gone_on["result"] == {"done": ["A1", "found it", "pay done"]}
    assert graph.made == ["look up A1", "pay", "pay"], "what was recorded is not made again"
    assert "found it" in graph.cli("diff", "langgraph/9", exits=1).out
    assert graph.cli("replay", "langgraph/9", "graphs:graph").rows[0][0] == "identical"


def test_a_graph_stepped_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Project(tmp_path, GRAPH, "graphs.py")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\na\nr\nf langgraph/try\nn\np\nn\nn\nq\n"))
    told = graph.cli("replay", "langgraph", "graphs:graph", "--pdb").out
    stops = re.findall(r"stopped before step \d+: (\w+ \w+)", told)
    assert stops == ["node look", "tool act", "node pay", "tool act", "node pay", "tool act"]
    assert '"look up A1 done"' in told
    assert graph.cli("resume", "langgraph/try", "graphs:graph").code == 0
    assert graph.made == ["look up A1", "pay", "look up A1", "pay"]


def test_a_graph_run_on(tmp_path: Path) -> None:
    effect = GRAPH.replace(
        "async def pay",
        """
@step(kind="tool", effect="once")
def send(what):
    return act("really " + what)

@step(kind="model")
def think(prompt, model="m1", system="be kind"):
    return f"{model}, {system}: {prompt}"

def in_full(state):
    return len(state["done"]) == 4

async def pay""",
    ).replace('[act("pay")]', '[think("pay?"), send("pay")]')
    graph = Project(tmp_path, effect, "graphs.py")
    assert graph.made == ["look up A1", "really pay"]
    replay = "replay", "langgraph/7", "graphs:graph", "-y"
    numbers = {row[4]: row[2] for row in graph.cli("show", "langgraph/7").rows if row[1] == "step"}

    refused = graph.cli(*replay, "--live-from", numbers["think"], "--as", "langgraph/r", exits=7)
    assert "'send' acts on the world" in refused.out
    assert "running on costs, by the record" in refused.err
    live = *replay, "--live-from", numbers["think"], "--model", "m2", "--system", "be brief"
    mocked = graph.cli(*live, "--mock", 'send="sent"', "--json").data
    assert (mocked["verdict"], mocked["fork"], mocked["steps"]) == ("otherwise", "langgraph/7-live-1", 2)
    assert mocked["result"] == {"done": ["A1", "look up A1 done", "m2, be brief: pay?", "sent"]}
    allowed = graph.cli(*replay, "--live-from", numbers["think"], "--allow", "send", "--as", "langgraph/8").rows[0]
    assert (allowed[0], allowed[3]) == ("same", "langgraph/8")
    assert graph.made == ["look up A1", "really pay", "really pay"]
    assert "think" in graph.cli("diff", "langgraph/7-live-1", exits=1).out
    assert graph.cli("replay", "langgraph/8", "graphs:graph").rows[0][0] == "identical"
    checked = graph.cli(*live, "--mock", "send=null", "--repeat", "2", "--check", "graphs:in_full", "--json").data
    assert (checked["passed"], [each["fork"] for each in checked["tries"]]) == (
        2, ["langgraph/7-live-2", "langgraph/7-live-3"]
    )  # fmt: skip
    assert graph.cli(*replay, "--repeat", "2", "--check", "graphs:in_full", "--json").data["passed"] == 2
    assert graph.cli(*replay, "--live-from", "step:0", "--as", "else", exits=2).err.count("langgraph/…") == 1


def test_a_graph_that_asks(tmp_path: Path) -> None:
    asks = GRAPH.replace('act("pay")]', 'act("pay"), interrupt("sure?")]')
    graph = Project(tmp_path, "from langgraph.types import interrupt\n" + asks, "graphs.py")
    waits = graph.cli("resume", "langgraph", "graphs:graph", exits=9)
    assert "waits for an answer" in waits.err
    graph.cli("fork", "langgraph/7", "--as", "langgraph/8")
    graph.cli("answer", "langgraph/7", "yes")
    gone_on = graph.cli("resume", "langgraph/7", "graphs:graph", "--json").data
    assert gone_on["result"]["done"][-1] == "yes"
    graph.cli("resume", "langgraph/8", "graphs:graph", exits=9)
    assert graph.made == ["look up A1", "pay"], "nothing was made again"
    assert graph.cli("replay", "langgraph/7", "graphs:graph").rows[0][0] == "identical"
