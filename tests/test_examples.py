"""Every example runs, says what it promises, and ends well; the demo does so in a pipe and on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sdk_kit import ran

EXAMPLES = Path(__file__).parents[1] / "examples"

SAYS = {
    "hello_loop.py": ["cooked in all: ['soup', 'fish', 'cake']"],
    "async_loop.py": ["['The capital of the UK is London.', 'The capital of the UK is London.'] - from the record"],
    "effect_once.py": ["the shop crashed with 9", "nobody knows whether it was paid", "order A1 is paid"],
    "follow.py": ["  0  session", "counted to 3", "after counting@6"],
}

STRICT = {"PYTHONWARNINGS": "error"}


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str, tmp_path: Path) -> None:
    said = ran(EXAMPLES / name, tmp_path, **STRICT)
    for line in SAYS[name]:
        assert line in said
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SAYS, "demo.py"}


def test_the_demo_holds_what_it_claims(tmp_path: Path) -> None:
    said = ran(EXAMPLES / "demo.py", tmp_path, **STRICT)
    assert "of 4 model calls 2 were served from the record and 2 billed" in said
    assert "of its 4 model calls 3 came from the shared history and 1 was billed" in said
    assert '-> "Answer in one word."' in said
    assert "✗" not in said
    assert "\x1b" not in said, "no colour in a pipe"
    assert not list(tmp_path.iterdir()), "it left something behind"
    assert ran(EXAMPLES / "demo.py", tmp_path, **STRICT) == said, "it says the same each time"


def test_the_demo_is_in_colour_on_a_terminal() -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    with tempfile.TemporaryDirectory() as folder, os.fdopen(master, "rb", 0) as terminal:
        variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        variables |= {**STRICT, "TMPDIR": folder}
        with subprocess.Popen([sys.executable, EXAMPLES / "demo.py"], env=variables, stdout=slave, stderr=slave) as run:
            os.close(slave)
            shown = b""
            while True:
                try:
                    piece = terminal.read(65536)
                except OSError:  # how Linux says that the other end is closed
                    break
                if not piece:
                    break
                shown += piece
        assert run.returncode == 0, shown.decode()
    assert b"\x1b[32m" in shown
