"""The official Node reference server, started once a test process and kind; it ends with that process, however it does.

Each `place()` is a root of its own on it, which no other test knows.
"""

from __future__ import annotations

import atexit
import secrets
import shutil
import subprocess
import tempfile
from functools import lru_cache
from typing import Any

import node

PROGRAM = """
import { DurableStreamTestServer } from "@durable-streams/server"
const [dataDir, longPollTimeout] = process.argv.slice(1)
const server = new DurableStreamTestServer({
  port: 0, host: "127.0.0.1", dataDir: dataDir || undefined, longPollTimeout: Number(longPollTimeout), webhooks: true,
})
console.log(await server.start())
process.stdin.resume()
process.stdin.on("end", () => process.exit())
"""


class NodeServer:
    """One server of its own; `data` is the folder of a file store, else it keeps all in memory."""

    def __init__(self, data: str = "", long_poll: float = 20.0) -> None:
        self._data = data
        self._process: subprocess.Popen[Any] = subprocess.Popen(
            [node.node(), "--input-type=module", "--eval", PROGRAM, data, str(int(long_poll * 1000))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=node.packages(),
        )
        assert self._process.stdout is not None
        lines = (line.decode().strip() for line in self._process.stdout)  # the file store says more than the address
        self.url = next((line for line in lines if line.startswith("http://")), "")
        assert self.url, "the Node server did not start"

    def place(self) -> str:
        """A root of streams that nobody else uses."""
        return f"{self.url}/v1/stream/{secrets.token_hex(6)}"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        if self._data:
            shutil.rmtree(self._data, ignore_errors=True)


@lru_cache
def node_server(kind: str = "memory") -> NodeServer:
    """The server that the tests of this process share; `kind` is "memory" or "file"."""
    server = NodeServer(tempfile.mkdtemp(prefix="agentstream-node-") if kind == "file" else "")
    atexit.register(server.close)
    return server
