"""Killed at any point, a run goes on without making again what was made: whole, streamed and from plain code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_agents_kit import ANSWER, POINTS, QUESTION, conversation, exchange, says
from openai_agents_worker import Workers, workers
from support.provider import Behaviour, Provider

from agentstream import Client

MODES = ["whole", "streamed", "sync"]
ALL = [(mode, point) for mode in MODES for point in POINTS]
SOME = [
    *[("whole", point) for point in ("model 1", "in lookup A", "model 2", "after refund A")],
    *[("streamed", point) for point in ("model 1", "in lookup A", "in refund A", "model 3")],
    *[("sync", point) for point in ("in lookup A", "model 2")],
]


@pytest.fixture(scope="module")
def children() -> Iterator[Workers]:
    with workers() as made:
        yield made


@pytest.mark.parametrize(("mode", "point"), ALL if os.environ.get("AGENTSTREAM_TEST_ALL") else SOME)
def test_a_killed_run_repeats_no_paid_call_and_no_finished_tool(
    mode: str, point: str, children: Workers, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Provider(conversation(stream=mode == "streamed")) as provider:
        case = {"mode": mode, "store": str(tmp_path / "store"), "url": provider.url, "log": str(log)}
        assert children.run(**case, point=point) == (-9, None)
        before = log.read_text().splitlines() if log.exists() else []
        assert children.run(**case) == (0, ANSWER)
        assert len(provider.billed) == 3
    effects = log.read_text().splitlines()
    assert all(effects.count(each) == 1 for each in ("looked up A", "looked up B", "refunded A"))
    again = effects[len(before) :]
    for finished in ("looked up A", "looked up B", "refunded A"):
        if finished in before:
            assert finished.replace("looked up", "lookup").replace("refunded", "refund") not in again


@pytest.mark.parametrize("mode", MODES)
def test_a_finished_run_is_made_of_its_record_with_the_provider_gone(
    mode: str, children: Workers, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with Provider(conversation(stream=mode == "streamed")) as provider:
        case = {"mode": mode, "store": str(tmp_path / "store"), "url": provider.url, "log": str(log)}
        assert children.run(**case) == (0, ANSWER)
    effects = log.read_text()
    assert children.run(**case) == (0, ANSWER)
    assert log.read_text() == effects


def test_tokens_come_live_to_the_caller_and_to_a_follower_in_another_process(children: Workers, tmp_path: Path) -> None:
    answer = exchange(QUESTION, 0, [says(ANSWER)], stream=True)
    log = tmp_path / "log"
    with Provider([answer], piece=64) as provider, Client(tmp_path / "store") as client:
        provider.next.append(Behaviour(stall=answer.place_after(" A")))
        session = client.session("s")
        session.append("custom", "so that there is something to follow")
        children.begin(mode="live", store=str(tmp_path / "store"), url=provider.url, log=str(log))
        seen = ""
        for event in session.follow():
            seen += event.value["text"] if event.type == "delta" else ""
            if seen == "Order A":  # the rest has not been sent
                break
        assert provider.stalled.is_set()
        assert log.read_text() == "Order A"
        provider.release.set()
        assert children.end() == (0, ANSWER)
        assert log.read_text() == ANSWER
