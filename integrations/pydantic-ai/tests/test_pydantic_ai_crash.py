"""Killed at any place, no finished call of the model or of a tool is made again; replay makes none at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from pydantic_ai_kit import PEOPLE
from pydantic_ai_worker import child, lines, worked

KINDS = ["run", "events", "stream", "sync", "run engine", "events engine", "stream engine", "sync engine"]
PLACES = ["model:1", "in:Alice", "in:Daisy", "after:Daisy", "model:2"]
SOME = [
    *(("run", place) for place in PLACES),
    *((kind, "in:Daisy") for kind in ("events", "stream", "sync", "run parallel", "events parallel")),
    ("events", "event:4"),
    ("events", "end:4"),  # the first answer's last: who has seen it may take the answer for durable
    *(("run engine", place) for place in ("model:1", "in:Daisy")),
    ("stream engine", "in:Daisy"),
    ("run engine parallel", "in:Daisy"),
]
MATRIX = list(dict.fromkeys(SOME + [(kind, place) for kind in KINDS for place in PLACES]))


@pytest.mark.parametrize(("kind", "place"), MATRIX if os.environ.get("AGENTSTREAM_TEST_ALL") else SOME)
def test_a_killed_agent_repeats_only_the_call_it_was_in(kind: str, place: str, tmp_path: Path) -> None:
    killed = child(tmp_path, kind, "function", place)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    answer = worked(str(tmp_path), kind, "function")
    assert answer.strip() == "Daisy is the youngest"
    again = ["model:1"] if place.startswith("event") else []
    assert sorted(lines(tmp_path / "billed.txt")) == sorted(["model:1", "model:2", *again])
    again = [place.removeprefix("in:")] if place.startswith("in:") else []
    assert sorted(lines(tmp_path / "effects.txt")) == sorted([*PEOPLE, *again])

    report = worked(str(tmp_path), kind, "function", replayed=True)
    assert report.identical, report
    assert report.result == answer
    assert len(lines(tmp_path / "effects.txt")) == len(PEOPLE + again)
