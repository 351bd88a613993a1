"""Where streams end now: what a subscription has still to read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from agentstream.backends.base import Backend, List, Listed
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import START, Head, StreamInfo
from agentstream.server.subscriptions.records import Subscription, glob_matches, pending

_AT_ONCE = 100
"""Looks between two turns of the event loop."""


class Info(msgspec.Struct, frozen=True):
    """One stream of a subscription, as receivers are told of it (§7)."""

    path: str
    link_type: str
    acked_offset: str
    tail_offset: str
    has_pending: bool


async def tail_of(backend: Backend, path: str) -> str | None:
    """The tail of a stream, None where there is none. Does not renew its time to live."""
    try:
        info: StreamInfo = await backend.aexecute(Head(path))
    except (StreamNotFound, StreamGone):
        return None
    return info.offset


async def tails_of(backend: Backend, paths: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for number, path in enumerate(paths, 1):
        found[path] = await tail_of(backend, path)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return found


async def infos_of(backend: Backend, state: Subscription) -> list[Info]:
    """Every stream of the subscription."""
    tails = await tails_of(backend, state.links)
    return [
        Info(
            path, "explicit" if link.explicit else "glob", link.acked, tails[path] or START, pending(link, tails[path])
        )
        for path, link in state.links.items()
    ]


async def matching(backend: Backend, pattern: str) -> dict[str, str]:
    """Path → tail of the streams that a pattern matches."""
    literal = pattern.partition("*")[0]
    found: dict[str, str] = {}
    after = ""
    while True:
        page: tuple[Listed, ...] = await backend.aexecute(List(literal, after))
        if not page:
            return found
        for listed in page:
            if not listed.path.startswith("~") and glob_matches(pattern, listed.path):
                found[listed.path] = listed.offset
        after = page[-1].path
        await asyncio.sleep(0)
