"""The example runs and says what it promises."""

from __future__ import annotations

from pathlib import Path

from sdk_kit import ran

EXAMPLE = Path(__file__).parents[1] / "examples" / "refund_with_approval.py"


def test_the_example(tmp_path: Path) -> None:
    said = ran(EXAMPLE, tmp_path)
    assert said.count("the tool looks up A1") == 1
    assert "waiting, and nothing runs: May refund be called?" in said
    assert said.count("the tool pays 35 EUR") == 1
    assert "live: I am sorry." in said
    assert "replayed offline: identical" in said
    assert not list(tmp_path.iterdir()), "it left something behind"
