"""The example runs and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "thinking_and_tools.py"


def test_the_example(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the tool runs") == 1
    assert "Mexico City" in done.stdout
    assert "replayed offline; a thought of 376 characters, signed: True" in done.stdout
    assert not list(tmp_path.iterdir()), "it left something behind"
