"""Where a replay stops, and what is to be seen there."""

from __future__ import annotations

from typing import Any

import pytest
from agents_kit import Way
from replaying_kit import Support


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("tool", 1),
        ("model", 0),
        ("*:refund", 3),
        ("tool:refund", 3),
        ("tool:refund?args.amount > 100", 3),
        ("tool:refund?args.amount > 5000", None),
        ("model?len(args.messages) == 4 and args.messages[0].content == 'be brief'", 2),
        ("*?step == 2", 2),
        ("tool?result.order == 'A1'", 1),
        ("error", None),
        ("tool?args.nothing", None),
        ("tool?__import__('os')", None),
    ],
)
def test_breakpoints(backend: Any, way: Way, support: Support, text: str, number: int | None) -> None:
    report = way.replay(backend, support.agent, break_=text)
    assert (report.stopped.number if report.stopped else None) == number
    assert (report.result, report.returned) == ((None, False) if number is not None else ("m said 4", True))
    assert support.made == []
    if number is not None:
        seen = report.stopped
        assert report.steps == number
        assert seen.recorded.kind == seen.kind
        assert seen.state.index == seen.before.index
        assert len(seen.state.steps) == number
        assert "replaying_kit.py" in seen.code or "agents_kit.py" in seen.code
    elif "nothing" in text or "import" in text:
        assert "could not be asked" in report.notes[0]


def test_of_several_each_is_met_in_turn(backend: Any, way: Way, support: Support) -> None:
    seen: list[Any] = []

    def on_break(stopped: Any) -> Any:
        seen.append((stopped.number, stopped.name, stopped.input, stopped.frame is not None))
        return "stop" if stopped.name == "refund" else None

    report = way.replay(backend, support.agent, break_=["tool:lookup", "tool:refund"], on_break=on_break)
    assert seen == [(1, "lookup", {"order": "A1"}, True), (3, "refund", {"amount": 4999}, True)]
    assert (report.stopped.number, report.stopped.frame) == (3, None)


def test_failed_steps(backend: Any, way: Way) -> None:
    from agentstream import step

    @step
    @way.of
    def fails() -> None:
        raise ValueError("no")

    def tries() -> Any:
        try:
            yield lambda: fails()
        except ValueError:
            return "caught"

    agent = way.agent(tries)
    way.run(backend, agent)
    # an error counts once something was begun after it, or the run ended
    assert way.replay(backend, agent, break_="error").stopped.recorded.error["text"] == "no"
    assert way.replay(backend, agent, break_="error?error.name == 'KeyError'").stopped is None


def test_until_says_where(backend: Any, way: Way, support: Support) -> None:
    report = way.replay(backend, support.agent, until=2)
    assert (report.stopped.number, report.stopped.name) == (2, "ask")
    report = way.replay(backend, support.agent, until=report.stopped.before)
    assert report.stopped.number == 2
