"""`agentstream export`, `import`, `label`, `rm` and `gc`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentstream import Client, agent, step
from agentstream.cli import main
from agentstream.protocol.operations import Append
from agentstream.sessions.events import write_event


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Client() as client:
        client.session("a").append("note", "ü")
        client.session("a").fork("a/fork").append("note", 2)


def ids() -> list[str]:
    with Client() as client:
        return [summary.id for summary in client.sessions(sort="id")]


class Said:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*argv: str) -> Said:
        code = main(argv)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Said(code, captured.out, captured.err)

    return run


def test_out_and_in_again(say: Any, tmp_path: Path):
    done = say("export", "a", "--forks", "-o", "x.jsonl", "--json")
    assert done.code == 0
    assert done.data == {
        "file": "x.jsonl",
        "sessions": ["a", "a/fork"],
        "events": 4,
        "bytes": (tmp_path / "x.jsonl").stat().st_size,
    }
    assert say("import", "x.jsonl").code == 6
    assert ids() == ["a", "a/fork"]
    assert say("import", "x.jsonl", "--prefix", "old/").out == "old/a\nold/a/fork\n"
    assert say("export", "a/fork", "-o", "y.jsonl").out.startswith("y.jsonl\t1\t4\t")
    assert say("import", "y.jsonl", "--as", "z", "--json").data == ["z"]
    assert ids() == ["a", "a/fork", "old/a", "old/a/fork", "z"]


def test_through_a_pipe_into_a_store_that_is_not_there_yet(tmp_path: Path):
    command = [sys.executable, "-m", "agentstream.cli"]
    text = subprocess.run([*command, "export", "a"], capture_output=True, check=True).stdout
    file = io.BytesIO()
    with Client() as client:
        client.session("a").export(file)
    assert text == file.getvalue()
    made = subprocess.run(
        [*command, "import", "-", "--url", str(tmp_path / "new")], input=text, capture_output=True, check=True
    )
    assert made.stdout == b"a\n"
    with Client(tmp_path / "new") as client:
        assert [event.value for event in client.session("a").events()][1:] == ["ü"]


def test_a_torn_file_is_told(say: Any, tmp_path: Path):
    say("export", "a", "-o", "x.jsonl")
    (tmp_path / "x.jsonl").write_bytes((tmp_path / "x.jsonl").read_bytes()[:-50])
    torn = say("import", "x.jsonl", "--as", "b")
    assert (torn.code, torn.out) == (1, "")
    assert "x.jsonl, line 3" in torn.err
    assert "Nothing was imported" in torn.err
    assert json.loads(say("import", "x.jsonl", "--as", "b", "--json").err)["error"]["code"] == "invalid_export"
    assert ids() == ["a", "a/fork"]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["export", "nobody", "-o", "x"], 3),
        (["export", "a", "--json"], 2),
        (["export", "a", "-o", "no/such/folder/x"], 1),
        (["import", "nothing.jsonl"], 2),
        (["import", "x", "--url", "memory:"], 2),
        (["label", "a"], 2),
        (["label", "a", "--ttl", "3"], 2),
        (["label", "a", "--ttl", "0s"], 2),
        (["label", "a", "--tag", "=x"], 2),
        (["label", "nobody", "--title", "x"], 3),
        (["rm", "nobody"], 3),
        (["rm", "a", "a/for"], 3),
        (["rm", "~at/a"], 2),
        (["gc", "--older-than", "tomorrow"], 2),
        (["gc", "--older-than", "-1d"], 2),
    ],
)
def test_what_is_wrong_is_an_exit_code_and_changes_nothing(say: Any, argv: list[str], code: int):
    done = say(*argv)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(("error: ", '{"error": '))
    assert ids() == ["a", "a/fork"]


def test_labels(say: Any):
    done = say("label", "a", "--title", "Two\nlines", "--tag", "team=x=y", "--tag", "hot", "--ttl", "1.5h", "--json")
    assert done.data == {"id": "a", "title": "Two\nlines", "tags": {"team": "x=y", "hot": True}, "ttl": 5400.0}
    assert say("label", "a", "--untag", "hot", "--ttl", "never").out == "a\tTwo\\nlines\tteam=x=y\n"
    assert say("label", "a", "--untag", "team", "--json").data["ttl"] is None
    assert say("label", "a/f", "--title", "by its beginning").out == "a/fork\tby its beginning\n"


def test_list_finds_by_label_text_and_time(say: Any):
    say("label", "a", "--title", "Order A1", "--tag", "team=x")
    with Client() as client:
        client.session("b").append("message", {"role": "user", "parts": [{"type": "text", "text": "Hello there"}]})

    def listed(*argv: str) -> list[str]:
        done = say("list", *argv)
        assert done.code == 0
        return sorted(line.split("\t")[0] for line in done.out.splitlines())

    assert listed("--tag", "team=x") == ["a"]
    assert listed("--title", "order") == ["a"]
    assert listed("--text", "hello", "--since", "1h") == ["b"]
    assert listed("--since", "0.000001s") == []
    assert say("list", "--since", "yesterday").code == 2


def test_rm_deletes_all_that_are_named_or_none(say: Any):
    refused = say("rm", "a/fork", "nobody")
    assert (refused.code, "hint: agentstream list" in refused.err) == (3, True)
    assert ids() == ["a", "a/fork"]
    assert say("rm", "a", "a").out == "a\n"
    assert ids() == ["a/fork"]
    assert say("rm", "a/fork", "--json").data == ["a/fork"]
    assert ids() == []


def test_rm_leaves_what_is_needed_unless_forced(say: Any):
    with Client() as client:
        client.session("asks").append("note", 1)
        waiting = [
            write_event("claim", "1.n", {"nonce": "n", "run": "r"}, claim=1),
            write_event("run", "r", {"agent": "a", "arguments": {}, "fingerprint": "x"}, claim=1),
            write_event("status", "r", {"status": "waiting"}, claim=1),
        ]
        client._core.backend.execute(Append("asks", tuple(waiting)))
    refused = say("rm", "a", "asks")
    assert refused.code == 6
    assert "waits for a person" in refused.err
    codes: list[int] = []

    @step
    def remove() -> None:
        codes.append(say("rm", "busy").code)

    @agent
    def working() -> None:
        remove()

    with Client() as client:
        client.session("busy").run(working)
    assert codes == [6]
    assert ids() == ["a", "a/fork", "asks", "busy"]
    assert say("rm", "asks", "--force").code == 0
    assert ids() == ["a", "a/fork", "busy"]


def test_gc_says_and_does(say: Any):
    said = say("gc", "--older-than", "0.000001s", "--keep", "nothing*")
    assert [line.split("\t")[:2] for line in said.out.splitlines()] == [["remove", "a/fork"], ["remove", "a"]]
    kept = say("gc", "--older-than", "0.000001s", "--keep", "a/*").out.splitlines()
    assert kept == ["keep\ta/fork\tit is to be kept", "keep\ta\t1 fork needs its events"]
    assert say("gc", "--delete").out == ""  # without an age only what has one of its own
    assert ids() == ["a", "a/fork"]
    done = say("gc", "--older-than", "0.000001s", "--delete", "--json").data
    assert [gone["id"] for gone in done["removed"]] == ["a/fork", "a"]
    assert (done["dry_run"], done["bytes"] > 0) == (False, True)
    assert ids() == []
