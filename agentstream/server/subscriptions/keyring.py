"""The keys of a store, looked up when something is signed: not every server has subscriptions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agentstream.backends.base import Backend

if TYPE_CHECKING:
    from agentstream.server.subscriptions.signing import Keys


class KeyRing:
    """Gives the keys, which are made the first time."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._keys: Keys | None = None
        self._looking = asyncio.Lock()

    async def get(self) -> Keys:
        async with self._looking:
            if self._keys is None:
                from agentstream.server.subscriptions.signing import keys_of

                self._keys = await keys_of(self._backend)
            return self._keys
