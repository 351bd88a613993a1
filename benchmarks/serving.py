"""Our server beside the Node reference server, under the same load: plain appends of 100 bytes over kept connections.

The load is the lightest that there is, one request after the other on each connection, so that
it takes as little as possible of the machine that it shares with the server.
"""

from __future__ import annotations

import asyncio
import http.client
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from harness import Numbers, Row, main, median, ms
from node_server import NodeServer
from our_server import OurServer

BODY = b'{"text":"' + b"a" * 89 + b'"}'
CONNECTIONS = 32
MANY = 64


class Appender(asyncio.Protocol):
    """Appends `count` times over one connection, each time when the last append was answered."""

    def __init__(self, request: bytes, count: int, done: asyncio.Future[list[float]]) -> None:
        self._request, self._left, self._done = request, count, done
        self._answer = b""
        self._delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._begun = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if b"\r\n\r\n" not in self._answer:
            return
        self._delays.append(time.perf_counter() - self._begun)
        if not self._answer.startswith(b"HTTP/1.1 204 "):
            self._end(RuntimeError(self._answer[:200]))
            return
        self._answer = b""
        self._left -= 1
        if self._left:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the server hung up"))

    def _end(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error) if error is not None else self._done.set_result(self._delays)
        self._transport.close()


async def loaded(root: str, streams: int, connections: int, count: int) -> tuple[float, float]:
    """Appends a second, and the median seconds of one."""
    url, loop = urlsplit(root), asyncio.get_running_loop()
    host, port = url.hostname or "", url.port or 80
    ends: list[asyncio.Future[list[float]]] = []
    begun = time.perf_counter()
    for number in range(connections):
        head = (
            f"POST {url.path}/{number % streams} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        )
        request = f"{head}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
        ends.append(loop.create_future())
        await loop.create_connection(lambda request=request, end=ends[-1]: Appender(request, count, end), host, port)
    delays = [delay for found in await asyncio.gather(*ends) for delay in found]
    return len(delays) / (time.perf_counter() - begun), median(delays)


def load(root: str, streams: int, connections: int, count: int) -> tuple[float, float]:
    url = urlsplit(root)
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    for number in range(streams):
        connection.request("PUT", f"{url.path}/{number}", headers={"content-type": "application/json"})
        connection.getresponse().read()
    connection.close()
    return asyncio.run(loaded(root, streams, connections, count))


def measure(folder: Path, quick: bool) -> dict[str, float]:
    servers = {
        "ours file": OurServer("file", folder),
        "node file": NodeServer(tempfile.mkdtemp(dir=folder)),
        "ours memory": OurServer("memory"),
        "node memory": NodeServer(),
    }
    found: dict[str, float] = {}
    try:
        for name, server in servers.items():
            load(server.place(), 4, 8, 25)  # warm
            times = 1 if quick else 5
            found[f"{name} one"], found[f"{name} one p50"] = load(server.place(), 1, 1, 100 * times)
            found[f"{name} all"], found[f"{name} all p50"] = load(server.place(), 1, CONNECTIONS, 25 * times)
            found[f"{name} many"], found[f"{name} many p50"] = load(server.place(), MANY, MANY, 50 * times)
    finally:
        for server in servers.values():
            server.close()
    return found


def rows(numbers: Numbers) -> list[Row]:
    def row(what: str, load: str, ours: str, theirs: str, least: float | None) -> Row:
        mine, beside = numbers[f"{ours} {load}"], numbers[f"{theirs} {load}"]
        kept = None if least is None else mine / beside >= least
        return Row(
            what,
            f"{mine:,.0f}/s, p50 {ms(numbers[f'{ours} {load} p50'])}",
            f"{theirs.replace('node', 'Node,')} {beside:,.0f}/s, p50 {ms(numbers[f'{theirs} {load} p50'])}",
            mine / beside,
            limit="" if least is None else f"≥ {least:g}×",
            kept=kept,
        )

    return [
        row(
            f"our server, durable appends to one stream, {CONNECTIONS} connections", "all", "ours file", "node file", 5
        ),
        row("… 1 connection", "one", "ours file", "node file", None),
        row(f"… to {MANY} streams, {MANY} connections", "many", "ours file", "node file", None),
        row(f"… to {MANY} streams, durable, beside Node in memory", "many", "ours file", "node memory", 1),
        row(f"… to {MANY} streams, both in memory", "many", "ours memory", "node memory", 1),
        row("… to one stream, both in memory", "all", "ours memory", "node memory", None),
    ]


if __name__ == "__main__":
    main(measure)
