"""`agentstream fork --edit`: what was recorded, in the person's own editor."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentstream import Client

EDITOR = """
import sys
old, new, file = sys.argv[1:]
with open(file, "rb") as stream:
    text = stream.read().decode()
sys.stdout.write("in the editor: " + repr(text) + "\\n")
with open(file, "wb") as stream:
    stream.write(text.replace(old, new).encode())
sys.exit(3 if new == "failed" else 0)
"""

Edited = Callable[..., str]


@pytest.fixture
def edited(tmp_path: Path, terminal: Callable[..., str]) -> Edited:
    """Runs the command line on a terminal with an editor that puts one text in the place of another."""
    program = tmp_path / "editor.py"
    program.write_text(EDITOR)

    def run(old: str, new: str, *arguments: str, name: str = "VISUAL") -> str:
        command = shlex.join([sys.executable, str(program), old, new])
        names = {"VISUAL": "", "EDITOR": "", "NO_COLOR": "1", "TMPDIR": str(tmp_path), name: command}
        return terminal("fork", *arguments, columns=500, **names).replace("\r\n", "\n")

    return run


@pytest.fixture
def sessions(store: Path):
    with Client(store) as client:
        yield client


def left_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("agentstream-*"))


def test_an_outcome(edited, sessions, tmp_path):
    shown = edited('"number": 1', '"number": 11', "support/42", "--edit", "step:1", name="EDITOR")
    assert "support/42-branch  fork of support/42@8" in shown
    assert "\\\\u202e" in shown, "what turns text round is escaped"
    source, branch = (sessions.session(name).state().steps for name in ("support/42", "support/42-branch"))
    assert branch[1].result == {**source[1].result, "number": 11}
    assert left_in(tmp_path) == []


def test_a_text_is_edited_as_it_is(edited, sessions):
    chat = sessions.session("chat")
    chat.append("message", {"role": "user", "parts": [{"type": "text", "text": 'one\r\n"two"'}]})
    shown = edited("one", "1", "chat", "--edit", "1")
    assert "in the editor: 'one\\r\\n\"two\"\\n'" in shown
    (message,) = sessions.session("chat-branch").state().messages
    assert message["parts"] == [{"type": "text", "text": '1\r\n"two"'}]


def test_another_message_with_more_than_text(edited, sessions):
    chat = sessions.session("chat")
    kept = chat.attach(b"hello", name="a.txt")
    chat.append("message", {"role": "user", "parts": [{"type": "text", "text": "see"}], "file": kept})
    edited("see", "look", "chat", "--edit", "1")
    (message,) = sessions.session("chat-branch").state().messages
    assert (message["parts"][0]["text"], message["file"].read()) == ("look", b"hello")


def test_an_input(edited, sessions, tmp_path):
    (tmp_path / "orders.py").write_text(
        "from agentstream import agent\n\n@agent\ndef orders(first, second=7):\n    return [first, second]\n"
    )
    names = runpy.run_path(str(tmp_path / "orders.py"))
    sessions.session("o").run(names["orders"], "a", 2)
    again = "o", "--edit", "input", "--run", "orders:orders"
    assert '[\n  "b",\n  2\n]' in edited('"a"', '"b"', *again)
    assert '[\n  "a",\n  7\n]' in edited(',\n  "second": 2', "", *again), "what is left out is not given"


def test_only_told(edited, sessions):
    before = [summary.id for summary in sessions.sessions()]
    shown = edited('"number": 1', '"number": 11', "support/42", "--edit", "step:1", "--dry-run")
    assert "would be a fork of support/42@8" in shown
    assert "      - 1\n      + 11\n" in shown
    assert [summary.id for summary in sessions.sessions()] == before


@pytest.mark.parametrize(
    ("new", "said"), [('"x', "is not JSON"), ('"x"', "at number is a text, and what was recorded is a number")]
)
def test_what_was_written_is_kept(edited, sessions, tmp_path, cli, new, said):
    shown = edited("1,", f"{new},", "support/42", "--edit", "step:1")
    assert said in shown
    (file,) = left_in(tmp_path)
    assert file.stat().st_mode & 0o077 == 0
    command = re.search(r"agentstream (fork .*@\S+)", shown)
    assert command is not None
    file.write_text(json.dumps({"number": 5}))
    assert cli(*shlex.split(command[1])).code == 0
    assert sessions.session("support/42-branch").state().steps[1].result == {"number": 5}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nothing of it", "", "nothing was changed, so nothing is made"),
        ("number", "failed", "the editor ended with 3, so nothing is made"),
    ],
)
def test_nothing_is_made(edited, sessions, tmp_path, old, new, said):
    before = [summary.id for summary in sessions.sessions()]
    assert f"error: {said}" in edited(old, new, "support/42", "--edit", "step:1")
    assert [summary.id for summary in sessions.sessions()] == before
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["support/42@12", "--edit", "step:0"], "cannot be cut at 12"),
        (["support/42", "--edit", "step:0", "--as", "support/42-b"], "is already there"),
        (["support/42", "--edit", "step:0", "--as", "~x"], "cannot be a session id"),
        (["support/42", "--edit", "0"], "is no message"),
        (["support/42", "--edit", "step:9"], "has no step:9"),
    ],
)
def test_nobody_edits_for_nothing(edited, arguments, said):
    shown = edited("number", "n", *arguments)
    assert said in shown
    assert "in the editor" not in shown


@pytest.mark.parametrize(
    ("editor", "said"),
    [
        ("", "neither $VISUAL nor $EDITOR names one"),
        ("'", "is no command for an editor"),
        ("/nowhere/at/all", "'/nowhere/at/all' cannot be started"),
    ],
)
def test_no_editor(terminal, editor, said):
    assert said in terminal("fork", "support/42", "--edit", "step:1", columns=500, VISUAL="", EDITOR=editor)


def test_nobody_to_edit(process, terminal):
    piped = process("fork", "support/42", "--edit", "step:1", EDITOR="true")
    assert (piped.code, "--set-outcome step:1=JSON says it here" in piped.err) == (2, True)
    assert "there is no terminal for it" in terminal(
        "fork", "support/42", "--edit", "step:1", "--no-input", columns=500, EDITOR="true"
    )


def test_what_failed_has_no_result_to_edit(cli, sessions):
    answer = cli("fork", "support/42", "--edit", "step:2")
    assert (answer.code, "it is failed" in answer.err, "--set-outcome step:2=JSON" in answer.err) == (2, True, True)
