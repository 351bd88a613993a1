"""What a connection may cost: slow, large and endless requests, over real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from serving_kit import HANGING, serving

from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create
from agentstream.server import _running as running
from agentstream.server.application import Application
from agentstream.server.settings import Settings

OCTETS = {"content-type": "application/octet-stream"}


@contextmanager
def listening(**settings: Any) -> Iterator[tuple[str, int]]:
    """The app behind uvicorn, on a thread of this process."""
    import uvicorn

    backend = EmbeddedBackend(None)
    application = Application(backend, Settings(**settings))
    place = running.bind("127.0.0.1", 0)
    ready = threading.Event()
    config = uvicorn.Config(application, http=running.Connection, ws="none", lifespan="off", log_config=None)
    server = running.Server(config, application, ready.set)
    # not `server.run`: uvicorn's older ones would make uvloop the event loop of every later test
    thread = threading.Thread(target=lambda: uvloop.run(server.serve(sockets=[place])))
    address = place.getsockname()
    thread.start()
    try:
        assert ready.wait(HANGING)
        yield address
    finally:
        server.should_exit = True
        thread.join(HANGING)
        backend.close()


def sent(address: tuple[str, int], *parts: bytes) -> bytes:
    """What a connection is answered until it is closed, having sent so much."""
    with socket.create_connection(address, timeout=HANGING) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # it was told before it had sent all
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found


START = b"PUT /v1/stream/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n"


class TestHeads:
    def test_one_that_never_ends_is_cut_off(self) -> None:
        with listening() as address:
            for flood in (b"x-a: " + b"a" * 200_000, b"".join(b"x-%d: aaaa\r\n" % number for number in range(20_000))):
                pieces = [flood[begin : begin + 5000] for begin in range(0, len(flood), 5000)]
                answer = sent(address, START, *pieces)
                assert answer.startswith(b"HTTP/1.1 431 ") or answer == b""  # or reset while it was still sending
            assert b"head_too_large" in sent(address, START + b"x-a: " + b"a" * 70_000 + b"\r\n\r\n")
            assert b"head_too_large" in sent(
                address, b"GET /v1/stream/" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n"
            )

    def test_one_that_does_not_come_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "HEAD_SECONDS", 0.05)
        with listening() as address:
            for begun in (b"", b"G", START):
                assert b"head_too_slow" in sent(address, begun)

    def test_what_is_no_http_is_told_so(self) -> None:
        with listening() as address:
            for nonsense in (b"\x16\x03\x01\x00\xee\x01", b"hello\r\n\r\n", START + b"content-length: x\r\n\r\n"):
                assert b"invalid_request" in sent(address, nonsense)

    def test_a_body_behind_one_of_the_right_size_is_no_part_of_it(self) -> None:
        with listening() as address:
            head = START + b"content-length: 1000000\r\nconnection: close\r\n\r\n"
            assert sent(address, head + b"x" * 1_000_000).startswith(b"HTTP/1.1 201 ")


class TestBodies:
    def test_one_that_does_not_come_is_not_waited_for(self) -> None:
        with listening(body_patience=0.05) as address:
            for head in (b"content-length: 5\r\n\r\nab", b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n"):
                answer = sent(address, START + head)
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert b"body_too_slow" in answer

    def test_one_that_is_too_large_is_not_read(self) -> None:
        with listening(largest_body=1000) as address:
            answer = sent(address, START + b"content-length: 100000000000\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 413 ")
            endless = [b"3e8\r\n" + b"x" * 1000 + b"\r\n"] * 50
            assert sent(address, START + b"transfer-encoding: chunked\r\n\r\n", *endless).startswith(b"HTTP/1.1 413 ")


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, check=True).stdout) * 1024


def test_a_large_stream_makes_no_large_process(tmp_path: Path) -> None:
    """1 GB with AGENTSTREAM_TEST_ALL, else 128 MB: read by pages, and live by a reader that is slow to take it."""
    blocks = 128 if os.environ.get("AGENTSTREAM_TEST_ALL") else 16
    block = os.urandom(8 * 1024 * 1024)
    backend = EmbeddedBackend(tmp_path)
    backend.execute(Create("a", content_type="application/octet-stream"))
    for _ in range(blocks):
        backend.execute(Append("a", (block,), "application/octet-stream"))
    backend.close()
    with serving(tmp_path) as server, httpx.Client(timeout=HANGING) as client:
        client.head(f"{server.url}/a")
        before = resident(server.process.pid)
        with client.stream("GET", f"{server.url}/a?offset=-1&live=sse") as slow:
            taken = slow.iter_raw()
            next(taken)  # and no more: what it does not take must not be read for it
            offset, size = "-1", 0
            while True:
                page = client.get(f"{server.url}/a?offset={offset}")
                assert len(page.content) <= 2 * 1024 * 1024
                offset, size = page.headers["stream-next-offset"], size + len(page.content)
                if "stream-up-to-date" in page.headers:
                    break
        assert size == blocks * len(block)
        assert resident(server.process.pid) - before < 64 * 1024 * 1024
