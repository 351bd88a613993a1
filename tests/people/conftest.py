from __future__ import annotations

from acting import nothing_made
from store_fixtures import aclient, backend, client

__all__ = ["aclient", "backend", "client", "nothing_made"]
