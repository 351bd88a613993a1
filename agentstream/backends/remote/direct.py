"""The part of an HTTP client that is needed here, over its transport: what a client does besides costs a third more.

No redirects, cookies, proxies and hooks: with a proxy in the environment a whole client is made.
"""

from __future__ import annotations

from typing import Any


class _Direct:
    def __init__(self, library: Any, transport: Any) -> None:
        self._library = library
        self._transport = transport
        self.is_closed = False

    def build_request(self, method: str, url: str, *, headers: dict[str, str], content: bytes, timeout: Any) -> Any:
        extensions = {"timeout": timeout.as_dict()}
        return self._library.Request(method, url, headers=headers, content=content, extensions=extensions)


class Direct(_Direct):
    """Sends requests from any thread."""

    def send(self, request: Any, *, stream: bool = False, follow_redirects: bool = False) -> Any:
        response = self._transport.handle_request(request)
        if not stream:
            try:
                response.read()
            finally:
                response.close()
        return response

    def close(self) -> None:
        self.is_closed = True
        self._transport.close()


class AsyncDirect(_Direct):
    """Sends requests in one event loop."""

    async def send(self, request: Any, *, stream: bool = False, follow_redirects: bool = False) -> Any:
        response = await self._transport.handle_async_request(request)
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    async def aclose(self) -> None:
        self.is_closed = True
        await self._transport.aclose()
