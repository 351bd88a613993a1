from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from agentstream import Client, agent
from agentstream.adapters import open_step

CRASHING = """
import os, signal, sys
from agentstream import Client, agent, step

@step(effect="once")
def pay() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

@agent
def paying() -> None:
    pay()

Client(sys.argv[1]).session("killed").run(paying)
"""


def asking(tokens: int):
    @agent
    def asks() -> None:
        call = open_step("model", "chat", {"model": "gpt-4o"})
        call.finish(None, usage={"input_tokens": tokens, "output_tokens": 1, "model": "gpt-4o"})

    return asks


def crash(store: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASHING, os.fspath(store)], timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_the_last_changed_comes_first_and_nothing_is_cut(cli):
    answer = cli("list")
    assert answer.code == 0
    assert {row[0] for row in answer.rows} == {"rewound", "support/42-b", "support/42"}
    assert all(len(row) == 7 for row in answer.rows)
    updated = [row[4] for row in answer.rows]
    assert updated == sorted(updated, reverse=True)
    fork = next(row for row in answer.rows if row[0] == "support/42-b")
    assert fork[1:4] == ["abandoned", "support", "8"]
    assert fork[5] == "support/42"


def test_choosing(cli):
    every = cli("list").rows
    assert {row[0] for row in cli("list", "support/").rows} == {"support/42-b", "support/42"}
    assert [row[0] for row in cli("list", "--status", "finished,failed").rows] == ["support/42"]
    assert [row[0] for row in cli("list", "--parent", "support/42").rows] == ["support/42-b"]
    assert cli("list", "-n", "1").rows == every[:1]
    assert [row[0] for row in cli("list", "-n", "1", "--status", "finished").rows] == ["support/42"]
    assert cli("list", "--reverse").rows == every[::-1]
    assert cli("list", "--agent", "nobody").rows == []
    assert {row[0] for row in cli("list", "--roots").rows} == {"support/42", "rewound"}
    assert cli("list", "--until", "1d").rows == []


def test_sorting(cli, store):
    with Client(store) as client:
        for name, tokens in (("dear", 9_000_000), ("cheap", 1_000)):
            client.session(name).run(asking(tokens))
    assert [row[0] for row in cli("list", "--sort", "cost", "-n", "2").rows] == ["dear", "cheap"]
    assert cli("list", "--sort", "events").rows[0][0] == "support/42"
    created = [session["created"] for session in cli("list", "--sort", "created", "--json").data]
    assert created == sorted(created, reverse=True)
    assert cli("list", "--sort", "failures").rows[0][0] == "support/42"
    assert cli("list", "--sort", "name").code == 2


def test_json(cli):
    sessions = {session["id"]: session for session in cli("list", "--json").data}
    assert sessions["rewound"]["sealed"] is True
    assert sessions["support/42"]["parent"] is None
    assert sessions["support/42-b"]["parent"] == "support/42"
    assert sessions["support/42"]["updated"].endswith("Z")
    assert cli("list", "--jsonl").lines == cli("list", "--json").data


def test_a_run_whose_worker_was_killed_is_abandoned(cli, store):
    crash(store)
    assert cli("list", "killed").rows[0][1] == "abandoned"
    shown = cli("show", "killed").rows
    assert next(row for row in shown if row[1] == "run")[5] == "abandoned"
    assert next(row for row in shown if row[1] == "step")[5] == "unknown"
    state = cli("show", "killed", "--state", "--json").data
    assert state["status"] == "abandoned"
    assert state["unresolved"] == [state["steps"][0]["key"]]


def test_no_store_is_said_and_none_is_made(cli, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = cli("list", "--url", str(empty / "store"))
    assert answer.code == 3
    assert "there is no store at" in answer.err
    assert list(empty.iterdir()) == []


def test_the_store_of_the_environment(cli, store, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert cli("list", "--json").error["code"] == "not_found"
    monkeypatch.setenv("AGENTSTREAM_URL", str(store))
    assert len(cli("list").rows) == 3
    assert cli("list", "--url", "memory:").code == 2
