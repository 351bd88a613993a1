"""The README's Python is run as it stands, against recorded exchanges on loopback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.provider import Provider, traffic

README = Path(__file__).parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def test_the_loop_runs_branches_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Provider(traffic("openai-responses-tool-call")) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.chdir(tmp_path)
        names: dict[str, object] = {"__name__": "readme"}
        for number, block in enumerate(blocks()):
            exec(compile(block, f"README.md, block {number}", "exec"), names)

        assert names["answer"] == "The capital of PotatoLand is Potato City."
        assert len(provider.billed) == 3, "two calls, and the one that the branch went on with"
        outputs = [item["output"] for item in provider.billed[2]["input"] if item.get("type") == "function_call_output"]
        assert outputs == ["Spudville"]
        assert names["report"].identical, names["report"]  # type: ignore[attr-defined]
        names["client"].close()  # type: ignore[attr-defined]
    assert "outcome" in capsys.readouterr().out


def test_there_is_something_to_run() -> None:
    assert len(blocks()) == 2
