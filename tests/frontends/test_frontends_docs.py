"""The examples of docs/conversions.md and docs/frontends.md are run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("conversions", "['text', 'tool_use', 'tool_result']\n"),
        (
            "frontends",
            "['RUN_STARTED', 'TEXT_MESSAGE_START', 'TEXT_MESSAGE_CONTENT', 'TEXT_MESSAGE_END', 'RUN_FINISHED']\n",
        ),
    ],
)
def test_the_page_runs(page: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.DOTALL)
    exec(compile(block, f"{page}.md", "exec"), {"__name__": page})
    assert capsys.readouterr().out == printed
