"""What docs/workers.md shows is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agentstream import RunWaiting, Session

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    assert len(blocks) == 3

    with names["client"] as client:
        answered = client.session("reports/1").state().run
        assert answered.result == "Which topics? Tides and moons."
        session: Session = client.session("reports/2")
        with pytest.raises(RunWaiting) as caught:
            session.run(names["report"], ["tides", "moons"])
        (question,) = caught.value.questions
        assert question.prompt == "Print it? three papers on tides; three papers on moons"
        review = client.session("review/monday")
        review.answer(question, True)
        assert names["Worker"](client, names["report"]).run(once=True) == 1
        assert session.state().run.result == "printed"  # type: ignore[union-attr]
        family = [node.id for node in session.tree().walk()]
        assert family == ["reports/2", "reports/2/0", "reports/2/1", "review/monday"]
