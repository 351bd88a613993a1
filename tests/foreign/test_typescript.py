"""A session that we wrote, read live by the official TypeScript packages; its events by the protocol's own schema."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import node
import pytest
from json_schema import problems
from node_server import node_server
from our_server import our_server

from agentstream import Client, RunWaiting, Session, agent, ask, delta, spawn, step

HERE = Path(__file__).parent
SERVERS: dict[str, Callable[[], Any]] = {"ours": our_server, "node": node_server}


@step
def look_up(order: str) -> dict[str, Any]:
    return {"order": order, "items": [1, 2.0, None, "ünï"], "large": 2**60}


@step(effect="once")
def refund(order: str) -> None:
    raise ValueError(f"no refund of {order}")


@agent
def child(text: str) -> str:
    return text * 2


@agent
def support(question: str) -> str:
    delta("Let me ")
    delta("see.")
    found = look_up("A1")
    with suppress(ValueError):
        refund("A1")
    return f"{found['order']} {ask('Sure?', schema=bool)} {spawn(child, 'x').result()}"


def written(session: Session) -> None:
    """Events of every kind that a session has in its life."""
    session.append(
        "message", {"role": "user", "parts": [{"type": "text", "text": "<b>Where?</b> \u2028"}]}, key="asked"
    )
    session.label("Orders", {"team": "north"})
    with suppress(RunWaiting):
        session.run(support, "Where?")
    (question,) = session.questions()
    session.answer(question, True)
    session.run(support, "Where?")
    session.append("note", {"first": 1, "bytes": b"x"}, key="n")
    session.rewind(at=session.state().index - 1)
    session.append("note", ["again"], key="n2")
    session.append("end", {})


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, where it finds the packages."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "node_modules").symlink_to(node.packages() / "node_modules")
    return Path(shutil.copy(HERE / "reader.mjs", folder))


@pytest.mark.parametrize("live", ["sse", "long-poll"])
@pytest.mark.parametrize("server", ["ours", "node"])
def test_a_session_is_read_live(server: str, live: str, reader: Path) -> None:
    place = SERVERS[server]().place()
    with Client(place) as client:
        session = client.session("support/ünï 42")
        session.append("note", {"before": "anybody reads"}, key="n0")
        command = [node.node(), reader, f"{place}/support/%C3%BCn%C3%AF%2042", live]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
            try:
                assert process.stdout is not None
                lines = map(json.loads, process.stdout)
                first = [next(lines)["event"] for _ in range(2)]  # it reads before the rest is written
                assert [event["type"] for event in first] == ["session", "note"]
                written(session)
                told = list(lines)
                assert process.wait(60) == 0
            finally:
                process.kill()
        ours = [json.loads(event.raw) for event in session.events()]
        state = session.state()
    assert [*first, *(line["event"] for line in told[:-1])] == ours
    made = told[-1]["state"]
    assert made["message"]["asked"]["parts"][0]["text"] == "<b>Where?</b> \u2028"
    assert state.run is not None
    assert made["status"][state.run.key]["status"] == state.run.status == "finished"
    assert made["outcome"][state.run.key]["result"] == state.run.result
    assert {"n0", "n2"} <= set(made["note"])


def test_each_event_is_a_change_by_the_protocols_schema(tmp_path: Path) -> None:
    package = node.packages() / "node_modules" / "@durable-streams" / "state"
    schema = json.loads((package / "state-protocol.schema.json").read_text())
    with Client(tmp_path / "store") as client:
        session = client.session("s")
        written(session)
        branch = session.fork("branch", at=5)
        branch.append("note", 1)
        session.seal()
        messages = [event.raw for each in (session, branch) for event in each.events()]
    golden = (HERE.parent / "golden" / "session-v1.jsonl").read_bytes().splitlines()
    golden = [line for line in golden if line.startswith(b"{")]  # it holds what is no event, too
    wrong = [found for message in [*messages, *golden] if (found := problems(json.loads(message), schema, schema))]
    assert not wrong
    assert problems({"type": "", "key": "k", "headers": {"operation": "insert"}}, schema, schema)
    assert problems({"type": "t", "key": "k", "value": 1, "headers": {"operation": "upsert"}}, schema, schema)
    assert problems({"type": "t", "key": "k", "value": 1, "headers": {"operation": "insert", "x": 1}}, schema, schema)
