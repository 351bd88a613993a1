"""A Durable Streams server: an ASGI app over any backend. `app` is its one name."""

from __future__ import annotations

from agentstream.server.application import app as app

__all__ = ["app"]
