"""The examples of docs/streaming.md are run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "streaming.md"


def test_the_page_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {"__name__": "streaming"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"streaming.md, block {number}", "exec"), names)
    assert capsys.readouterr().out == "Rome: sunny\nOslo: snow\n"
