"""A receiver of webhooks on loopback."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANGING = 60


class Received:
    """One notification."""

    def __init__(self, body: bytes, signature: str) -> None:
        self.raw = body
        self.signature = signature
        self.body: dict[str, Any] = json.loads(body)


class Receiver:
    """`answer(number)` says how the n-th notification is answered: (status, body)."""

    def __init__(self, answer: Callable[[int], tuple[int, Any]]) -> None:
        self.received: queue.Queue[Received] = queue.Queue()
        self.count = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                number, receiver.count = receiver.count, receiver.count + 1
                receiver.received.put(Received(body, self.headers["webhook-signature"]))
                status, told = answer(number)
                data = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def next(self) -> Received:
        return self.received.get(timeout=HANGING)


@contextmanager
def receiving(answer: Callable[[int], tuple[int, Any]] = lambda number: (200, {})) -> Iterator[Receiver]:
    receiver = Receiver(answer)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join(HANGING)
        receiver.server.server_close()
