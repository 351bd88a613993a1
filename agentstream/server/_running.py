"""Running the app with uvicorn: within bounds that it does not set itself, and with an end that loses nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agentstream.protocol.problems import problem

LARGEST_HEAD = 64 * 1024
"""Bytes of a request line with its headers."""
HEAD_SECONDS = 15.0
"""How long they may take to arrive."""
IDLE_SECONDS = 75
"""How long a connection is kept for its next request."""
GRACE_SECONDS = 10
"""What requests at work get when the server ends."""


class Connection(HttpToolsProtocol):
    """One connection. The parser alone would keep a head of any size, and wait for its end for ever."""

    _head_too_large = False
    _reading_head = False
    _received = 0
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        went_on = self._reading_head
        super().data_received(data)
        if went_on and self._reading_head:
            self._received += len(data)
            if self._received > LARGEST_HEAD and not self.transport.is_closing():
                self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading_head, self._received = True, 0
        if self._clock is None:
            self._start_clock()

    def on_headers_complete(self) -> None:
        self._stop_clock()
        self._reading_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD:
            self._head_too_large = True
            raise ValueError("the head is too large")  # which the parser makes a call of `send_400_response`
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_too_large:
            self._refuse_head()
        else:
            self._refuse(400, "invalid_request", "this is no HTTP request")

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(HEAD_SECONDS, self._late)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _late(self) -> None:
        self._clock = None
        if not self.transport.is_closing():
            self._refuse(408, "head_too_slow", f"the headers did not arrive within {HEAD_SECONDS:g} s")

    def _refuse_head(self) -> None:
        self._refuse(431, "head_too_large", f"the headers of a request have at most {LARGEST_HEAD} bytes")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answers below the app, which has not heard of this request, and hangs up."""
        response = problem(status, code, detail, {"connection": "close", "x-content-type-options": "nosniff"})
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in response.headers.items())]
        lines.append(f"content-length: {len(response.body)}")
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + response.body)
        self.transport.close()


class Runnable(Protocol):
    """An ASGI app that is told when it begins, in its event loop, and when it ends."""

    async def __call__(self, scope: Any, receive: Any, send: Any, /) -> None: ...

    def begin(self) -> None: ...

    async def close(self) -> None: ...


class Server(uvicorn.Server):
    """Ends live reads when it is told to end, else it would wait for them."""

    def __init__(self, config: uvicorn.Config, application: Runnable, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._application = application
        self._ready = ready
        self.interrupted = False
        """By SIGINT."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._application.begin()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._application.close()
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would send itself the signal once more when all is done: in an event loop it can be lost
        self.interrupted = self.interrupted or sig == signal.SIGINT
        self.force_exit = self.should_exit  # the second time
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; OSError where there can be none. Port 0 is any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def serve(application: Runnable, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM, or SIGINT, which raises KeyboardInterrupt. `ready` is called once it answers."""
    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config, application, ready)
    server.run(sockets=[listening])
    if server.interrupted:
        raise KeyboardInterrupt
