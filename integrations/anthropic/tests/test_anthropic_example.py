"""The example runs and says what it promises."""

from __future__ import annotations

from pathlib import Path

from sdk_kit import ran

EXAMPLE = Path(__file__).parents[1] / "examples" / "thinking_and_tools.py"


def test_the_example(tmp_path: Path) -> None:
    said = ran(EXAMPLE, tmp_path)
    assert said.count("the tool runs") == 1
    assert "Mexico City" in said
    assert "replayed offline; a thought of 376 characters, signed: True" in said
    assert not list(tmp_path.iterdir()), "it left something behind"
