"""A command starts fast: what only some need is not imported for all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import environment

HEAVY = {
    *("httpx", "pydantic", "uvicorn", "importlib.metadata", "cryptography", "zipfile", "rich", "email.message"),
    *("asyncio", "ssl"),
}
UNTIL_A_STORE = {*HEAVY, "sqlite3", "msgspec", "agentstream.client"}
RUNNING = {f"agentstream.agents.{name}" for name in ("calls", "opening", "runs", "steps", "worker", "replay")}
"""What runs agents: who looks at a session needs none of it."""
PROGRAM = """
import site; site.main()
import sys
from agentstream.cli import main
code = main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def imported(*arguments: str, at: Path | None = None) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, *arguments],
        cwd=at,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("asked", [("--help",), ("--version",), ("completion", "bash"), ("complete", "agentstream sh")])
def test_what_needs_no_store_imports_little(asked):
    assert UNTIL_A_STORE & imported(*asked) == set()


@pytest.mark.parametrize(
    "looked",
    [
        ("list", "--status", "finished", "--sort", "created"),
        ("show", "support/42", "--kind", "tool"),
        ("tree", "support/42"),
        ("answer", "support/42"),
        ("complete", "agentstream show sup"),
    ],
)
def test_looking_imports_nothing_that_runs(store, looked):
    assert (HEAVY | RUNNING) & imported(*looked, at=store.parent) == set()


def test_a_verb_imports_no_other(store):
    found = imported("show", "support/42", at=store.parent)
    assert {name for name in found if name.startswith("agentstream.cli.")} & {
        f"agentstream.cli.{verb}" for verb in ("answer", "diff", "doctor", "fork", "listing", "replay", "serve", "ui")
    } == set()


COLLECTING = """
import gc, sys
from agentstream.cli import main
usual = gc.get_threshold()
sys.argv[1:] = {arguments!r}
main()
print(gc.get_threshold() == usual, gc.get_freeze_count() > 0, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "as_usual", "frozen"),
    [
        (["list"], "False", "True"),
        (["--help"], "False", "True"),
        (["resume", "support/42", "json:loads"], "True", "False"),
    ],
)
def test_cycles_are_looked_for_where_code_of_the_users_is(store, arguments, as_usual, frozen):
    done = subprocess.run(
        [sys.executable, "-c", COLLECTING.format(arguments=arguments)],
        cwd=store.parent,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stderr.splitlines()[-1].split() == [as_usual, frozen]
