"""Who may ask the inspector: who has the token of this run of it, from the page itself, on this machine.

The token stands in the fragment of the URL that is printed, which no browser sends to anybody; the page puts it into a
header. So a page of another site that guesses the port can neither read (no token, no CORS) nor write; a name that is
pointed at this machine is refused by its Host.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from agentstream.server.access import is_loopback_host

SECURITY: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every answer."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: it loads its own files, asks its own server, and nothing else."""


class Denied(Exception):
    """A request that may not be made."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def fresh_token() -> str:
    """256 bits, as they stand in a URL."""
    return secrets.token_urlsafe(32)


def check_place(client: str | None, headers: Mapping[str, str]) -> None:
    """Refuses who is not of this machine, asks by another name, or comes from another page."""
    if client is not None and not is_loopback_host(client):
        raise Denied(403, "not_local", "the inspector answers this machine only")
    host = headers.get("host", "")
    if not is_loopback_host(_hostname(f"//{host}") or ""):
        raise Denied(403, "host_refused", f"the inspector does not answer as {host[:80]!r}")
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        raise Denied(403, "origin_refused", f"pages of {origin[:80]!r} may not ask the inspector")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Denied(403, "origin_refused", "pages of other sites may not ask the inspector")


def check_token(headers: Mapping[str, str], token: str) -> None:
    """Refuses who does not have the token."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    offered = given.strip().encode("utf-8", "surrogateescape") if kind.lower() == "bearer" else b""
    if not hmac.compare_digest(offered, token.encode()):
        raise Denied(
            401, "unauthorized", "this takes the token of the URL that `agentstream ui` printed; begin from that again"
        )


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
