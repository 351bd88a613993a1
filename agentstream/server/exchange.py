"""One HTTP exchange over ASGI: the request as a value, its body within bounds, the response with what all have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.http import HttpRequest, HttpResponse
from agentstream.protocol.problems import problem
from agentstream.server.access import Refused, origin_allowed
from agentstream.server.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_PARAMETERS = 32

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")
_ASKED = (
    "authorization, content-type, if-none-match, stream-seq, stream-ttl, stream-expires-at, stream-closed, "
    "producer-id, producer-epoch, producer-seq, stream-forked-from, stream-fork-offset, stream-fork-sub-offset"
)
_EXPOSED = (
    "stream-next-offset, stream-cursor, stream-up-to-date, stream-closed, stream-ttl, stream-expires-at, "
    "producer-epoch, producer-seq, producer-expected-seq, producer-received-seq, stream-sse-data-encoding, "
    "stream-life, etag, location, content-type, retry-after"
)
PREFLIGHT = {
    "access-control-allow-methods": ", ".join(METHODS),
    "access-control-allow-headers": _ASKED,
    "access-control-max-age": "86400",
}

_EVERYWHERE: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_EXPOSING = (b"access-control-expose-headers", _EXPOSED.encode())


class Gone(Exception):
    """Who asked has hung up: there is nobody to answer."""


class Exchange:
    """What was asked, and the way to answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self.method: str = scope["method"]
        self.headers = _headers(scope["headers"])
        self.mount: str = scope.get("root_path", "")
        self.scheme: str = scope.get("scheme", "http")
        client = scope.get("client")
        self.client: str | None = client[0] if client else None
        self._raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self._query: bytes = scope.get("query_string", b"")
        self._receive = receive
        self._send = send
        self._settings = settings
        self.begun = False

    @property
    def path(self) -> str:
        """The raw path below where the app is mounted."""
        path = self._raw.partition(b"?")[0].decode("latin-1")
        return path[len(self.mount) :] if self.mount and path.startswith(f"{self.mount}/") else path

    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters, decoded, in lexicographic order."""
        if not self._query:
            return ()
        try:
            text = self._query.decode("ascii")
            found = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
        except ValueError:
            raise InvalidRequest(f"the query is not percent-encoded UTF-8 of at most {MOST_PARAMETERS} parts") from None
        return tuple(sorted(found, key=lambda pair: pair[0]))

    def request(self, body: bytes = b"") -> HttpRequest:
        """The request as a value."""
        headers = self.headers
        source = headers.get("stream-forked-from")
        if self.mount and source is not None and source.startswith(f"{self.mount}/"):
            headers = {**headers, "stream-forked-from": source[len(self.mount) :]}
        return HttpRequest(self.method, self.path, self.query(), headers, body)

    def url(self, path: str) -> str:
        """A path below the mount as a URL: how this server is told to be reached, else as it was reached now."""
        if self._settings.url is not None:
            return self._settings.url.rstrip("/") + path
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}{self.mount}{path}"

    async def body(self, *, largest: int | None = None) -> bytes:
        """The whole body. `Refused` with 413 or 408 where it is too large or too slow."""
        most = self._settings.largest_body if largest is None else largest
        told = self.headers.get("content-length")
        if told is not None:
            if not told.isascii() or not told.isdigit() or len(told) > 18:
                raise InvalidRequest("Content-Length is no number")
            if int(told) > most:
                raise _too_large(most)
            if int(told) == 0:
                return b""
        try:
            return await asyncio.wait_for(self._whole(most), self._settings.body_patience)
        except (TimeoutError, asyncio.TimeoutError):
            detail = f"the body did not arrive within {self._settings.body_patience:g} s"
            raise Refused(problem(408, "body_too_slow", detail, {"connection": "close"})) from None

    async def _whole(self, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def hung_up(self) -> None:
        """Returns when who asked does not listen any more."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def reply(self, response: HttpResponse) -> None:
        """The whole response."""
        body = b"" if self.method == "HEAD" or response.status in (204, 304) else response.body
        headers = self._answered(response.headers)
        if response.status not in (204, 304) and self.method != "HEAD":
            headers.append((b"content-length", str(len(body)).encode()))
        await self._start(response.status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, headers: Mapping[str, str]) -> None:
        """The beginning of a response (200) whose parts follow by `part`."""
        await self._start(200, self._answered(headers))

    async def part(self, body: bytes, *, more: bool = True) -> None:
        """A part of a response that was begun; returns when the connection took it."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _answered(self, own: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in own.items()]
        headers += _EVERYWHERE
        origin = self.headers.get("origin")
        settings = self._settings
        if settings.tokens or settings.public:
            headers += ((b"access-control-allow-origin", b"*"), _EXPOSING)
        elif origin is not None and origin_allowed(origin, settings.origins):
            allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
            headers += (allowed, (b"vary", b"origin"), _EXPOSING)
        return headers


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _too_large(most: int) -> Refused:
    detail = f"one request takes at most {most} bytes; send several"
    return Refused(problem(413, "body_too_large", detail, {"connection": "close"}))
