"""`make setup`: an environment with the core, every integration (all editable) and the tools to work on them.

Does nothing, silently, while what it would install has not changed. Usage: setup.py [KIND], one of KINDS.
Runs before anything is installed, so it takes the standard library alone.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

from environment import Environment
from running import Failed, say

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "[cli,encryption,otel,pytest,server]"
# Agent frameworks that need a newer pydantic than the core: their oldest versions have an environment of their own.
FRAMEWORKS = ("claude-agent-sdk", "mcp", "openai-agents", "pydantic-ai")
# name: (folder, constraints, dependency group)
KINDS = {
    "default": (".venv", "constraints.txt", "dev"),
    "bench": (".venv-bench", "constraints.txt", "bench"),  # apart: its packages bring pytest plugins along
    # Apart again: it asks for exactly one version of pydantic-ai, and not the newest.
    "bench-harness": (".venv-bench-harness", "constraints-bench-harness.txt", "bench-harness"),
    "lowest": (".venv-lowest", "constraints-lowest.txt", "test"),
    "lowest-sdks": (".venv-lowest-sdks", "constraints-lowest-sdks.txt", "test"),
}


def projects(kind: str = "default") -> list[Path]:
    """The distributions of this checkout that a kind of environment holds: the core, then the integrations."""
    if kind == "bench-harness":
        return [ROOT, ROOT / "integrations" / "pydantic-ai"]
    found = sorted(file.parent for file in ROOT.glob("integrations/*/pyproject.toml"))
    return [ROOT, *(project for project in found if kind != "lowest" or project.name not in FRAMEWORKS)]


def editable(kind: str) -> list[str]:
    """What an installer takes for them, the core with its extras."""
    return [part for project in projects(kind) for part in ("--editable", f"{project}{EXTRAS * (project == ROOT)}")]


def fingerprint(kind: str, constraints: Path) -> str:
    """Changes when something that is installed, where, or by which Python does."""
    seal = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for file in (constraints, *(project / "pyproject.toml" for project in projects(kind))):
        seal.update(file.read_bytes())
    return seal.hexdigest()


def main(kind: str) -> None:
    folder, pins, group = KINDS[kind]
    constraints = ROOT / pins
    environment = Environment(ROOT / folder)
    stamp = environment.folder / "agentstream-setup"
    wanted = fingerprint(kind, constraints)
    if stamp.exists() and stamp.read_text() == wanted:
        return

    started = time.monotonic()
    say(f"Setting up {folder}: agentstream, its integrations and what it takes to work on them (a minute or so, once)")
    if not environment.works():
        environment.make()
    say("Installing what pyproject.toml and integrations/*/pyproject.toml ask for")
    try:
        environment.install(
            *editable(kind),
            "--group",
            f"{ROOT / 'pyproject.toml'}:{group}",
            constraints=constraints,
        )
    except Failed as problem:
        raise SystemExit(f"Setting up {folder} failed ({problem}). Is a package index within reach?") from None
    stamp.write_text(wanted)  # last: an interrupted setup is done again
    say(f"{folder} is ready after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "default")
