"""`make pins`: writes constraints.txt (the newest versions) and constraints-lowest*.txt (the oldest we support).

Both hold for every supported Python. They name versions only, never where to get them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from setup import KINDS, ROOT, editable, projects

OLDEST_PYTHON = "3.10"
# Versions that these tools bring along from the newest set, so that old libraries are tested by today's tools.
TEST_TOOLS = (
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "respx", "trio", "hatchling", "uv"),
    *("langgraph", "langchain", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-conformance"),
)
# They bring it along with a plugin for pytest, and newer ones cannot be imported beside the oldest pydantic.
OLDER = "langsmith==0.14.9\n"
# What the oldest pydantic-ai's models of these providers ask for: its tests run them.
PROVIDERS = "anthropic>=1.3\nopenai>=3.8\n"
HEADER = "# {what}\n# Written by `make pins` from pyproject.toml and integrations/*/pyproject.toml.\n"


def compile_pins(source: str, *options: str) -> str:
    """The versions that uv resolves the requirements in `source` to, one a line, ours left out."""
    command = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "-", "--universal"]
    command += ["--python-version", OLDEST_PYTHON, "--no-python-downloads", "--no-annotate", "--no-header"]
    for project in projects():
        name = re.search(r'^name = "(.+)"$', (project / "pyproject.toml").read_text(), re.MULTILINE)
        command += ["--no-emit-package", name[1]] if name else []
    found = subprocess.run([*command, *options], input=source, capture_output=True, text=True, check=False, cwd=ROOT)
    if found.returncode:
        raise SystemExit(found.stderr)
    return found.stdout


def requirements(kind: str) -> str:
    """The distributions that a kind of environment holds, as a file of requirements."""
    return "\n".join(editable(kind)).replace("--editable\n", "-e ") + "\n"


def groups_of(*names: str) -> list[str]:
    return [part for name in names for part in ("--group", f"{ROOT / 'pyproject.toml'}:{name}")]


def main() -> None:
    newest = compile_pins(requirements("default") + "uv\n", "--upgrade", *groups_of("dev", "bench"))
    (ROOT / "constraints.txt").write_text(HEADER.format(what="Every version of the default environment.") + newest)

    beside = compile_pins(requirements("bench-harness"), "--upgrade", *groups_of("bench-harness"))
    what = "Every version of the environment in which StepPersistence is measured."
    (ROOT / KINDS["bench-harness"][1]).write_text(HEADER.format(what=what) + beside)

    tools = [line for line in newest.splitlines() if re.match(rf"({'|'.join(TEST_TOOLS)})==", line)]
    what = "The oldest direct dependencies that are supported, with today's test tools."
    for kind in ("lowest", "lowest-sdks"):
        older = OLDER if kind == "lowest" else PROVIDERS
        wanted = requirements(kind) + "\n".join(tools) + "\n" + older
        lowest = compile_pins(wanted, "--resolution", "lowest-direct")
        (ROOT / KINDS[kind][1]).write_text(HEADER.format(what=what) + lowest)


if __name__ == "__main__":
    main()
