"""What these tests share: server processes on loopback, and a client that says every byte itself."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import mcp_server

VERSION = "2025-11-25"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def listening(port: int, alive: Callable[[], bool]) -> None:
    """Waits until a server is up."""
    limit = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert alive(), "the server ended"
        assert time.monotonic() < limit, "the server does not come up"
        time.sleep(0.02)


class Process:
    """A server in a process of its own, forked from one that has imported everything: that takes longer than a test."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        context = get_context("forkserver")
        context.set_forkserver_preload(["mcp.server.mcpserver", "agentstream_mcp", "agentstream.client", "uvicorn"])
        self._process = context.Process(target=mcp_server.serve, args=(str(folder), self.port))
        self._process.start()
        listening(self.port, self._process.is_alive)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def kill(self) -> None:
        self._process.kill()
        self._process.join(60)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


class Raw:
    """One MCP session, spoken by hand; `session` may be one that another client began."""

    def __init__(self, url: str, session: str | None = None) -> None:
        self.url, self.session = url, session
        self._http = httpx.Client(timeout=60)
        self._next = 0
        if session is None:
            client = {"name": "raw", "version": "1"}
            said = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client}
            with self.post("initialize", said) as events:
                list(events)
            ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            self._http.post(url, headers=self._headers(), json=ready)

    def close(self) -> None:
        self._http.close()

    def _headers(self, **more: str) -> dict[str, str]:
        known = {"mcp-session-id": self.session} if self.session else {}
        accepted = "application/json, text/event-stream"
        return {"accept": accepted, "mcp-protocol-version": VERSION, **known, **more}

    @contextmanager
    def post(self, method: str, params: Any) -> Iterator[Iterator[tuple[str, Any]]]:
        """The events that come for a request; leaving early hangs up."""
        self._next += 1
        body = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        with self._http.stream("POST", self.url, headers=self._headers(), json=body) as response:
            assert response.status_code == 200, response.read()
            self.session = response.headers.get("mcp-session-id", self.session)
            yield _events(response)

    def call(self, tool: str, progress: bool = True, **arguments: Any) -> Any:
        meta = {"_meta": {"progressToken": "p"}} if progress else {}
        return self.post("tools/call", {"name": tool, "arguments": arguments, **meta})

    @contextmanager
    def get(self, after: str | None, *, url: str | None = None) -> Iterator[tuple[int, Iterator[tuple[str, Any]]]]:
        """The status, and the events that come after one."""
        headers = self._headers(**({"last-event-id": after} if after is not None else {}))
        with self._http.stream("GET", url or self.url, headers=headers) as response:
            yield response.status_code, _events(response)

    def delete(self) -> int:
        return self._http.delete(self.url, headers=self._headers()).status_code


def _events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            event[name] = value.strip()
        elif event:
            if "id" in event:
                yield event["id"], json.loads(event["data"]) if event.get("data") else None
            event = {}


@asynccontextmanager
async def forwarding(to: list[Process]) -> AsyncIterator[str]:
    """An address that stays while servers come and go: what it is sent goes to the last of `to`."""

    tasks: set[Any] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", to[-1].port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def progress_in(events: list[tuple[str, Any]]) -> list[Any]:
    """What the events say, in short: how far a call is, and what came of it."""
    found: list[Any] = []
    for _, message in events:
        if message is None:
            continue
        if "error" in message:
            found.append(message["error"]["message"])
        elif message.get("method") == "notifications/progress":
            found.append(message["params"]["progress"])
        elif "result" in message:
            found.append(message["result"]["content"][0]["text"])
    return found


def gate(path: Path) -> Path:
    """What a tool waits at until it is opened."""
    os.mkfifo(path)
    return path


def effects(folder: Path) -> list[str]:
    file = folder / "effects"
    return file.read_text().splitlines() if file.exists() else []
