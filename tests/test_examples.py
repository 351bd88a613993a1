"""Every example runs, says what it promises, and ends well; the demo does so in a pipe and on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

SAYS = {
    "hello_loop.py": ["cooked in all: ['soup', 'fish', 'cake']"],
    "async_loop.py": ["['The capital of the UK is London.', 'The capital of the UK is London.'] - from the record"],
    "effect_once.py": ["the shop crashed with 9", "nobody knows whether it was paid", "order A1 is paid"],
    "follow.py": ["  0  session", "counted to 3", "after counting@6"],
}


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "error", "TMPDIR": str(folder)}


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for line in SAYS[name]:
        assert line in run.stdout
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SAYS, "demo.py"}


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_holds_what_it_claims(tmp_path: Path) -> None:
    run = demo(tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "of 4 model calls 2 were served from the record and 2 billed" in run.stdout
    assert "of its 4 model calls 3 came from the shared history and 1 was billed" in run.stdout
    assert '-> "Answer in one word."' in run.stdout
    assert "✗" not in run.stdout
    assert "\x1b" not in run.stdout, "no colour in a pipe"
    assert not list(tmp_path.iterdir()), "it left something behind"
    assert demo(tmp_path).stdout == run.stdout, "it says the same each time"


def test_the_demo_is_in_colour_on_a_terminal() -> None:
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    with tempfile.TemporaryDirectory() as folder, os.fdopen(master, "rb", 0) as terminal:
        variables = {name: value for name, value in environment(Path(folder)).items() if name != "NO_COLOR"}
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
