"""Our server as a process of its own, and ways to ask it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANGING = 60
"""Seconds after which something has hung."""


class Served:
    """A running `agentstream serve`: `base` is http://host:port, `url` the streams below it."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.base = url.removesuffix("/v1/stream")
        self.said: list[str] = []
        # who reads nothing lets the other side wait at a full pipe
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANGING)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(HANGING)

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said += self.process.stderr


@contextmanager
def serving(store: str | Path, *options: str, port: int = 0) -> Iterator[Served]:
    """`agentstream serve` over a store, once it answers."""
    command = [sys.executable, "-m", "agentstream.cli", "serve", "--store", str(store), "--port", str(port), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r" at (http://\S+)$", line.strip())
        assert found is not None, line + process.stderr.read()
        served = Served(process, found[1])
        yield served
        assert not [line for line in served.said if "Traceback" in line], served.said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(HANGING)
        assert process.stderr is not None
        process.stderr.close()
