"""A worker that is killed while a step that failed waits for its next attempt: the attempts go on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import attempts_world
import pytest

from agentstream import AsyncClient, Client


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_attempts_go_on(way: str, tmp_path: Path) -> None:
    store, log = str(tmp_path / "store"), tmp_path / "log"
    client = Client(store)
    session = client.session("s")
    session.append("custom", "so that it can be followed")
    for attempt in (1, 2):
        command = [sys.executable, attempts_world.__file__, way, store, str(log)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
            try:
                for _ in session.follow():
                    ended = [step for step in session.state().steps if step.outcome is not None]
                    pausing = any(step.name == "work" and step.attempt == attempt for step in ended)
                    if pausing and len(ended) == (1 if way == "sync" else 3):
                        break
            finally:
                worker.kill()
            assert worker.wait(30) == -signal.SIGKILL
    function = attempts_world.agent_of(way, log)
    running = AsyncClient(store).session("s").run(function) if way == "async" else None
    assert (asyncio.run(running) if running else session.run(function)) == "attempt 3 came off"
    attempts, keys = zip(*(line.split() for line in log.read_text().splitlines()), strict=True)
    assert attempts == ("1", "2", "3")
    assert len(set(keys)) == 1
    found = next(step for step in session.state().steps if step.name == "work")
    assert ["error" in each.outcome.value for each in found.attempts if each.outcome is not None] == [True, True, False]
    client.close()
