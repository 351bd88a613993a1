"""Views whose reader has left: a connection that broke is made again at once, and what was read need not be read anew.

A cache: who comes later, or to another server, is given the same by reading the session from its start.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentstream.frontends.views import View

SECONDS = 60.0
"""How long a view is kept."""

EVENTS = 200_000
"""Events of all views that are kept, at most: each holds those of its session."""


class Left:
    """Views by what was asked for; each is one reader's at a time. For one event loop."""

    def __init__(self) -> None:
        self._views: OrderedDict[Hashable, tuple[View, asyncio.TimerHandle]] = OrderedDict()
        self._closed = False

    def put(self, asked: Hashable, view: View) -> None:
        """Keeps a view for a while, where more of its sequence is to come."""
        if self._closed or not view.live:
            return
        self._drop(asked)
        timer = asyncio.get_running_loop().call_later(SECONDS, self._drop, asked)
        self._views[asked] = view, timer
        while sum(view.seen for view, _ in self._views.values()) > EVENTS:
            self._drop(next(iter(self._views)))

    def take(self, asked: Hashable, first: int | None) -> View | None:
        """The view that was left, for a reader who has all before `first`; None where it does not know the rest."""
        view, _ = self._views.get(asked, (None, None))
        if view is None or not view.knows(first):
            return None
        self._drop(asked)
        return view

    def close(self) -> None:
        """Keeps none any longer."""
        self._closed = True
        for asked in list(self._views):
            self._drop(asked)

    def _drop(self, asked: Hashable) -> None:
        _, timer = self._views.pop(asked, (None, None))
        if timer is not None:
            timer.cancel()
