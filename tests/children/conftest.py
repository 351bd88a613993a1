from __future__ import annotations

from store_fixtures import aclient, backend, client

__all__ = ["aclient", "backend", "client"]
