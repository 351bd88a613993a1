"""What the command line prints, to the character: in a pipe, on a terminal of 100 columns, and there without colours.

The sessions come from an export, so that their ids, times and durations are always the same. After a change
that is meant: `WRITE_GOLDEN=1 pytest tests/cli/test_golden.py`, and read the difference.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from agentstream import Client

GOLDEN = Path(__file__).parent / "golden"
README = Path(__file__).parents[2] / "README.md"
COMMANDS = {
    "list": ("list",),
    "show": ("show", "support/42"),
    "tree": ("tree", "support/42"),
    "diff": ("diff", "support/42", "what-if"),
    "replay": ("replay", "support/42", "capitals:population"),
    "fork": ("fork", "support/42", "--set-outcome", "step:1=9", "--dry-run"),
    "missing": ("show", "support/43"),
    "doctor": ("doctor",),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """`support/42` and its fork `what-if`, and beside them their agent as it was changed since."""
    with Client(tmp_path / ".agentstream") as client:
        client.import_(GOLDEN / "capitals.jsonl")
    shutil.copy(GOLDEN / "capitals.py", tmp_path)
    return tmp_path / ".agentstream"


def normalised(text: str, folder: Path) -> str:
    """Without where it was run and how long ago the sessions were recorded; control characters are made visible."""
    text = text.replace("\r\n", "\n").replace(f"{folder}/", "").replace("\x1b[", "\\e[")
    text = re.sub(r"\d+[smhd] ago", "… ago", text)
    return re.sub(r"(updated|… ago) {2,}", r"\1  ", text)  # a column as wide as the longest time


def without_versions(text: str) -> str:
    """Without what is installed here: integrations, and versions of the rest."""
    lines = [line for line in text.splitlines(keepends=True) if not re.search(r"\bagentstream-[a-z]", line)]
    named = r"(?m)^((?:\\e\[32m)?ok +(?:\\e\[0m +)?)(\S+) {2,}"
    text = re.sub(named, r"\1\2  ", "".join(lines))  # a column as wide as the longest name
    return re.sub(r"\d+\.\d+[\w.]*|(?<= on )\w+", "…", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_golden(name, store, process, terminal):
    arguments = COMMANDS[name]
    piped = process(*arguments)
    said = [
        f"$ agentstream {' '.join(arguments)} | cat\n{piped.out}{piped.err}exit code {piped.code}\n",
        f"$ agentstream {' '.join(arguments)}\n{terminal(*arguments)}",
        f"$ NO_COLOR=1 agentstream {' '.join(arguments)}\n{terminal(*arguments, NO_COLOR='1')}",
    ]
    text = normalised("\n".join(said), store.parent)
    if name == "doctor":
        text = without_versions(text)
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text("utf-8")


def test_the_readmes_session(store, terminal):
    (block,) = re.findall(r"```console\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    told = block.split("$ agentstream ")[1:]
    assert len(told) >= 3
    for each in told:
        command, _, output = each.partition("\n")
        said = normalised(terminal(*command.split(), NO_COLOR="1"), store.parent)
        assert said == normalised(output, store.parent)
