"""Lanes with random latencies, crashed again and again: nothing is done twice, nothing taken for a divergence."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lanes_world
import pytest
from failing import FailingBackend
from hostile import HostileBackend
from lanes_world import LANES, MODES, STEPS, World

from agentstream import Unavailable
from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))
KILLED_SEEDS = 200 if ALL else 10
CRASHED_SEEDS = 200
LIVES = 60
"""More than any of these runs needs."""


def modes(seeds: int) -> Iterator[tuple[str, int]]:
    usable = [mode for mode in MODES if mode != "taskgroup" or sys.version_info >= (3, 11)]
    for seed in range(seeds):
        yield usable[seed % len(usable)], seed


def check(world: World, got_before: set[tuple[int, int]]) -> None:
    again = got_before & set(world.did)
    assert not again, f"done again: {again}"


@pytest.mark.parametrize("block", range(10))
def test_crashed_after_each_append(block: int) -> None:
    for mode, seed in modes(CRASHED_SEEDS):
        if seed % 10 == block:
            crash_to_the_end(mode, seed)


def crash_to_the_end(mode: str, seed: int) -> None:
    chance = random.Random(seed)
    store: Backend = HostileBackend() if seed % 3 == 0 else EmbeddedBackend(None)
    got: set[tuple[int, int]] = set()
    for _ in range(LIVES):
        world = World(mode, seed)
        try:
            result = world.run(FailingBackend(store, after=chance.randint(1, 4)))
        except Unavailable:
            check(world, got)
            got |= set(world.got)
            continue
        assert result == world.expected()
        check(world, got)
        break
    else:
        raise AssertionError("the run never came to its end")
    assert World(mode, seed).run(store) == world.expected()  # a new run, for the finished one is finished
    report = World(mode, seed).replay(store)
    assert report.identical, report
    assert report.steps == LANES * STEPS
    changed = World(mode, seed)
    changed.changed = (chance.randrange(LANES), chance.randrange(STEPS))
    report = changed.replay(store)
    assert report.divergence is not None
    assert report.divergence.kind == "different_args"
    assert report.divergence.actual["input"]["asked"] == changed.asked(*changed.changed)
    assert report.divergence.recorded["name"] == "work"
    if changed.changed[1]:  # what a lane begins with is all that tells which lane it is
        assert report.divergence.path == "input.asked.changed"
    assert changed.did == []
    store.close()


@pytest.mark.parametrize(("mode", "seed"), list(modes(KILLED_SEEDS)))
def test_killed_after_each_returned_step(mode: str, seed: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    deaths = 0
    command = [sys.executable, lanes_world.__file__, mode, str(seed), str(tmp_path / "store"), str(log), "1"]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "AGENTSTREAM_URL": ""}
    for _ in range(LIVES):
        got = {line[4:] for line in log.read_text().splitlines() if line.startswith("got")}
        lines = len(log.read_text().splitlines())
        life = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        did = {line[4:] for line in log.read_text().splitlines()[lines:] if line.startswith("did")}
        assert not got & did, f"done again: {got & did}"
        if life.returncode == 0:
            break
        assert life.returncode == -signal.SIGKILL, life.stderr
        deaths += 1
    else:
        raise AssertionError("the run never came to its end")
    assert deaths >= LANES * STEPS / LANES
    assert World(mode, seed).replay(tmp_path / "store").identical
