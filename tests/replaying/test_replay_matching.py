"""Which recorded step a changed call is given: strictly, in order, by identity, and when a replay keeps going."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents_kit import Way
from replaying_kit import Support

from agentstream import AsyncClient, Client, NotFound, step


def kinds(report: Any) -> list[tuple[str, int]]:
    return [(found.kind, found.step_index) for found in report.divergences]


def test_in_order_another_input_is_served_and_said(backend: Any, way: Way, support: Support) -> None:
    support.system = "be kind"
    assert way.replay(backend, support.agent).divergence.kind == "different_args"
    report = way.replay(backend, support.agent, match="ordered")
    assert (report.identical, report.steps, report.result) == (True, 4, "m said 4")
    assert [(drift.step_index, drift.path) for drift in report.drifts] == [
        (0, "input.messages[0].content"),
        (2, "input.messages[0].content"),
    ]
    assert report.drifts[0].diff == [
        {"op": "replace", "path": "/input/messages/0/content", "value": "be kind", "was": "be brief"}
    ]
    assert "test_replay_matching" in (report.drifts[0].code or "agents_kit") or "kit" in report.drifts[0].code
    assert support.made == []
    support.names = ["refund"]  # another call is still another call
    found = way.replay(backend, support.agent, match="ordered").divergence
    assert (found.kind, found.step_index) == ("different_call", 1)


def test_by_identity_order_counts_for_nothing(backend: Any, way: Way) -> None:
    asked = ["a", "b", "a"]

    @step
    @way.of
    def look(name: str) -> str:
        return f"{name}{len(made)}"

    made: list[str] = []

    def looks() -> Any:
        found: list[str] = []
        for name in asked:
            found.append((yield lambda name=name: look(name)))
            made.append(name)
        return sorted(found)

    agent = way.agent(looks)
    recorded = way.run(backend, agent)
    assert recorded == ["a0", "a2", "b1"]
    made.clear()
    asked[:] = ["b", "a", "a"]
    assert way.replay(backend, agent).divergence.kind == "different_args"
    report = way.replay(backend, agent, match="identity")
    assert (report.identical, report.steps, report.result) == (True, 3, recorded)
    asked[:] = ["b", "a", "c"]
    found = way.replay(backend, agent, match="identity").divergence
    assert (found.kind, found.step_index, found.path) == ("different_args", 2, "input.name")
    asked[:] = ["b", "a"]
    found = way.replay(backend, agent, match="identity").divergence
    assert (found.kind, found.step_index) == ("missing_call", 2)
    asked[:] = ["b", "a", "a", "a"]
    assert way.replay(backend, agent, match="identity").divergence.kind == "extra_call"


def test_lanes_by_identity_and_in_order(backend: Any) -> None:
    names = ["a", "b", "c"]

    @step
    async def look(name: str) -> str:
        return name.upper()

    async def looks() -> list[str]:
        return list(await asyncio.gather(*(look(name) for name in names)))

    async def main() -> None:
        session = AsyncClient(backend).session("s")
        await session.run(looks)
        names[:] = ["c", "a", "b"]
        report = await session.replay(looks, match="identity")
        assert (report.steps, report.result) == (3, ["C", "A", "B"])
        names[:] = ["a", "x", "c"]
        report = await session.replay(looks, match="ordered")
        assert (report.identical, report.steps, len(report.drifts)) == (True, 3, 1)

    asyncio.run(main())


CHANGES: dict[str, tuple[dict[str, Any], list[tuple[str, int]]]] = {
    "nothing": ({}, []),
    "an argument": ({"system": "be kind"}, [("different_args", 0), ("different_args", 2)]),
    "a call less": ({"names": ["refund"]}, [("missing_call", 1)]),
    "the last call less": ({"names": ["lookup"]}, [("missing_call", 3)]),
    "a call more": ({"more": ["A2"]}, [("extra_call", 4)]),
    "the end": ({"end": "bye"}, [("different_output", 4)]),
    "an error": ({"end": ValueError("no")}, [("raised", 4)]),
    "two things": (
        {"system": "x", "end": "bye"},
        [("different_args", 0), ("different_args", 2), ("different_output", 4)],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_keeping_going_tells_every_difference(backend: Any, way: Way, support: Support, change: str) -> None:
    changed, expected = CHANGES[change]
    for name, value in changed.items():
        setattr(support, name, value)
    report = way.replay(backend, support.agent, keep_going=True)
    assert kinds(report) == expected
    assert report.identical == (not expected)
    if expected:
        assert report.divergence == report.divergences[0]
        assert str(report).count("recorded ") >= len(expected)
    assert support.made == []


def test_what_moved_is_told_once(backend: Any, way: Way) -> None:
    names = ["a", "b", "c", "d"]

    @step
    @way.of
    def look(name: str) -> str:
        return name

    def looks() -> Any:
        for name in names:
            yield lambda name=name: look(name)

    agent = way.agent(looks)
    way.run(backend, agent)
    names[:] = ["b", "c", "d", "a"]
    report = way.replay(backend, agent, keep_going=True)
    assert kinds(report) == [("reordered", 0)]
    assert report.divergence.diff == []


def test_options_that_mean_nothing(backend: Any, way: Way, support: Support) -> None:
    meaningless: list[dict[str, Any]] = [
        {"match": "fuzzy"},
        {"repeat": 0},
        {"model": "m2"},
        {"mock": {"lookup": 1}},
        {"live_from": 0, "until": 2},
        {"live_from": 0, "match": "ordered"},
        {"live_from": 9},
        {"live_from": -1},
        {"break_": "tool:refund?args."},
        {"break_": ""},
    ]
    for wrong in meaningless:
        with pytest.raises(ValueError, match="="):
            way.replay(backend, support.agent, **wrong)
    with pytest.raises(TypeError, match="unknown"):
        way.replay(backend, support.agent, unknown=1)
    with pytest.raises(NotFound):
        Client(backend).session("s-live-1").state()
