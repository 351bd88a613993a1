"""The example runs and says what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "refund_with_approval.py"


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
    assert done.stdout.count("the tool looks up A1") == 1
    assert "waiting, and nothing runs: May refund be called?" in done.stdout
    assert done.stdout.count("the tool pays 35 EUR") == 1
    assert "live: I am sorry." in done.stdout
    assert "replayed offline: identical" in done.stdout
    assert not list(tmp_path.iterdir()), "it left something behind"
