"""Our own server, started once a test process and kind; it ends with that process, however it does.

As with the reference server (`node_server`), each `place()` is a root of its own on it, which no other test knows.
"""

from __future__ import annotations

import atexit
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any


class OurServer:
    """`agentstream serve` in a process of its own, over memory or a folder."""

    def __init__(self, kind: str, place: Path | None = None) -> None:
        self._data = tempfile.mkdtemp(prefix="agentstream-served-", dir=place) if kind == "file" else None
        store = self._data or "memory:"
        command = [sys.executable, "-m", "agentstream.cli", "serve", "--store", store, "--port", "0"]
        self._process: subprocess.Popen[Any] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        found = re.search(r" at (http://\S+)$", line.strip())
        assert found is not None, line + self._process.stderr.read()
        self.url = found[1]
        # who reads nothing lets the other side wait at a full pipe
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def place(self) -> str:
        """A root of streams that nobody else uses."""
        return f"{self.url}/{secrets.token_hex(6)}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._data:
            shutil.rmtree(self._data, ignore_errors=True)


@lru_cache
def our_server(kind: str = "memory") -> OurServer:
    """The server that the tests of this process share; `kind` is "memory" or "file"."""
    server = OurServer(kind)
    atexit.register(server.close)
    return server
