"""Killed at any moment, a graph goes on from what was written: nothing is lost, and with
durability="sync" only the step in flight is repeated."""

from __future__ import annotations

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
from langgraph_worker import STEPS, worked

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))
KILLS = 12 if ALL else 2
CASES = [
    ("graph", "sync", "sync"),
    ("workflow", "async", "async"),
    *([("graph", "async", "async"), ("workflow", "sync", "sync")] if ALL else []),
]


def effects(folder: Path) -> list[int]:
    file = folder / "effects"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize(("kind", "way", "durability"), CASES)
def test_killed_at_random_moments(kind: str, way: str, durability: str, tmp_path: Path) -> None:
    chance = random.Random(f"{kind} {way} {durability}")
    command = [sys.executable, langgraph_worker.__file__, str(tmp_path), kind, way, durability]
    for _ in range(KILLS):
        goal = min(STEPS - 2, len(set(effects(tmp_path))) + chance.randint(1, STEPS // KILLS))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while len(set(effects(tmp_path))) < goal and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.004)
            process.send_signal(signal.SIGKILL)
    assert worked(tmp_path, kind, way, durability) == list(range(STEPS))
    done = Counter(effects(tmp_path))
    assert sorted(done) == list(range(STEPS))
    if durability == "sync":
        assert sum(done.values()) - STEPS <= KILLS
