"""Killed at any place, no finished call of the model or of a tool is made again; and what a fork and a follower see."""

from __future__ import annotations

import json
import signal
from multiprocessing import Pipe
from pathlib import Path

import pytest
from anthropic_kit import PARALLEL, PARALLEL_ANSWER, address, serving, streamed, sync_client
from anthropic_worker import asker, child, tool_of, worked
from sdk_kit import pass_by
from support.provider import Behaviour

from agentstream import Client

PEOPLE = ["Alice", "Bob", "Charlie", "Daisy"]
FIRST = streamed(PARALLEL)
PEOPLE_IDS = [block["id"] for block in json.loads(PARALLEL.body)["content"] if block["type"] == "tool_use"]
EXCHANGES = {"whole": [PARALLEL, PARALLEL_ANSWER], "streamed": [FIRST, streamed(PARALLEL_ANSWER)]}
PLACES = ["model:1", "in:Alice", "in:Daisy", "after:Daisy", "model:2"]
MATRIX = [("whole", place) for place in PLACES] + [("streamed", place) for place in ("event:4", *PLACES)]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(("mode", "place"), MATRIX)
def test_a_killed_agent_repeats_only_the_call_it_was_in(kind: str, mode: str, place: str, tmp_path: Path) -> None:
    with serving(EXCHANGES[mode], piece=300) as provider:
        killed = child(tmp_path, address(provider), kind, mode, place)
        killed.join(60)
        assert killed.exitcode == -signal.SIGKILL
        answer = worked(str(tmp_path), address(provider), kind, mode)
        assert "Daisy is the youngest" in answer
        assert len(provider.billed) == (3 if place.startswith("event") else 2)
        again = [place.removeprefix("in:")] if place.startswith("in:") else []
        assert sorted((tmp_path / "effects.txt").read_text().split()) == sorted([*PEOPLE, *again])

        provider.close()
        report = worked(str(tmp_path), address(provider), kind, mode, replayed=True)
        assert report.identical, report
        assert report.result == answer
        assert len((tmp_path / "effects.txt").read_text().split()) == len(PEOPLE + again)


def test_a_fork_after_a_tools_result_goes_on_from_there(tmp_path: Path) -> None:
    """The calls before the cut are shared: neither paid again nor done again."""
    with serving(EXCHANGES["streamed"]) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:
        effects = tmp_path / "effects.txt"
        asks = asker(anthropic, tool_of(effects, pass_by), pass_by, streamed=True)
        session = client.session("s")
        answer = session.run(asks)
        tools = [found for found in session.state().steps if found.kind != "model"]
        assert [found.name for found in tools] == ["retrieve_entity_info"] * 4
        cut = tools[1].outcome
        assert cut is not None
        branch = session.fork("b", at=cut)
        assert branch.run(asks) == answer
        assert len(provider.billed) == 3
        assert effects.read_text().split() == [*PEOPLE, "Charlie", "Daisy"]
        provider.close()
        assert branch.replay(asks).identical
        assert session.replay(asks).identical


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_deltas_arrive_live_at_the_caller_and_at_a_follower_in_another_process(kind: str, tmp_path: Path) -> None:
    """While the provider says no more: what it said is at both already."""
    last = PEOPLE_IDS[-1]
    shown = FIRST.body[: FIRST.body.index(last)].count("\n\n") - 1
    with serving(EXCHANGES["streamed"], piece=300) as provider, Client(tmp_path) as client:
        provider.next.append(Behaviour(stall=FIRST.body.index(last)))
        places, told = Pipe(duplex=False)
        process = child(tmp_path, address(provider), kind, "streamed", told=told)
        assert provider.stalled.wait(60)
        passed = [places.recv() for _ in range(shown + 1)]
        deltas = (event.value for event in client.session("s").follow() if event.type == "delta")
        follower = next(delta for delta in deltas if delta["target"] == PEOPLE_IDS[-2])
        unfinished = client.session("s").state().steps
        provider.release.set()
        process.join(60)
        assert process.exitcode == 0
    assert passed == [f"event:{number}" for number in range(shown + 1)]
    assert "Charlie" in follower["text"]
    assert [found.outcome for found in unfinished] == [None]
