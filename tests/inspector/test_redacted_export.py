"""What is taken out on the way out: of a record that was made without rules."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import worlds
from redact_kit import ANTHROPIC, OPENAI

from agentstream import Client, agent, step
from agentstream.cli import main
from agentstream.sessions.events import write_event


@step
def ask_model(headers: dict[str, str], messages: list[str]) -> dict[str, Any]:
    return {"echo": headers["x-key"], "token": "t", "messages": messages}


@step
def fail(key: str) -> None:
    raise ValueError(f"no {key}")


@agent
def leaking(key: str) -> str:
    ask_model({"x-key": key}, [f"use {key}"])
    with contextlib.suppress(ValueError):
        fail(key)
    return f"done with {key}"


@pytest.fixture
def leaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with Client(tmp_path / ".agentstream") as client:
        session = client.session("leaky")
        session.append("session", {"title": f"of {ANTHROPIC}", "tags": {"key": OPENAI}})
        session.append("message", worlds.said("user", f"my key is {ANTHROPIC}"))
        session.append("note", {"where": OPENAI, "kept": "a word"})
        session.run(leaking, ANTHROPIC)
        pieces = [OPENAI[:9], OPENAI[9:20], OPENAI[20:]]
        claim = session.state().highest_claim
        values = [{"target": "m", "kind": "text", "text": text, "attempt": 1} for text in pieces]
        worlds.write(client, "leaky", [write_event("delta", f"d{n}", v, claim=claim) for n, v in enumerate(values)])
        session.fork("leaky-b", at=5)
    return tmp_path


@pytest.mark.parametrize("form", ["html", "json", "markdown"])
def test_nothing_that_the_rules_find_is_in_the_file(leaky: Path, form: str) -> None:
    with Client(leaky / ".agentstream") as client:
        before = [event.raw for event in client.session("leaky").events()]
    forks = ["--forks"] if form == "html" else []
    out = leaky / "out"
    assert main(["export", "leaky", "--format", form, *forks, "--redact", "keys", "-o", str(out)]) == 0
    text = out.read_text("utf-8")
    for secret in (ANTHROPIC, OPENAI):
        assert secret not in text
        assert secret[-15:] not in text
    assert "redacted" in text
    assert "a word" in text or form == "markdown"
    with Client(leaky / ".agentstream") as client:
        assert [event.raw for event in client.session("leaky").events()] == before
    assert main(["export", "leaky", "--format", form, "-o", str(out)]) == 0
    assert ANTHROPIC in out.read_text("utf-8")


def test_own_rules_are_named_as_for_recording(leaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (leaky / "leaky_rules.py").write_text("from agentstream import Redact\nrules = Redact(fields=['where'])\n")
    out = str(leaky / "out")
    assert main(["export", "leaky", "--format", "json", "--redact", "leaky_rules:rules", "-o", out]) == 0
    assert '"where": {"$redacted": "where"}' in " ".join(Path(out).read_text("utf-8").split()).replace(
        "{ ", "{"
    ).replace(" }", "}")
    for arguments, said in (
        (["--format", "json", "--redact", "nothing"], "names no rules"),
        (["--redact", "nothing"], "names no rules"),
    ):
        assert main(["export", "leaky", *arguments, "-o", out]) == 2
        assert said in capsys.readouterr().err
