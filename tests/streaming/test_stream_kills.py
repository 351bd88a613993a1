"""A process that streams is killed between two items; another one goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentstream import Client

PROGRAM = """
import sys
from test_stream_kills_agent import make
from agentstream import Client

for item in Client(sys.argv[1]).session("s").stream(make(sys.argv[2]), 6):
    print(item, flush=True)
    sys.stdin.readline()
"""


def test_killed_between_items(tmp_path: Path) -> None:
    store, done = tmp_path / "store", tmp_path / "done"
    (tmp_path / "test_stream_kills_agent.py").write_text(AGENT)
    for taken in (1, 3, 4):
        arguments = [sys.executable, "-c", PROGRAM, str(store), str(done)]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            for number in range(taken):
                assert process.stdout.readline() == f"{number * 10}\n"
                if number < taken - 1:
                    process.stdin.write("\n")
                    process.stdin.flush()
            process.send_signal(signal.SIGKILL)
    with Client(store) as client:
        session = client.session("s")
        assert list(session.stream(make(str(done)), 6)) == [0, 10, 20, 30, 40, 50]
        assert done.read_text().split() == ["0", "1", "2", "3", "4", "5"]
        assert session.output().text == "".join(f"before {number}, did {number}; " for number in range(6))
        assert session.status() == "finished"


AGENT = """
from agentstream import agent, delta, step


def make(done):
    @step
    def work(number):
        delta(f"did {number}; ")
        with open(done, "a") as file:
            file.write(f"{number}\\n")
        return number * 10

    @agent
    def counting(count):
        for number in range(count):
            delta(f"before {number}, ")
            yield work(number)

    return counting
"""

_names: dict[str, Any] = {}
exec(AGENT, _names)
make: Callable[[str], Any] = _names["make"]
