"""Killed at any point, no finished call is paid again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import openai_worker
import pytest
from openai_kit import CHAT_STREAM, RESPONSE, RESPONSE_STREAM_ANSWER
from openai_worker import Points, worked
from support.provider import Behaviour, Provider

EXCHANGES = [RESPONSE_STREAM_ANSWER, RESPONSE, CHAT_STREAM]
EVENTS = RESPONSE_STREAM_ANSWER.body.count("\n\n")
CHUNKS = CHAT_STREAM.body.count("\n\n") - 1  # the end marker is no chunk
AFTER_STREAM, AFTER_TOOL, AFTER_CALL = EVENTS, EVENTS + 1, EVENTS + 2
LAST_CHUNK, END = AFTER_CALL + CHUNKS, AFTER_CALL + CHUNKS + 1

BILLED = {
    1: 4,  # in the first stream: that call is paid again
    EVENTS - 1: 4,
    AFTER_STREAM: 3,  # at the event with the end marker: written before it was handed on
    AFTER_TOOL: 3,
    AFTER_CALL: 3,
    AFTER_CALL + 1: 4,
    END: 3,
}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("point", BILLED)
def test_a_killed_agent_pays_only_for_the_call_it_was_in(kind: str, point: int, tmp_path: Path) -> None:
    with Provider(EXCHANGES, piece=300) as provider:
        command = [sys.executable, openai_worker.__file__, str(tmp_path), provider.url, kind, str(point)]
        assert subprocess.run(command, check=False).returncode == 9
        points = Points()
        done = worked(kind, str(tmp_path), provider.url, points)
        assert points.passed == END
        assert len(provider.billed) == BILLED[point]
        assert done[EVENTS] == "ONE"
        assert done[-1] == "TWO"


def test_a_kill_between_attempts_goes_on_with_the_next(tmp_path: Path) -> None:
    """The last attempt failed and nobody went on from it, so the step is tried again, and is still one step."""

    with Provider(EXCHANGES) as provider:
        provider.next.append(Behaviour(status=500))
        with pytest.raises(Exception, match="asked to fail"):
            worked("sync", str(tmp_path), provider.url, Points())
        worked("sync", str(tmp_path), provider.url, Points())
        assert len(provider.billed) == 3
        assert len(provider.asked) == 4
