"""One request to the inspector, and its answer: JSON, a file, or lines as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from agentstream.inspector.access import SECURITY
from agentstream.server.exchange import Exchange

T = TypeVar("T")

JSON = "application/json; charset=utf-8"
LINES = "application/x-ndjson; charset=utf-8"

_encoder = msgspec.json.Encoder()


class Failed(Exception):
    """An answer that says what went wrong and what to do."""

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.hint = status, code, hint


class Request(Exchange):
    """What was asked. Answers are never kept by a browser, and never another thing than they say."""

    def parameters(self) -> dict[str, str]:
        """The query's parameters. `Failed` for what is no query."""
        try:
            return dict(parse_qsl(self._query.decode("ascii"), keep_blank_values=True, errors="strict"))
        except ValueError:
            raise Failed(400, "invalid", "the query is not percent-encoded UTF-8") from None

    async def form(self, kind: type[T]) -> T:
        """The JSON body as a `kind`. A form that another site's page could send is none."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Failed(415, "invalid", "the body is JSON: Content-Type: application/json")
        body = await self.body()
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Failed(400, "invalid", f"the body is not what this takes: {error}") from None

    async def answer(self, document: Any, *, status: int = 200) -> None:
        """One JSON document."""
        await self.send_whole(status, {"content-type": JSON}, encoded(document))

    async def send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer."""
        length = {"content-length": str(len(body))}
        await self._start(status, self._answered({"cache-control": "no-store", **headers, **length}))
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    def _answered(self, own: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """No page of another origin is told that it may read this."""
        told = {**SECURITY, **own}
        return [(name.encode(), value.encode("latin-1", "replace")) for name, value in told.items()]


def encoded(document: Any) -> bytes:
    """A document as JSON. What a record holds may be text that is no Unicode, or numbers of any size."""
    try:
        return _encoder.encode(document)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError, ValueError, RecursionError):
        return json.dumps(document, default=str).encode()


def lines(documents: Iterable[Any]) -> bytes:
    """Documents, one a line."""
    return b"".join(encoded(document) + b"\n" for document in documents)


async def stream(request: Request, parts: AsyncGenerator[bytes, None]) -> None:
    """Sends lines as they come, until there are no more or nobody reads them any more."""
    sending = asyncio.create_task(_send(request, parts))
    gone = asyncio.create_task(request.hung_up())
    try:
        await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, gone):
            task.cancel()
        done = await asyncio.gather(sending, gone, return_exceptions=True)
    if isinstance(done[0], Exception):
        raise done[0]


async def _send(request: Request, parts: AsyncGenerator[bytes, None]) -> None:
    async with aclosing(parts):
        first = await anext(parts)  # what goes wrong before it is said with a status
        await request.start({"content-type": LINES, "cache-control": "no-store"})
        await request.part(first)
        async for part in parts:
            await request.part(part)
    with suppress(OSError):
        await request.part(b"", more=False)
