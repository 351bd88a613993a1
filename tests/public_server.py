"""Durable Streams servers of others besides the reference one, built by tools/cargo.py; one of each a test process.

As with `node_server`, each `place()` is a root of its own on it, which no other test knows.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cargo

HANGING = 60.0

Command = Callable[[int, str], tuple[list[str], dict[str, str]]]
"""Arguments and environment that make a program listen at a port and keep its data in a folder."""


def _rust(port: int, data: str) -> tuple[list[str], dict[str, str]]:
    return ["--port", str(port), "--data-dir", data, "--long-poll-timeout-ms", "5000"], {}


def _rust_memory(port: int, data: str) -> tuple[list[str], dict[str, str]]:
    return [], {
        "DS_SERVER__BIND_ADDRESS": f"127.0.0.1:{port}",
        "DS_STORAGE__MODE": "memory",
        "DS_TRANSPORT__CONNECTION__LONG_POLL_TIMEOUT_SECS": "5",
    }


KINDS: dict[str, tuple[str, Command]] = {
    "rust": ("durable-streams", _rust),
    "rust-memory": ("durable-streams-server", _rust_memory),
}


class PublicServer:
    def __init__(self, kind: str) -> None:
        crate, command = KINDS[kind]
        self._data = tempfile.mkdtemp(prefix=f"agentstream-{kind}-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments, environment = command(port, self._data)
        with (Path(self._data) / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [cargo.server(crate), *arguments], env={**os.environ, **environment}, stdout=log, stderr=log
            )
        self.url = f"http://127.0.0.1:{port}/v1/stream"
        self._wait(port)

    def _wait(self, port: int) -> None:
        end = time.monotonic() + HANGING
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError((Path(self._data) / "log").read_text())

    def place(self) -> str:
        """A root of streams that nobody else uses."""
        return f"{self.url}/{secrets.token_hex(6)}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._data, ignore_errors=True)


@lru_cache
def public_server(kind: str) -> PublicServer:
    """The server of this kind that the tests of this process share."""
    server = PublicServer(kind)
    atexit.register(server.close)
    return server
