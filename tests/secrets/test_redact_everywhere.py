"""Rules for everybody who writes: imports, the environment, workers in processes of their own."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest
from cli_kit import command, environment
from redact_kit import ANTHROPIC, GITHUB, JWT, OPENAI, PASSWORD, assert_nowhere

from agentstream import Client, Redact, agent, emit, step
from agentstream.sessions.configured import VARIABLE

AGENTS = f'''
from agentstream import Redact, agent, step

RULES = Redact(keys=False, patterns={{"ours": "{PASSWORD}"}})


@step
def look(text: str) -> str:
    return text + " {PASSWORD}"


@agent
def answers(text: str) -> str:
    return look(text)
'''


@step
def look(key: str) -> list[dict[str, str]]:
    emit("message", {"role": "assistant", "parts": [{"type": "text", "text": f"take {OPENAI}"}]})
    return [{"password": PASSWORD, "n": f"{GITHUB} {n}" * 9} for n in range(9)]


@agent
def looks(key: str) -> str:
    look(f"{key} " + "and so on " * 30)
    return JWT


def test_an_import_is_looked_at(tmp_path: Path) -> None:
    with Client("memory:") as plain:
        session = plain.session("s")
        session.label(f"of {ANTHROPIC}")
        session.run(looks, ANTHROPIC)
        session.append("note", {"password": PASSWORD})
        session.fork("s-b", at=4)
        session.export(tmp_path / "plain.jsonl", forks=True)
        births = [event.raw for event in session.events() if event.type in ("claim", "status")]
    with Client(tmp_path / "store", redact=Redact(fields=["password"])) as client:
        imported, fork = client.import_(tmp_path / "plain.jsonl")
        assert [event.raw for event in imported.events() if event.type in ("claim", "status")] == births
        assert imported.state().steps[0].result[0]["password"] == "[redacted: password]"
        assert len(list(fork.events())) == 5
    assert_nowhere(tmp_path / "store", [ANTHROPIC, OPENAI, GITHUB, JWT, PASSWORD])


def test_the_environment_names_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "keys")
    with Client(tmp_path / "a") as client, Client("memory:", redact=False) as none:
        for each in (client, none):
            each.session("s").append("note", OPENAI)
        assert next(iter(none.session("s").events(start=1))).value == OPENAI
    assert_nowhere(tmp_path / "a", [OPENAI])
    (tmp_path / "their_rules.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(VARIABLE, "their_rules:RULES")
    with Client("memory:") as client:
        assert client.session("s").append("note", PASSWORD).value == "[redacted: ours]"
    for wrong in ("nothing", "their_rules:answers", "no_such_module:RULES"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(ValueError, match=wrong.partition(":")[0]):
            Client("memory:")
    with pytest.raises(TypeError, match="redact="):
        Client("memory:", redact="keys")  # type: ignore[arg-type]


def test_a_worker_takes_rules_by_name(tmp_path: Path) -> None:
    (tmp_path / "their_agents.py").write_text(AGENTS)
    store = tmp_path / "store"
    with Client(store) as client:
        client.session("s").append("message", {"role": "user", "parts": [{"type": "text", "text": "hi"}]})
    asked = command(
        *("worker", "their_agents:answers", "--on-message", "--once", "--url", str(store)),
        *("--redact", "their_agents:RULES"),
    )
    done = subprocess.run(asked, capture_output=True, cwd=tmp_path, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    with Client(store) as client:
        assert client.session("s").state().run.result == "hi [redacted: ours]"  # type: ignore[union-attr]
    assert_nowhere(store, [PASSWORD], done.stdout, done.stderr)
    asked[-1] = "their_agents:answers"
    done = subprocess.run(asked, capture_output=True, cwd=tmp_path, env=environment(), timeout=60)
    assert done.returncode == 2
    assert b"is no Redact" in done.stderr


WRITES_WHAT_NOBODY_SAID = {
    "agentstream/agents/saying.py",
    "agentstream/agents/calls.py",
    "agentstream/agents/deltas.py",
    "agentstream/agents/outcomes.py",
    "agentstream/agents/asking.py",
    "agentstream/agents/approving.py",
    "agentstream/agents/spawning.py",
    "agentstream/sessions/naming.py",
    "agentstream/sessions/edits.py",
    "agentstream/sessions/events.py",
    "agentstream/sessions/redaction.py",
}
"""Modules that encode without rules: what they encode goes through the rules after that, or is only asked about."""


def test_nobody_else_encodes_past_the_rules() -> None:
    root = Path(__file__).parents[2]
    found = set()
    for folder in ("agents", "sessions"):
        for file in (root / "agentstream" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "codec.encode":
                    found.add(file.relative_to(root).as_posix().replace(os.sep, "/"))
    assert found <= WRITES_WHAT_NOBODY_SAID
