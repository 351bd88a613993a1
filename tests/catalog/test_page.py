"""The Python of docs/keeping.md is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "keeping.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"keeping.md, block {number}", "exec"), names)
    client = names["client"]
    found = [summary.id for summary in client.sessions(sort="id")]  # type: ignore[attr-defined]
    client.close()  # type: ignore[attr-defined]
    old = names["old"]
    assert found == [
        "archive/42",
        "handed-on/42",
        "restored/support/42",
        "restored/support/42-b",
        "support/42",
        "support/42-b",
        old,
    ]
