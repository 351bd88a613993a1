"""The random programs of `test_programs_lives`, in processes that are killed at random appends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cli_kit import environment
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lives_driver import World
from lives_worker import NOT_YET
from lives_world import Life, Program

from agentstream.backends.embedded import EmbeddedBackend

from .test_programs_lives import NOISE, TURNS, bounded, programs, told_apart

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))
TESTS = Path(__file__).parents[1]

KILLS = st.lists(st.integers(0, 15), min_size=1, max_size=3)


class KilledWorld(World):
    """Its lives are processes, killed instead of a backend that refuses."""

    def __init__(self, folder: Path, *args: Any, **kwargs: Any) -> None:
        self._folder = folder
        super().__init__(EmbeddedBackend(folder / "store"), *args, **kwargs)

    def _live(self, crash: int | None) -> tuple[bool, Any]:
        before = self._done()
        marks = self._folder / "marks"
        marks.write_bytes(b"")
        done = self._process(crash, marks)
        life = Life(self.program, in_loop=self.in_loop, thrown=self.thrown)
        for line in marks.read_text().splitlines():
            what, session, label = json.loads(line)
            if what == "made":
                life.made[session, label] += 1
            else:
                life.returned.add((session, label))
        if done.stdout == "thrown":
            self.thrown.add(f"p.{len(self.program) - 1}")
        self._check_life(life, before)
        if done.returncode == 0:
            return True, json.loads(done.stdout)
        assert done.returncode in (NOT_YET, -signal.SIGKILL), done.stderr
        return False, None

    def _process(self, crash: int | None, marks: Path) -> subprocess.CompletedProcess[str]:
        told = {
            "program": self.program,
            "in_loop": self.in_loop,
            "session": self.session,
            "thrown": sorted(self.thrown),
            "ahead": self.clock.ahead,
            "after": crash,
        }
        return subprocess.run(
            [sys.executable, str(TESTS / "lives_worker.py"), str(self._folder / "store"), json.dumps(told), str(marks)],
            env=environment(PYTHONPATH=os.pathsep.join(map(str, (TESTS, TESTS.parent, TESTS.parent / "tools")))),
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.mark.parametrize("in_loop", [True, False])
@settings(bounded(20 if ALL else 1), phases=[Phase.generate])
@given(program=programs(spawned=True), kills=KILLS, turns=TURNS, noise=NOISE)
def test_killed_lives(program: Program, kills: list[int], turns: Any, noise: list[int], *, in_loop: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = program if in_loop else told_apart(program)
        world = KilledWorld(Path(folder), told, in_loop=in_loop, crashes=[*kills], turns=turns, noise=noise)
        try:
            world.live_through()
        finally:
            world.store.close()
