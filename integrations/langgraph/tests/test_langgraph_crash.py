"""Killed at any moment, a graph goes on from what was written: nothing is lost, no step that returned is repeated, and
with durability="sync" only the node in flight."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import langgraph_worker
import pytest
from langgraph_kit import IN_CONTEXT
from langgraph_worker import STEPS, worked

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))
KILLS = 12 if ALL else 2
CASES = [
    ("graph", "sync", "sync"),
    *([("graph", "async", "async"), ("workflow", "sync", "sync"), ("workflow", "async", "async")] if ALL else []),
]

"""What is worked through, how it is called, and its durability."""

STEPPING = (
    list(itertools.product(("steps", "published", "stepping workflow"), ("sync", "async"), ("sync", "async")))
    if ALL
    else [
        ("steps", "sync", "sync"),
        ("steps", "async", "async"),
        ("published", "sync", "async"),
        ("published", "async", "sync"),
        ("stepping workflow", "sync", "sync"),
        ("stepping workflow", "async", "async"),
    ]
)


def effects(folder: Path) -> list[int]:
    file = folder / "effects"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def killed(chance: random.Random, folder: Path, *how: str) -> None:
    """Works at it in processes that are killed at random moments."""
    command = [sys.executable, langgraph_worker.__file__, str(folder), *how]
    for _ in range(KILLS):
        goal = min(STEPS - 2, len(set(effects(folder))) + chance.randint(1, STEPS // KILLS))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while len(set(effects(folder))) < goal and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.004)
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("kind", "way", "durability"),
    [case for case in STEPPING if IN_CONTEXT or case[:2] != ("stepping workflow", "async")],
)
def test_no_step_that_returned_is_repeated(kind: str, way: str, durability: str, tmp_path: Path) -> None:
    """Killed in the middle of nodes, or of a workflow: what their steps did is in the record."""
    killed(random.Random(f"{kind} {way} {durability}"), tmp_path, kind, way, durability)
    assert worked(tmp_path, kind, way, durability) == list(range(STEPS))
    told = effects(tmp_path)
    assert {number for number in told if number >= 0} == set(range(STEPS))
    for number in range(STEPS):
        assert number not in told[told.index(-1 - number) :], "a step that had returned acted again"


@pytest.mark.parametrize(("kind", "way", "durability"), CASES)
def test_killed_at_random_moments(kind: str, way: str, durability: str, tmp_path: Path) -> None:
    chance = random.Random(f"{kind} {way} {durability}")
    killed(chance, tmp_path, kind, way, durability)
    assert worked(tmp_path, kind, way, durability) == list(range(STEPS))
    done = Counter(effects(tmp_path))
    assert sorted(done) == list(range(STEPS))
    if durability == "sync":
        assert sum(done.values()) - STEPS <= KILLS
