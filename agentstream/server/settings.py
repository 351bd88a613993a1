"""How a server behaves: everything that `app` and `agentstream serve` can be told."""

from __future__ import annotations

import msgspec

from agentstream.server.access import Token

ROOT = "/v1/stream"
PORT = 4437
"""The protocol's (§13)."""


class Settings(msgspec.Struct, frozen=True):
    """Seconds and bytes. `url` is how this server is reached from outside, where it cannot tell from requests."""

    root: str = ROOT
    tokens: tuple[Token, ...] = ()
    origins: tuple[str, ...] = ()
    public: bool = False
    url: str | None = None
    long_poll: float = 30.0
    sse: float = 60.0
    heartbeat: float = 15.0
    largest_body: int = 32 * 1024 * 1024
    body_patience: float = 30.0
    page: int = 1024 * 1024
    local_webhooks: bool = False
