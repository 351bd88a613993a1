"""The example runs and says what it promises."""

from __future__ import annotations

from pathlib import Path

from sdk_kit import ran

EXAMPLE = Path(__file__).parents[1] / "examples" / "crashed_and_resumed.py"


def test_the_example(tmp_path: Path) -> None:
    said = ran(EXAMPLE, tmp_path)
    assert said.count("the tool looks up PotatoLand") == 1
    assert "killed (exit 9) after 1 call of the model" in said
    assert said.count("The capital of PotatoLand is Potato City.") == 2
    assert "resumed: 2 calls of the model in all" in said
    assert "run again: still 2" in said
    assert not list(tmp_path.iterdir()), "it left something behind"
