"""How commands end: exit codes, what is said, and never a traceback."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
from cli_kit import command, environment

from agentstream import Client, __version__, errors
from agentstream.cli import failures, main

WITHOUT = """
import sys
sys.modules[{name!r}] = None
from agentstream.cli import main
sys.exit(main(["list"]))
"""


@pytest.mark.parametrize("name", ["typer"])
def test_without_what_it_needs_it_says_how_to_get_it(name):
    done = subprocess.run([sys.executable, "-c", WITHOUT.format(name=name)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "agentstream-sdk[cli]" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agents_error_is_placed_in_its_own_code():
    from json import JSONDecodeError, loads

    with pytest.raises(JSONDecodeError) as raised:
        loads("{")
    told = str(failures.AgentRaised.of(raised.value))
    here = test_an_agents_error_is_placed_in_its_own_code.__name__
    assert re.search(rf"\({re.escape(__file__)}:\d+ in {here}\)$", told)


def test_version_and_help(cli):
    assert cli("--version").out == f"agentstream {__version__}\n"
    for arguments in (["--help"], ["-h"], []):
        answer = cli(*arguments)
        assert answer.code == 0
        assert all(verb in answer.out for verb in ("list", "show", "tail", "fork"))
    for verb in ("list", "show", "tail", "fork"):
        assert "--json" in cli(verb, "--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        *(["shwo"], ["show"], ["list", "--colour"], ["list", "-n", "x"], ["tail", "a", "b"]),
        ["list", "--sort", "x"],
    ],
)
def test_wrong_usage(cli, arguments):
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    verb = "" if arguments == ["shwo"] else f" {arguments[0]}"
    assert f"hint: agentstream{verb} --help\n" in answer.err
    assert "Value error" not in answer.err
    assert cli(*arguments, "--json").error["code"] == "usage"
    assert cli("show", "a", "--kind").err.endswith("hint: agentstream show --help\n")


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (errors.NotFound("x"), "not_found", 3),
        (errors.SessionExists("x"), "session_exists", 6),
        (errors.SessionBusy("x"), "session_busy", 6),
        (errors.Unavailable("x"), "unavailable", 5),
        (errors.StoreError("x"), "store", 5),
        (errors.AgentStreamError("x"), "failed", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (RuntimeError("x"), "internal", 1),
    ],
)
def test_errors_have_codes(error, code, exit_code):
    failure = failures.describe(error)
    assert (failure.code, failure.exit_code) == (code, exit_code)


def test_a_mistake_of_our_own_is_said_in_a_line(cli, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr(Client, "sessions", broken)
    answer = cli("list")
    assert answer.code == 1
    assert "mistake in agentstream: KeyError: 'oops' (test_endings.py:" in answer.err
    assert "Traceback" not in answer.err


def test_a_damaged_store(cli, store):
    for extra in store.glob("streams.db-*"):
        extra.unlink()
    (store / "streams.db").write_bytes(b"no database at all" * 1000)
    for arguments in (["list"], ["show", "support/42"], ["fork", "support/42", "--as", "b"]):
        answer = cli(*arguments, "--json")
        assert answer.code == 5
        assert answer.error["code"] == "store"


def test_a_reader_that_leaves(store):
    with Client(store) as client:
        for _ in range(40):
            client.session("long").append("custom", "x" * 10_000)
    with subprocess.Popen(
        command("show", "long"), cwd=store.parent, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.read(1)
        shown.stdout.close()
        assert shown.stderr.read() == b""
        assert shown.wait(60) == 141


def test_an_output_that_is_full(store):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("show", "support/42"),
            cwd=store.parent,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


def test_an_encoding_that_lacks_characters(process):
    answer = process("show", "support/42", "--kind", "message", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert answer.code == 0
    assert "\\u65e5" in answer.out


def test_ctrl_c(store):
    with subprocess.Popen(
        command("tail", "support/42", "--json"),
        cwd=store.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        for _ in range(10):
            tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert b"Traceback" not in tail.stderr.read()
        assert tail.wait(60) == 130


def test_main_returns_its_code():
    assert main(["--version"]) == 0
