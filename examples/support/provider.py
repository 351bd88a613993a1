"""A stand-in for a model provider on this machine: real exchanges, recorded once, served over HTTP.

It counts what a provider would bill, and does on demand what providers do on bad days: errors, cut streams, silence.
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

TRAFFIC = Path(__file__).parents[2] / "tests" / "data" / "traffic"


@dataclass(frozen=True)
class Exchange:
    """One request that a provider was sent, and what it answered."""

    path: str
    request: Any
    status: int
    content_type: str
    body: str

    def answers(self, path: str, request: Any) -> bool:
        """Whether `request` is at the same point of the same conversation: same question, as many tool results."""
        return path == self.path and _place(request) == _place(self.request)

    def retold(self, old: str, new: str) -> Exchange:
        """A streamed answer with `old` in its text replaced by `new`, its tokens in one piece."""
        events, told = [], False
        for block in self.body.split("\n\n"):
            name, _, data = block.partition("\ndata: ")
            if name == "event: response.output_text.delta":
                if told:
                    continue
                told, data = True, json.dumps({**json.loads(data), "delta": new.join(self._text().split(old))})
            elif old in data:
                data = data.replace(old, new)
            events.append(f"{name}\ndata: {data}" if data else name)
        return replace(self, body="\n\n".join(events))

    def place_after(self, token: str) -> int:
        """How many bytes of a streamed answer come up to and with the event of `token`."""
        end = self.body.index("\n\n", self.body.index(f'"delta":"{token}"')) + 2
        return len(self.body[:end].encode())

    def _text(self) -> str:
        last = json.loads(self.body.strip().rpartition("\ndata: ")[2])
        return "".join(part["text"] for item in last["response"]["output"] for part in item.get("content", ()))


@dataclass
class Behaviour:
    """How one call is answered: `status` with an error, else the exchange, as the other fields say."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gzip: bool = False
    cut: int | None = None
    """Break the connection after so many bytes of the body."""
    stop: int | None = None
    """End the body, cleanly, after so many bytes."""
    stall: int | None = None
    """Stop sending after so many bytes, until `Provider.release` is set; `Provider.stalled` tells when."""
    body: str | None = None
    """Send this in place of the exchange's body."""


def traffic(name: str) -> list[Exchange]:
    """The recorded conversation of that name, in order."""
    names = ("path", "request", "status", "content_type", "body")
    recorded = json.loads((TRAFFIC / f"{name}.json").read_text("utf-8"))
    return [Exchange(*(one[name] for name in names)) for one in recorded]


class Provider:
    """Serves `exchanges` on a loopback port until closed.

    `next` holds how the next calls are answered (the default once it is empty); `billed` are the requests that were
    answered as asked, `asked` all of them; `piece` is how many bytes of a body are sent at once.
    """

    def __init__(self, exchanges: Iterable[Exchange] = (), *, piece: int = 1 << 16) -> None:
        self.exchanges = list(exchanges)
        self.piece = piece
        self.next: deque[Behaviour] = deque()
        self.billed: list[Any] = []
        self.asked: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.stalled, self.release = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"provider": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What to give an OpenAI client as `base_url`."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        """Closes the port: from here on a call is refused."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Provider:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take(self, path: str, headers: dict[str, str], request: Any) -> tuple[Behaviour, Exchange]:
        """How this request is answered, and with what. The last exchange added wins."""
        with self._lock:
            self.asked.append((path, request))
            self.headers.append(headers)
            behaviour = self.next.popleft() if self.next else Behaviour()
            found = next((one for one in reversed(self.exchanges) if one.answers(path, request)), None)
            if found is None:
                text = json.dumps({"error": {"message": f"no recorded exchange answers POST {path}"}})
                return behaviour, Exchange(path, request, 404, "application/json", text)
            if behaviour.status == 200:
                self.billed.append(request)
            return behaviour, found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to report; what else goes wrong here is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        is_json = "json" in self.headers.get("content-type", "")
        self._answer(json.loads(content) if content and is_json else len(content))

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, request: Any) -> None:
        behaviour, exchange = self.provider.take(self.path, dict(self.headers), request)
        if behaviour.status != 200:
            text = behaviour.body or json.dumps({"error": {"message": "asked to fail", "code": "on_purpose"}})
            exchange = replace(exchange, status=behaviour.status, content_type="application/json", body=text)
        body = (exchange.body if behaviour.body is None else behaviour.body).encode()
        body = gzip.compress(body) if behaviour.gzip else body
        chunked = "event-stream" in exchange.content_type and behaviour.stop is None
        self.send_response(exchange.status)
        self.send_header("content-type", exchange.content_type)
        self.send_header("x-request-id", f"req_{len(self.provider.asked)}")
        self.send_header("set-cookie", "session=cookie-of-the-provider")
        self.send_header("connection", "close")  # a client that is not closed leaves none to its ended loop
        for name, value in behaviour.headers.items():
            self.send_header(name, value)
        if behaviour.gzip:
            self.send_header("content-encoding", "gzip")
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        elif behaviour.stop is not None:
            self.send_header("connection", "close")
        else:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self._send(body, behaviour, chunked=chunked)

    def _send(self, body: bytes, behaviour: Behaviour, *, chunked: bool) -> None:
        marks = {behaviour.cut, behaviour.stop, behaviour.stall, len(body)}
        places = sorted({*range(0, len(body), self.provider.piece), *(mark for mark in marks if mark is not None)})
        for start, end in pairwise(places):
            if start == behaviour.stall:
                self.provider.stalled.set()
                self.provider.release.wait()
            if start in (behaviour.cut, behaviour.stop):
                self.close_connection = True
                return
            piece = body[start:end]
            self._write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
        except OSError:  # the client is gone, which is its right
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: what happened is in `asked` and `billed`."""


def _place(request: Any) -> Any:
    """Where in which conversation a request is: its first question and how many tool results it has."""
    if not isinstance(request, dict):
        return request if request is None else "bytes"
    said = request.get("messages") or request.get("input")
    if not isinstance(said, list):
        return said
    question = next((one.get("content") for one in said if one.get("role") == "user"), None)
    results = sum(one.get("role") == "tool" or one.get("type") == "function_call_output" for one in said)
    blocks = [block for one in said if isinstance(one.get("content"), list) for block in one["content"]]
    results += sum(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)
    return json.dumps(question, sort_keys=True), results
