"""Killed at any point, no finished call is paid again."""

from __future__ import annotations

import signal
from multiprocessing import Pipe
from pathlib import Path

import pytest
from openai_kit import CHAT_STREAM, RESPONSE, RESPONSE_STREAM_ANSWER
from openai_worker import child, worked
from support.provider import Behaviour, Provider

from agentstream import Client

EXCHANGES = [RESPONSE_STREAM_ANSWER, RESPONSE, CHAT_STREAM]
EVENTS = RESPONSE_STREAM_ANSWER.body.count("\n\n")
CHUNKS = CHAT_STREAM.body.count("\n\n") - 1  # the end marker is no chunk
AFTER_STREAM, IN_TOOL, AFTER_TOOL, AFTER_CALL = EVENTS, EVENTS + 1, EVENTS + 2, EVENTS + 3
IN_LAST_TOOL, END = AFTER_CALL + CHUNKS + 1, AFTER_CALL + CHUNKS + 2

BILLED = {
    1: 4,  # in the first stream: that call is paid again
    EVENTS - 1: 4,
    AFTER_STREAM: 3,  # at the event with the end marker: written before it was handed on
    IN_TOOL: 3,
    AFTER_TOOL: 3,
    AFTER_CALL: 3,
    AFTER_CALL + 1: 4,
    IN_LAST_TOOL: 3,
    END: 3,
}
AGAIN = {IN_TOOL: ["one"], IN_LAST_TOOL: ["two"]}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("point", BILLED)
def test_a_killed_agent_pays_only_for_the_call_it_was_in(kind: str, point: int, tmp_path: Path) -> None:
    with Provider(EXCHANGES, piece=300) as provider:
        killed = child(tmp_path, provider.url, kind, point)
        killed.join(60)
        assert killed.exitcode == -signal.SIGKILL
        done = worked(kind, str(tmp_path), provider.url)
        assert len(done) == EVENTS + CHUNKS + 3
        assert len(provider.billed) == BILLED[point]
        assert done[EVENTS] == "ONE"
        assert done[-1] == "TWO"
        effects = (tmp_path / "effects.txt").read_text().split()
        assert sorted(effects) == sorted(["one", "two", *AGAIN.get(point, [])])

        provider.close()
        report = worked(kind, str(tmp_path), provider.url, replayed=True)
        assert report.identical, report
        assert report.result == done
        assert (tmp_path / "effects.txt").read_text().split() == effects


def test_a_kill_between_attempts_goes_on_with_the_next(tmp_path: Path) -> None:
    """The last attempt failed and nobody went on from it, so the step is tried again, and is still one step."""

    with Provider(EXCHANGES) as provider:
        provider.next.append(Behaviour(status=500))
        with pytest.raises(Exception, match="asked to fail"):
            worked("sync", str(tmp_path), provider.url)
        worked("sync", str(tmp_path), provider.url)
        assert len(provider.billed) == 3
        assert len(provider.asked) == 4


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_deltas_arrive_live_at_the_caller_and_at_a_follower_in_another_process(kind: str, tmp_path: Path) -> None:
    """While the provider says no more: what it said is at both already."""
    stall = RESPONSE_STREAM_ANSWER.place_after(" capital")
    shown = RESPONSE_STREAM_ANSWER.body.encode()[:stall].count(b"\n\n")
    with Provider(EXCHANGES, piece=300) as provider, Client(tmp_path) as client:
        provider.next.append(Behaviour(stall=stall))
        places, told = Pipe(duplex=False)
        process = child(tmp_path, provider.url, kind, told=told)
        assert provider.stalled.wait(60)
        passed = [places.recv() for _ in range(shown)]
        heard = ""
        for event in client.session("s").follow():
            heard += event.value["text"] if event.type == "delta" else ""
            if heard == "The capital":
                break
        unfinished = client.session("s").state().steps
        provider.release.set()
        process.join(60)
        assert process.exitcode == 0
    assert passed == [str(number) for number in range(1, shown + 1)]
    assert [found.outcome for found in unfinished] == [None]
