"""A proxy between a client and a server of streams, which does to requests and replies what networks do.

`plan` is asked for each request (its number from 0, method, path) and names what happens to it:

    "pass"     nothing; also any other false value
    "drop"     the server answers, and the connection ends without the reply
    "refuse"   the connection ends, the server never hears of it
    "cut"      half of the reply's body comes, then the connection ends
    "twice"    the server hears it twice, the second reply is handed on
    "late"     the connection ends; the server hears of it only when the next request was answered
    503, ...   the server never hears of it, and the reply is this status
    ("cut", n) a live reply ends after n bytes of its body
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Plan = Callable[[int, str, str], Any]


class FaultProxy:
    """`url` is the server's, seen through the proxy. A context manager; safe to use from any thread."""

    def __init__(self, url: str, plan: Plan, *, retry_after: str = "") -> None:
        parts = urlsplit(url)
        self.plan = plan
        self.retry_after = retry_after
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """Method, path with query, and headers (names in lower case) of each."""
        self.late: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.lock = threading.Lock()
        self._target = (parts.hostname or "", parts.port or 80)
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{parts.path}"

    @contextmanager
    def asked(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """What the server answers."""
        with closing(http.client.HTTPConnection(*self._target, timeout=60)) as connection:
            connection.request(method, path, body, {**headers, "accept-encoding": "identity"})
            with closing(connection.getresponse()) as reply:
                yield reply

    def tell(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Has the server hear a request, whatever it answers."""
        with self.asked(method, path, body, headers) as reply:
            reply.read()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that have gone."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the client has gone
                self.close_connection = True

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            headers = {name: value for name, value in headers.items() if name not in ("host", "connection")}
            with proxy.lock:
                number = len(proxy.requests)
                proxy.requests.append((self.command, self.path, headers))
            fault = proxy.plan(number, self.command, self.path)
            asked = (self.command, self.path, body, headers)
            if fault == "refuse":
                return self._end()
            if fault == "late":
                with proxy.lock:
                    proxy.late.append(asked)
                return self._end()
            if isinstance(fault, int) and fault:
                return self._refuse(fault)
            if fault in ("twice", "drop"):
                proxy.tell(*asked)
            if fault == "drop":
                return self._end()
            with proxy.asked(*asked) as reply:
                self._hand_on(reply, fault)
            with proxy.lock:
                late, proxy.late = proxy.late, []
            for each in late:
                proxy.tell(*each)
            return None

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _do

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            if proxy.retry_after:
                self.send_header("retry-after", proxy.retry_after)
            self.send_header("content-length", "0")
            self.end_headers()

        def _hand_on(self, reply: http.client.HTTPResponse, fault: Any) -> None:
            live = (reply.getheader("content-type") or "").startswith("text/event-stream")
            self.send_response_only(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "keep-alive"):
                    self.send_header(name, value)
            if live:
                self.send_header("connection", "close")
                self.end_headers()
                left = fault[1] if isinstance(fault, tuple) else 1 << 60
                while left > 0 and (piece := reply.read1(min(left, 65536))):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    left -= len(piece)
                return self._end()
            found = reply.read()
            if self.command != "HEAD" and reply.status not in (204, 304):
                self.send_header("content-length", str(len(found)))
            self.end_headers()
            if fault == "cut":
                self.wfile.write(found[: len(found) // 2])
                return self._end()
            self.wfile.write(found)
            return None

        def _end(self) -> None:
            self.wfile.flush()
            self.close_connection = True

    return Handler
