"""Every example runs, says what it promises, and ends well; so does the README's."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1]

SAYS = {
    "chat_with_tools.py": ["It is on its way.", "You are welcome.", "assistant: ['lookup_order']", "A1 is on its way"],
    "approval.py": ["waits: Refund 30 euros?", "paid 30 euros"],
    "followed_live.py": [
        "node supervisor\nnode research_team\nnode research\n",
        "says {'at work': 'research'}\n",
        "text Three sources say so.\n",
        "says {'at work': 'writing'}\n",
        "text It is so, they say.\n",
    ],
    "time_travel.py": [
        "['once', 'upon', 'a', 'time']",
        "['once', 'upon', 'on', 'a', 'time']",
        "['once', 'upon', 'a', 'time']",
    ],
}


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(FOLDER / "examples" / name), run_name="__main__")  # starting Python takes longer than all of it
    said = capfd.readouterr().out
    for line in SAYS[name]:
        assert line in said
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_every_example_is_tested() -> None:
    assert {path.name for path in (FOLDER / "examples").glob("*.py")} == set(SAYS)


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain.agents import create_agent
    from langchain_core.language_models import FakeListChatModel
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, StateGraph
    from langgraph_kit import Chat

    monkeypatch.chdir(tmp_path)
    builder = StateGraph(Chat)
    builder.add_node("answer", lambda state: {"messages": [("ai", "hello")]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    code = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL)
    assert code
    names: dict[str, object] = {"builder": builder, "old_saver": InMemorySaver(), "create_agent": create_agent}
    names |= {"model": FakeListChatModel(responses=["hello"]), "tools": []}
    for block in code:
        exec(block, names)
    assert (tmp_path / ".agentstream").is_dir()
    names["client"].close()  # type: ignore[attr-defined]
