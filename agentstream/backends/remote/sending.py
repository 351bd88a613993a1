"""Sending requests: headers and parameters are filled in, and the way is chosen. A pool for all threads, one per loop.

Plain HTTP goes out by itself (`plain`); TLS, proxies of the environment and a client that was
handed in are matters of httpx, and this is the only place that knows it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import weakref
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

from msgspec.structs import replace

from agentstream.backends.remote import library
from agentstream.backends.remote.direct import AsyncDirect, Direct
from agentstream.backends.remote.exchange import NoAnswer, NotSent, Send
from agentstream.backends.remote.plain import (
    CONNECT,
    KEPT_CONNECTIONS,
    KEPT_SECONDS,
    MOST_CONNECTIONS,
    PATIENCE,
    Asked,
    AsyncPlain,
    Plain,
)
from agentstream.backends.remote.replies import request_head
from agentstream.errors import StoreError
from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.http import HttpRequest, HttpResponse

Value = str | Callable[[], str | Awaitable[str]]
Values = Mapping[str, Value]
"""Headers or query parameters; a callable is asked anew for every request, and may be async under `await`."""

_AS_IT_IS = "/%:@!$&'()*+,;=~-._"
"""What stands in a path as it is; a user's URL may have other things in it."""


class Sender:
    """Executes `Send`: `execute` in a thread, `aexecute` for the running loop. Safe to share.

    `client`: one to use in place of own ones; its owner closes it.
    """

    def __init__(self, url: str, name: str, headers: Values | None, params: Values | None, client: Any | None) -> None:
        parts = urlsplit(url)
        self.root = quote(parts.path.rstrip("/"), safe=_AS_IT_IS)
        user, _, self._host = parts.netloc.rpartition("@")
        self._origin = f"{parts.scheme.lower()}://{self._host}"
        self._address = (parts.hostname or "", parts.port or 80)
        self._name = name
        # what a client of httpx would say by itself, but for asking near servers to compress
        near = parts.hostname in ("localhost", "127.0.0.1", "::1")
        self._headers: dict[str, Value] = {
            "user-agent": "agentstream",
            "accept-encoding": "identity" if near else "gzip",
        }
        if user:
            self._headers["authorization"] = f"Basic {b64encode(unquote(user).encode()).decode()}"
        self._headers |= {name.lower(): value for name, value in (headers or {}).items()}
        self._params = dict(params or {})
        self._library_given, self.given_async = library.of_client(client) if client is not None else (None, False)
        self._given = client
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_resetting(weakref.ref(self)))

    def _reset(self) -> None:
        """Anew in a forked child: connections are the parent's."""
        self._lock = threading.Lock()
        self._sync: Any = None
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Any, Any]] = weakref.WeakKeyDictionary()
        self.closed = False

    # --- one request -------------------------------------------------------------------------------------------------

    def execute(self, send: Send) -> HttpResponse:
        client = self._sync_client()
        values = [_now(value, name) for name, value in self._values()]
        if isinstance(client, Plain):
            return client.ask(self._asked(send, values))
        with self._told(send.request):
            return _response(client.send(self._request(client, send, values), follow_redirects=False))

    async def aexecute(self, send: Send) -> HttpResponse:
        client = await self._async_client()
        values = [await _soon(value) for _, value in self._values()]
        if isinstance(client, AsyncPlain):
            return await client.ask(self._asked(send, values))
        with self._told(send.request):
            request = self._request(client, send, values)
            if self._given is not None and not self.given_async:
                return _response(await asyncio.to_thread(client.send, request, follow_redirects=False))
            return _response(await client.send(request, follow_redirects=False))

    @contextmanager
    def stream(self, send: Send) -> Iterator[tuple[HttpResponse, Iterator[bytes]]]:
        """The response without its body, and the body as it comes; of a refusal the body is read whole."""
        client = self._sync_client()
        values = [_now(value, name) for name, value in self._values()]
        if isinstance(client, Plain):
            with client.stream(self._asked(send, values)) as (head, chunks):
                yield (head, chunks) if head.status == 200 else (replace(head, body=b"".join(chunks)), iter(()))
            return
        with self._told(send.request):
            request = self._request(client, send, values)
            response = client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code == 200:
                    yield HttpResponse(200, _lower(response)), response.iter_bytes()
                else:
                    response.read()
                    yield _response(response), iter(())
            finally:
                response.close()

    @asynccontextmanager
    async def astream(self, send: Send) -> AsyncIterator[tuple[HttpResponse, AsyncIterator[bytes]]]:
        """As `stream`."""
        client = await self._async_client()
        values = [await _soon(value) for _, value in self._values()]
        if isinstance(client, AsyncPlain):
            async with client.stream(self._asked(send, values)) as (head, pieces):
                if head.status == 200:
                    yield head, pieces
                else:
                    yield replace(head, body=b"".join([piece async for piece in pieces])), _nothing()
            return
        with self._told(send.request):
            request = self._request(client, send, values)
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code == 200:
                    yield HttpResponse(200, _lower(response)), response.aiter_bytes()
                else:
                    await response.aread()
                    yield _response(response), _nothing()
            finally:
                await response.aclose()

    def _values(self) -> Iterator[tuple[str, Value]]:
        yield from self._headers.items()
        yield from self._params.items()

    def _filled(self, send: Send, values: list[str]) -> tuple[str, dict[str, str], float]:
        """Path and query, headers, and how long to wait: the user's headers and parameters in it, where the
        protocol's own win."""
        request, count = send.request, len(self._headers)
        headers = dict(zip(self._headers, values, strict=False))
        headers.update(request.headers)
        target = request.path
        if request.query or self._params:
            pairs = [*request.query, *zip(self._params, values[count:], strict=True)]
            query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(pairs))
            target = f"{target}?{query}"
        return target, headers, PATIENCE if send.patience is None else send.patience

    def _asked(self, send: Send, values: list[str]) -> Asked:
        target, headers, wait = self._filled(send, values)
        method, body = send.request.method, send.request.body
        try:
            return Asked(method, request_head(method, target, self._host, headers, body), body, wait)
        except ValueError as error:
            raise InvalidRequest(f"{self._name}: {error}") from None

    def _request(self, client: Any, send: Send, values: list[str]) -> Any:
        """The client's request."""
        target, headers, wait = self._filled(send, values)
        timeout = self._library.Timeout(connect=CONNECT, read=wait, write=PATIENCE, pool=PATIENCE)
        url, body = f"{self._origin}{target}", send.request.body
        return client.build_request(send.request.method, url, headers=headers, content=body, timeout=timeout)

    @property
    def _library(self) -> Any:
        return self._library_given or library.own()

    @contextmanager
    def _told(self, request: HttpRequest) -> Iterator[None]:
        """Says in our words what an HTTP client raises."""
        library = self._library
        try:
            yield
        except (library.ConnectError, library.ConnectTimeout, library.PoolTimeout) as error:
            raise NotSent(f"{self._name} cannot be reached: {_words(error)}") from error
        except library.ReadTimeout as error:
            raise NoAnswer(f"{self._name} did not answer in time ({request.method})", timed_out=True) from error
        except (library.TransportError, library.DecodingError) as error:
            raise NoAnswer(f"{self._name} broke off before its answer: {_words(error)}") from error
        except (library.InvalidURL, library.TooManyRedirects) as error:
            raise StoreError(f"{self._name}: {_words(error)}") from error

    # --- clients -----------------------------------------------------------------------------------------------------

    def _sync_client(self) -> Any:
        self._refuse_closed()
        if self._given is not None:
            if self.given_async:
                raise TypeError(
                    f"{self._name} was given an async http_client=, which cannot be used without await; "
                    "give a sync one, or use AsyncClient"
                )
            return self._given
        if self._sync is None:
            with self._lock:
                if self._sync is None:
                    self._sync = self._made(Plain, Direct, "")
        return self._sync

    async def _async_client(self) -> Any:
        self._refuse_closed()
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        found = self._async.get(loop)
        if found is None:
            client = self._made(AsyncPlain, AsyncDirect, "Async")
            keeper = _closing(client)
            found = self._async[loop] = (client, keeper)
            await keeper.__anext__()
        return found[0]

    def _made(self, plain: Any, direct: Any, kind: str) -> Any:
        """A client of our own."""
        proxied = bool(getproxies())
        if not proxied and self._origin.startswith("http://") and self._host.isascii():
            return plain(self._name, *self._address)
        library = self._library
        limits = library.Limits(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
        )
        if proxied:
            return getattr(library, f"{kind}Client")(limits=limits)
        # to load the certificates of the world takes 30 ms and more, and nothing that is not TLS asks for them
        verify = self._origin.startswith("https://")
        return direct(library, getattr(library, f"{kind}HTTPTransport")(limits=limits, verify=verify))

    def _refuse_closed(self) -> None:
        if self.closed:
            raise StoreError(f"{self._name}: this client was closed; make another one")

    def close(self) -> None:
        """Releases what can be released from here; a loop's connections go when it ends, or by `aclose`."""
        self.closed = True
        if self._sync is not None:
            self._sync.close()

    async def aclose(self) -> None:
        """As `close`, with the running loop's connections."""
        self.close()
        found = self._async.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()


async def _closing(client: Any) -> AsyncGenerator[None, None]:
    """Closes a loop's client when the loop is shut down: `asyncio.run` ends the generators that were begun in it."""
    try:
        yield
    finally:
        await client.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    for none in ():
        yield none


def _now(value: Value, name: str) -> str:
    if not callable(value):
        return value
    found = value()
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError(f"{name}= is an async function, which a sync client cannot await; use AsyncClient")
    return found


async def _soon(value: Value) -> str:
    found: Any = value() if callable(value) else value
    return await found if inspect.isawaitable(found) else found


def _response(response: Any) -> HttpResponse:
    return HttpResponse(response.status_code, _lower(response), response.content)


def _lower(response: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _resetting(sender: weakref.ref[Sender]) -> Callable[[], None]:
    def in_child() -> None:
        found = sender()
        if found is not None:
            found._reset()

    return in_child
