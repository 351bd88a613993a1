"""The bytes of one connection in an event loop, with no more kept of them than is needed."""

from __future__ import annotations

import asyncio
from typing import cast

MOST_UNREAD = 1_048_576
"""Bytes that came and nobody took, at which a server is not read from for a while."""

_PIECE = 262_144


class Incoming(asyncio.Protocol):
    """A connection: `send` what is to be said, `received` what comes. For one task at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._full = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    async def send(self, head: bytes, body: bytes, wait: float) -> None:
        """Sends; OSError where the connection ended, TimeoutError after `wait` seconds in which nothing was taken."""
        if len(body) <= _PIECE:
            await self._sent(head + body, wait)
            return
        await self._sent(head, wait)
        view = memoryview(body)
        for begin in range(0, len(view), _PIECE):
            await self._sent(view[begin : begin + _PIECE], wait)

    async def _sent(self, data: bytes | memoryview, wait: float) -> None:
        if self._ended or self._transport is None:
            raise self._error or ConnectionError("the connection ended")
        self._transport.write(data)
        while self._full and not self._ended:
            await self._woken(wait)

    async def received(self, wait: float) -> bytes:
        """What came, at least a byte; nothing at the connection's end. TimeoutError after `wait` seconds."""
        while not self._pieces:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return b""
            await self._woken(wait)
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._paused and self._transport is not None and not self._ended:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _woken(self, wait: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(wait, _overdue, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing came that nobody asked for, not even the end."""
        return not (self._pieces or self._ended)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what uvloop makes is one, but no instance of the class

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MOST_UNREAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = self._error or exc
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _overdue(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
