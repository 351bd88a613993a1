"""How a worker learns in which sessions something happened.

A store of this machine is watched. A server is asked to wake workers: those that look after
the same sessions share one pull-wake subscription, and of each wake one of them is handed what
changed. What it knows of it (a moment to come, a run that others are at) would be lost with it,
so each looks from time to time at what else changed; a server without subscriptions is only
looked at. All of this is a hint: a session's claim decides who gets it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit

from agentstream.backends.base import LeaseHeld, Watch, Watched
from agentstream.backends.driving import adrive
from agentstream.errors import NotFound, StoreError, SubscriptionError, Unavailable
from agentstream.protocol.errors import BadReply

if TYPE_CHECKING:
    from agentstream.protocol.subscriptions import Linked, Woken
    from agentstream.sessions.core import Core
    from agentstream.sessions.wakes import Waker

WATCH = 20.0
"""Seconds that one wait for a change of the store takes before it is asked again."""

TROUBLE = 2.0
"""Seconds before a store that failed is asked again."""

WAKE_LEASE = 10.0
"""Seconds that a wake is one worker's without a word from it: after a kill another one claims it."""

AROUND = 20.0
"""Seconds between two looks around a server for what other workers were told of; more where a look takes long."""
AROUND_ALONE = 2.0
"""The same where a server has no subscriptions, and nothing else tells of changes."""
SHARE = 20
"""Looks around take at most this part of the time."""

SOON, LATER = 0.05, 1.0
"""Seconds before the next wake is claimed: soon after one that was worth it, later after those that were not."""

_log = logging.getLogger("agentstream.worker")


class Shift(Protocol):
    """What is told of changes."""

    async def changed(self, path: str) -> None:
        """Something was appended to a stream, or it was made or deleted."""
        ...

    async def look_around(self) -> None:
        """Anything may have changed."""
        ...

    def left(self, path: str) -> bool:
        """Whether the session of a stream is still to be looked at."""
        ...

    @property
    def full(self) -> bool:
        """Whether no more can be taken up now."""
        ...

    @property
    def taken(self) -> int:
        """How many runs were taken up so far."""
        ...

    @property
    def looked(self) -> asyncio.Event:
        """Set whenever sessions were looked at."""
        ...


class Notices(Protocol):
    async def begin(self) -> None:
        """What happens from now on is told."""
        ...

    async def run(self) -> None:
        """Tells of it, until it is cancelled. Raises StoreError for a store that cannot be asked any more."""
        ...


def notices_of(core: Core, match: str, shift: Shift) -> Notices:
    return _Watching(core, shift) if core.backend.traits.lists else _Waking(core, match, shift)


class _Watching:
    def __init__(self, core: Core, shift: Shift) -> None:
        self._backend = core.backend
        self._shift = shift
        self._cursor: str | None = None

    async def begin(self) -> None:
        self._cursor = (await self._backend.aexecute(Watch(wait=0.0))).cursor

    async def run(self) -> None:
        while True:
            try:
                watched: Watched = await self._backend.aexecute(Watch(cursor=self._cursor, wait=WATCH))
                self._cursor = watched.cursor
                for path in watched.paths:
                    await self._shift.changed(path)
            except StoreError as error:
                self._backend.execute(LeaseHeld("~", "~"))  # a store that was closed says so: then it is over
                _log.warning("the store failed, and is asked again: %s", error)
                await asyncio.sleep(TROUBLE)


class _Waking:
    def __init__(self, core: Core, match: str, shift: Shift) -> None:
        from agentstream.sessions.wakes import own_name

        self._core = core
        self._shift = shift
        self._pattern = subscribed(match)
        root = urlsplit(core.backend.name).path
        self.id = f"agentstream-worker-{sha256(f'{root} {self._pattern}'.encode()).hexdigest()[:12]}"
        self._name = own_name()
        self._waker: Waker | None = None

    async def begin(self) -> None:
        from agentstream.sessions.wakes import WAKES, Waker, subscribe

        literal = quote(self._pattern.partition("*")[0])
        steps = subscribe(
            self._core, self.id, pattern=self._pattern, streams=(), webhook=None, lease=WAKE_LEASE,
            wake_stream=f"{WAKES}{literal}{self.id}", description="agentstream worker",
        )  # fmt: skip
        try:
            info = await adrive(steps, self._core.backend)
        except SubscriptionError as error:
            if error.code != "NOT_SUPPORTED":
                raise
            _log.info("%s has no subscriptions: it is looked at every few seconds", self._core.backend.name)
            return
        self._waker = Waker(info)
        await adrive(self._waker.begin(), self._core.backend)

    async def run(self) -> None:
        ways = [asyncio.ensure_future(self._again(self._look_around))]
        if self._waker is not None:
            ways.append(asyncio.ensure_future(self._again(self._woken)))
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _again(self, way: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await way()
            except (Unavailable, BadReply) as error:
                _log.warning("the server failed, and is asked again: %s", error)
                await asyncio.sleep(TROUBLE * random.uniform(0.5, 1.0))
            except NotFound:
                _log.warning("the server has forgotten subscription %s, which is made again", self.id)
                await self.begin()
                await self._shift.look_around()

    async def _look_around(self) -> None:
        pause = AROUND if self._waker is not None else AROUND_ALONE
        while True:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            begun = time.monotonic()
            await self._shift.look_around()
            pause = max(AROUND if self._waker is not None else AROUND_ALONE, SHARE * (time.monotonic() - begun))

    async def _woken(self) -> None:
        from agentstream.protocol.subscriptions import ClaimWake
        from agentstream.sessions.wakes import NOTHING_NOW

        pause = SOON
        while True:
            while self._shift.full:
                await self._looked(WATCH)
            try:
                woken: Woken = await self._core.backend.aexecute(ClaimWake(self.id, self._name))
                before = self._shift.taken
                await self._hand_out(woken)
            except SubscriptionError as error:
                if error.code in NOTHING_NOW:
                    assert self._waker is not None
                    await adrive(self._waker.rest(WATCH), self._core.backend)
                elif error.code != "FENCED":  # it took too long, and is another worker's now
                    raise
                continue
            pause = SOON if self._shift.taken > before else min(LATER, pause * 2)
            await asyncio.sleep(pause)

    async def _hand_out(self, woken: Woken) -> None:
        """Has the sessions looked at. Those that cannot be, because enough is at work here, are left to others."""
        left = pending = [stream for stream in woken.streams if stream.has_pending]
        try:
            for stream in pending:
                await self._shift.changed(stream.path)
            deadline = time.monotonic() + WAKE_LEASE / 3
            while (left := self._left(pending)) and not self._shift.full and time.monotonic() < deadline:
                await self._looked(deadline - time.monotonic())
        finally:
            await self._give_back(woken, [stream for stream in pending if stream not in left], bool(left))

    def _left(self, pending: list[Linked]) -> list[Linked]:
        return [stream for stream in pending if self._shift.left(stream.path)]

    async def _give_back(self, woken: Woken, seen: list[Linked], more: bool) -> None:
        from agentstream.protocol.subscriptions import AckWake, ReleaseWake
        from agentstream.sessions.wakes import acknowledged

        wake = (self.id, woken.wake_id, woken.generation, woken.token)
        acks = tuple((stream.path, stream.tail) for stream in seen if stream.tail is not None)
        await adrive(acknowledged(AckWake(*wake, acks, done=not more)), self._core.backend)
        if more:
            await self._core.backend.aexecute(ReleaseWake(*wake))

    async def _looked(self, longest: float) -> None:
        self._shift.looked.clear()
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._shift.looked.wait(), max(longest, 0.0))


def subscribed(match: str) -> str:
    """A server's pattern that matches at least the ids that a worker's does: its wildcards are whole segments."""
    segments: list[str] = []
    for segment in match.split("/"):
        if "**" in segment:
            return "/".join([*segments, "**"])
        segments.append("*" if "*" in segment or "?" in segment else segment)
    return "/".join(segments)
