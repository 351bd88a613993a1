"""Posting to webhooks, and nowhere else: where a URL may lead is checked when it is named and at each connection.

A name that pointed outside when the subscription was made may point inside later (DNS
rebinding), so every address it resolves to is judged before a socket is opened, and the
connection goes to the very address that was judged. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import urlsplit

import httpcore
import msgspec

MOST_READ = 64 * 1024


class Rejected(Exception):
    """A URL that the server will not post to."""


_FAILED = (
    httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, TimeoutError,
    asyncio.TimeoutError, Rejected, ValueError,
)  # fmt: skip


class _Answer(msgspec.Struct):
    done: bool = False


def check_url(url: str, *, local: bool) -> None:
    """§9.3: https, or http to this machine where that is allowed. `Rejected` says what is wrong."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise Rejected("webhook.url is no URL") from None
    if not host or parts.username is not None or any(ord(char) <= 32 or ord(char) > 126 for char in url):
        raise Rejected("webhook.url is no plain URL of ASCII characters with a host and without a user")
    if parts.scheme == "http":
        if not (local and _is_local(host)):
            raise Rejected("webhook.url must use https; http is for localhost, and only where the server allows it")
    elif parts.scheme != "https":
        raise Rejected("webhook.url must use https")
    elif _is_local(host) or not _named_or_public(host):
        raise Rejected("webhook.url leads to a private, local or reserved address")


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network("127.0.0.0/8")
    except ValueError:
        return False


def _named_or_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        return True  # a name: what it leads to is judged when it is connected to


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also inside an IPv6 one that carries it."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if carried is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            carried = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(str(carried))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that may be posted to."""

    def __init__(self, *, local: bool) -> None:
        self._local = local
        # untyped: anyio may be missing
        self._network = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        for address in await _resolved(host, port):
            if is_public(address) or (self._local and _is_local(host) and ipaddress.ip_address(address).is_loopback):
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
        raise httpcore.ConnectError(f"{host} leads to no address that the server posts to")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _resolved(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from None
    return [str(entry[4][0]).partition("%")[0] for entry in found]


class Poster:
    """Posts to webhooks over connections of its own."""

    def __init__(self, *, local: bool) -> None:
        self.local = local
        self._made: httpcore.AsyncConnectionPool | None = None

    @property
    def _pool(self) -> httpcore.AsyncConnectionPool:
        if self._made is None:  # reading the certificates takes a while
            guarded, certificates = _Guarded(local=self.local), ssl.create_default_context()
            self._made = httpcore.AsyncConnectionPool(certificates, max_connections=100, network_backend=guarded)
        return self._made

    async def post(self, url: str, body: bytes, signature: str, timeout: float) -> bool | None:
        """None if the receiver did not take it; else whether it says that all is done already."""
        headers = {"content-type": "application/json", "webhook-signature": signature, "user-agent": "agentstream"}
        try:
            check_url(url, local=self.local)
            return await asyncio.wait_for(self._posted(url, headers, body), timeout)
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
            Rejected,
            ValueError,
        ):
            return None
        except (TimeoutError, asyncio.TimeoutError):
            return None

    async def _posted(self, url: str, headers: dict[str, str], body: bytes) -> bool | None:
        async with self._pool.stream(
            "POST", url, headers={**headers, "host": urlsplit(url).netloc}, content=body
        ) as response:
            if not 200 <= response.status < 300:
                return None
            read = b""
            async for part in response.aiter_stream():
                read += part
                if len(read) > MOST_READ:
                    return False
        try:
            return msgspec.json.decode(read, type=_Answer).done
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    async def close(self) -> None:
        """Lets go of connections."""
        if self._made is not None:
            await self._made.aclose()
