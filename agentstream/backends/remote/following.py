"""Following a stream live by server-sent events: pages as they come, over as many connections as it takes.

A server ends a live read after a minute or so; reading goes on from the last control event.
It ends with the stream's closure, which the last page says, and never without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentstream.backends.remote.exchange import LONGEST_PAUSE, Backoff, NoAnswer, Send, retry_after
from agentstream.errors import Unavailable
from agentstream.protocol.http import SSE_ENCODING, HttpResponse
from agentstream.protocol.problems import RETRIED, error_of
from agentstream.protocol.requests import request_of
from agentstream.protocol.sse import PageReader

if TYPE_CHECKING:
    from agentstream.backends.remote.sending import Sender
    from agentstream.protocol.operations import Batch, Follow

QUIET = 90.0
"""Seconds without a byte after which a connection is taken for dead: servers say more often that nothing came."""

AT_ONCE = 1.0
"""A connection that brought nothing and ended sooner is a failure, not the server's regular end."""


class Live:
    """Where a live read stands, and when it is asked anew. Told what came by the shells below; does no I/O."""

    def __init__(
        self, operation: Follow, root: str, content_type: str, backoff: Backoff, wait: float | None = None
    ) -> None:
        self.operation = operation
        self._wait = wait
        self.closed = False
        self._root = root
        self._content_type = content_type
        self._backoff = backoff
        self._pauses = backoff.pauses()
        self._began = 0.0
        self._asked_to_wait = 0.0

    def send(self) -> Send:
        self._began = time.monotonic()
        self._asked_to_wait = 0.0
        return Send(request_of(self.operation, self._root), QUIET if self._wait is None else min(self._wait, QUIET))

    def waited(self, error: Unavailable) -> bool:
        """Whether what ended is the time that the reader waits for more."""
        return self._wait is not None and self._wait <= QUIET and isinstance(error, NoAnswer) and error.timed_out

    def opened(self, response: HttpResponse) -> PageReader:
        """What reads the response's body. Raises for a refusal; Unavailable where it is worth a retry."""
        if response.status != 200:
            if response.status in RETRIED:
                self._asked_to_wait = min(retry_after(response), LONGEST_PAUSE)
            raise error_of(response, f"stream {self.operation.path!r}")
        return PageReader(self._content_type, response.headers.get(SSE_ENCODING))

    def took(self, batch: Batch) -> Batch:
        """Goes on after a page, which is handed through."""
        self.operation = replace(self.operation, offset=batch.offset, cursor=batch.cursor)
        self.closed = batch.closed
        self._pauses = self._backoff.pauses()
        self._began = 0.0
        return batch

    def pause(self, error: Unavailable | None) -> float:
        """Seconds until the next connection, now that one ended; raises `error` when there were too many such."""
        if error is None and time.monotonic() - self._began > AT_ONCE:
            return 0.0
        pause = next(self._pauses, None)
        if pause is None:
            raise error or Unavailable(f"stream {self.operation.path!r}: the server ends each live read at once")
        return max(pause, self._asked_to_wait)


def pages(sender: Sender, live: Live) -> Generator[Batch, None, None]:
    """The pages of a live read, until the stream is closed."""
    while not live.closed:
        failure: Unavailable | None = None
        try:
            with sender.stream(live.send()) as (response, chunks):
                reader = live.opened(response)
                for chunk in chunks:
                    yield from map(live.took, reader.feed(chunk))
        except Unavailable as error:
            if live.waited(error):
                return
            failure = error
        if not live.closed:
            time.sleep(live.pause(failure))


async def apages(sender: Sender, live: Live) -> AsyncGenerator[Batch, None]:
    """As `pages`, for the running event loop."""
    while not live.closed:
        failure: Unavailable | None = None
        try:
            async with sender.astream(live.send()) as (response, chunks):
                reader = live.opened(response)
                async for chunk in chunks:
                    for batch in reader.feed(chunk):
                        yield live.took(batch)
        except Unavailable as error:
            if live.waited(error):
                return
            failure = error
        if not live.closed:
            await asyncio.sleep(live.pause(failure))
