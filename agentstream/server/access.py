"""Who may do what: bearer tokens, and without any of them only programs of this machine.

A server without tokens answers nobody but this machine, and no web page either: a browser
here would carry requests of any site to it. So the peer must be loopback, the Host must name
this machine (else a site could point its own name here), and an Origin must be local or one
that was named.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import msgspec

from agentstream.protocol.http import HttpResponse
from agentstream.protocol.problems import problem

_SPARE = re.compile(r"~(?:s|lease|b|k|e)/[^/]{16,}")
"""Streams under random names or hashes, which only those know who may read the session that names them."""

_GRAMMAR = "[read:|write:]SECRET[@PREFIX]"
_SHORTEST = 8


class Token(msgspec.Struct, frozen=True):
    """A bearer token: what it may do, with the streams whose path (percent-decoded) begins with `prefix`."""

    secret: str
    write: bool = True
    prefix: str = ""

    def covers(self, path: str) -> bool:
        """Whether it opens the stream at this (percent-encoded) path, the library's own streams of it included."""
        if not self.prefix:
            return True
        name = unquote(path)
        if not name.startswith("~"):
            return name.startswith(self.prefix)
        if _SPARE.fullmatch(name):
            return True
        kind, _, of = name.partition("/")
        if of.startswith("~"):
            return self.covers(of)  # what belongs to one of the library's own, such as its snapshots
        # a catalog lists all of a first segment
        return (of + "/" if kind == "~cat" else of).startswith(self.prefix)

    def covers_pattern(self, pattern: str) -> bool:
        """Whether it opens every stream that a pattern of a subscription can match."""
        return re.split(r"[*%]", pattern, maxsplit=1)[0].startswith(self.prefix)


def parse_token(text: str) -> Token:
    """A token as it is typed: `[read:|write:]SECRET[@PREFIX]`. ValueError says what is wrong, without the secret."""
    rest = text.strip()
    write = not rest.startswith("read:")
    secret, _, prefix = rest.removeprefix("read:" if not write else "write:").partition("@")
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError(f"a token is {_GRAMMAR}; the secret has at least {_SHORTEST} printable ASCII characters")
    return Token(secret, write, prefix)


class Refused(Exception):
    """A request that may not be made; `response` says why."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


def identified(headers: Mapping[str, str], tokens: Iterable[Token]) -> Token:
    """The token that a request carries. All are compared, each in constant time."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    offered = given.strip().encode("utf-8", "surrogateescape") if kind.lower() == "bearer" else b""
    found: Token | None = None
    for token in tokens:
        if hmac.compare_digest(offered, token.secret.encode()):
            found = token
    if found is None:
        detail = "this server asks for a token: Authorization: Bearer …"
        raise Refused(problem(401, "unauthorized", detail, {"www-authenticate": 'Bearer realm="agentstream"'}))
    return found


EVERYTHING = Token("", write=True)
"""What is allowed where no tokens are asked for."""


def check_local(client: str | None, headers: Mapping[str, str], origins: Iterable[str]) -> None:
    """Without tokens: refuses who is not of this machine. `client` is the peer's address, None for a Unix socket."""
    if client is not None and not _is_loopback(client):
        detail = "this server has no tokens and answers this machine only; begin it with tokens"
        raise Refused(problem(403, "not_local", detail))
    host = headers.get("host", "localhost")
    if not _is_local_host(host[:300]):
        detail = f"this server has no tokens and does not answer as {host[:80]!r}; begin it with tokens"
        raise Refused(problem(403, "host_refused", detail))
    check_origin(headers.get("origin"), origins)


def check_origin(origin: str | None, origins: Iterable[str]) -> None:
    """Without tokens: refuses pages of other sites."""
    if origin is not None and not origin_allowed(origin, origins):
        detail = f"pages of {origin[:80]!r} may not ask this server; name the origin, or begin it with tokens"
        raise Refused(problem(403, "origin_refused", detail))


def origin_allowed(origin: str, origins: Iterable[str]) -> bool:
    """Whether pages of this origin may ask a server without tokens."""
    return origin in origins or _is_local_origin(origin[:300])


def is_loopback_host(host: str) -> bool:
    """Whether a server bound to this host is reached from this machine only."""
    return _is_loopback(host)


# Asked for with every request, mostly of the same few.


@lru_cache(256)
def _is_local_host(host: str) -> bool:
    return _is_loopback(_hostname(f"//{host}"))


@lru_cache(256)
def _is_local_origin(origin: str) -> bool:
    return _is_loopback(_hostname(origin))


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # of some brackets
        return None


@lru_cache(256)
def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
