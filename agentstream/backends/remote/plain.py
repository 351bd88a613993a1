"""Requests over plain HTTP/1.1, with no HTTP client between: it would take most of the time of a request.

A pool of connections for all threads, and one for each event loop. A connection is used again
only after a reply that was read whole; whatever else happens to it, it is closed.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import msgspec

from agentstream.backends.remote.exchange import NoAnswer, NotSent
from agentstream.backends.remote.replies import BadHttp, Reply
from agentstream.backends.remote.streaming import Incoming
from agentstream.protocol.http import HttpResponse

MOST_CONNECTIONS = 1000
KEPT_CONNECTIONS = 100
KEPT_SECONDS = 30.0
"""How long an idle connection is kept: less than servers do, so that few requests meet one that is being closed."""
CONNECT = 10.0
"""Seconds to wait for a connection."""
PATIENCE = 60.0
"""Seconds to wait for the next bytes of an answer that is not a live one, and for a server to take bytes."""
_PIECE = 262_144


class Asked(msgspec.Struct, frozen=True):
    """A request as bytes; `wait` is how many seconds may pass without a byte of the answer."""

    method: str
    head: bytes
    body: bytes
    wait: float


class _Place:
    """Where the server is, and what went wrong there, in our words."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        self._address = (host, port)
        self.is_closed = False

    def _unreached(self, error: Exception) -> NoReturn:
        raise NotSent(f"{self._name} cannot be reached: {_words(error)}") from error

    def _unanswered(self, asked: Asked, error: Exception) -> NoReturn:
        if isinstance(error, TimeoutError):
            raise NoAnswer(f"{self._name} did not answer in time ({asked.method})", timed_out=True) from error
        raise NoAnswer(f"{self._name} broke off before its answer: {_words(error)}") from error


class Plain(_Place):
    """Sends requests from any thread."""

    def __init__(self, name: str, host: str, port: int) -> None:
        super().__init__(name, host, port)
        self._idle: deque[tuple[socket.socket, float]] = deque(maxlen=KEPT_CONNECTIONS)
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def ask(self, asked: Asked) -> HttpResponse:
        """The answer, its body read whole. Raises NotSent or NoAnswer."""
        with self._connected() as connection:
            reply = Reply(asked.method)
            pieces = [self._begun(connection, asked, reply)]
            while not reply.done:
                pieces.append(self._more(connection, asked, reply))
            self._finished(connection, reply)
        return _whole(reply, pieces)

    @contextmanager
    def stream(self, asked: Asked) -> Iterator[tuple[HttpResponse, Iterator[bytes]]]:
        """The answer without its body, and the body as it comes."""
        with self._connected() as connection:
            reply = Reply(asked.method)
            first = self._begun(connection, asked, reply)
            assert reply.head is not None

            def rest() -> Iterator[bytes]:
                yield first
                while not reply.done:
                    yield self._more(connection, asked, reply)

            yield reply.head, rest()
            self._finished(connection, reply)

    def close(self) -> None:
        self.is_closed = True
        while self._idle:
            self._idle.pop()[0].close()

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        """A connection, which is closed unless it was given back."""
        if not self._room.acquire(timeout=PATIENCE):
            raise NotSent(f"{self._name} cannot be reached: {MOST_CONNECTIONS} requests are under way")
        try:
            connection = self._kept() or self._opened()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
        finally:
            self._room.release()

    def _kept(self) -> socket.socket | None:
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if time.monotonic() - since < KEPT_SECONDS and not _readable(connection):
                return connection
            connection.close()
        return None

    def _opened(self) -> socket.socket:
        try:
            connection = socket.create_connection(self._address, CONNECT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._unreached(error)
        return connection

    def _begun(self, connection: socket.socket, asked: Asked, reply: Reply) -> bytes:
        """Sends the request and reads until the answer's head is there; what of its body came with it."""
        try:
            connection.settimeout(PATIENCE)
            _send(connection, asked)
            connection.settimeout(asked.wait)
        except OSError as error:
            if isinstance(error, TimeoutError):
                self._unanswered(asked, error)
            # a server may refuse before it has read all, and close: the answer says more than that
        piece = b""
        while reply.head is None:
            piece = self._more(connection, asked, reply)
        return piece

    def _more(self, connection: socket.socket, asked: Asked, reply: Reply) -> bytes:
        try:
            data = connection.recv(_PIECE)
            if data:
                return reply.feed(data)
            reply.end()
            return b""
        except (OSError, BadHttp) as error:
            self._unanswered(asked, error)

    def _finished(self, connection: socket.socket, reply: Reply) -> None:
        if reply.done and reply.keeps and not self.is_closed and len(self._idle) < KEPT_CONNECTIONS:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()


class AsyncPlain(_Place):
    """Sends requests in one event loop."""

    def __init__(self, name: str, host: str, port: int) -> None:
        super().__init__(name, host, port)
        self._idle: deque[tuple[Incoming, float]] = deque()
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def ask(self, asked: Asked) -> HttpResponse:
        """As `Plain.ask`."""
        async with self._connected() as connection:
            reply = Reply(asked.method)
            pieces = [await self._begun(connection, asked, reply)]
            while not reply.done:
                pieces.append(await self._more(connection, asked, reply))
            self._finished(connection, reply)
        return _whole(reply, pieces)

    @asynccontextmanager
    async def stream(self, asked: Asked) -> AsyncIterator[tuple[HttpResponse, AsyncIterator[bytes]]]:
        """As `Plain.stream`."""
        async with self._connected() as connection:
            reply = Reply(asked.method)
            first = await self._begun(connection, asked, reply)
            assert reply.head is not None

            async def rest() -> AsyncIterator[bytes]:
                yield first
                while not reply.done:
                    yield await self._more(connection, asked, reply)

            yield reply.head, rest()
            self._finished(connection, reply)

    async def aclose(self) -> None:
        self.is_closed = True
        while self._idle:
            self._idle.pop()[0].close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Incoming]:
        async with self._room:
            connection = self._kept() or await self._opened()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise

    def _kept(self) -> Incoming | None:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < KEPT_SECONDS and connection.is_quiet:
                return connection
            connection.close()
        return None

    async def _opened(self) -> Incoming:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await asyncio.wait_for(loop.create_connection(Incoming, *self._address), CONNECT)
        except (OSError, asyncio.TimeoutError) as error:
            self._unreached(error)
        return connection

    async def _begun(self, connection: Incoming, asked: Asked, reply: Reply) -> bytes:
        try:
            await connection.send(asked.head, asked.body, PATIENCE)
        except TimeoutError as error:
            self._unanswered(asked, error)
        except OSError:
            pass  # as in `Plain`
        piece = b""
        while reply.head is None:
            piece = await self._more(connection, asked, reply)
        return piece

    async def _more(self, connection: Incoming, asked: Asked, reply: Reply) -> bytes:
        try:
            data = await connection.received(asked.wait)
            if data:
                return reply.feed(data)
            reply.end()
            return b""
        except (OSError, BadHttp) as error:
            self._unanswered(asked, error)

    def _finished(self, connection: Incoming, reply: Reply) -> None:
        if reply.done and reply.keeps and not self.is_closed and len(self._idle) < KEPT_CONNECTIONS:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()


def _send(connection: socket.socket, asked: Asked) -> None:
    if len(asked.body) <= _PIECE:
        connection.sendall(asked.head + asked.body)
        return
    connection.sendall(asked.head)
    body = memoryview(asked.body)
    for begin in range(0, len(body), _PIECE):  # a timeout of sendall is for all it is given
        connection.sendall(body[begin : begin + _PIECE])


def _readable(connection: socket.socket) -> bool:
    """Whether an idle connection has something to say, which is that the server has closed it."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connection], [], [], 0)[0])


def _whole(reply: Reply, pieces: list[bytes]) -> HttpResponse:
    assert reply.head is not None
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return HttpResponse(reply.head.status, reply.head.headers, body)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
