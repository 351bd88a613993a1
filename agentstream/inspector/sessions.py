"""The sessions that the inspector has open: each read once, followed while somebody looks at it live."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from agentstream.backends.base import LeaseHeld
from agentstream.backends.driving import adrive, drive
from agentstream.errors import AgentStreamError, NotFound
from agentstream.inspector.held import ChangesWhatCounts, Told
from agentstream.protocol.errors import InvalidRequest, StreamGone, StreamNotFound
from agentstream.sessions.encryption.refusals import refusal
from agentstream.sessions.encryption.vault import is_forgotten
from agentstream.sessions.log import extend, missing
from agentstream.sessions.state import fold
from agentstream.sessions.steps import text
from agentstream.sessions.summaries import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.events import Event
    from agentstream.sessions.log import Log
    from agentstream.sessions.prices import Prices
    from agentstream.sessions.summaries import Entry

T = TypeVar("T")

KEPT_EVENTS = 200_000
"""Of sessions that nobody looks at live, in all."""

FOR_ROWS = 3.0
"""Seconds for which the list of sessions lets the rows of a session go first, at most."""

PATIENCE = 10.0
"""Seconds after which a session that is followed is asked whether its worker lives, and readers hear of it."""


class Open:
    """One session that is open. `told` is what is known of it; `changed` is set anew each time that grows."""

    def __init__(self, log: Log, told: Told) -> None:
        self.log = log
        self.told = told
        self.lock = asyncio.Lock()
        self.readers = 0
        self.news = asyncio.Event()
        self.ended: AgentStreamError | None = None
        """Why it is followed no more."""
        self.follower: asyncio.Task[None] | None = None
        self.children: list[tuple[str, int, str | None]] = []
        """The sessions that were forked from it: their ids, where, and how they stand."""
        self.forks_seen = 0.0
        """When those were looked for; 0 before the first time."""

    def tell(self) -> None:
        """Wakes whoever waits for news."""
        self.news.set()
        self.news = asyncio.Event()


class Sessions:
    """Of one event loop. `prices` are what cost is told by."""

    def __init__(self, core: Core, prices: Prices) -> None:
        self.core = core
        self.prices = prices
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}
        self._beginning = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._listing = asyncio.Lock()
        self.closing = False

    async def current(self, session: str, *, whole: bool = True) -> Open:
        """The session as it is now, with every row unless that is not asked for. NotFound if there is none."""
        lock = self._opening.setdefault(session, asyncio.Lock())
        async with lock:
            held = self._open.get(session)
            if held is not None and await self._is_still(held):
                self._open.move_to_end(session)
            else:
                self._open.pop(session, None)
                held = self._open[session] = await self._read(session)
                self._make_room()
        if not lock.locked():
            self._opening.pop(session, None)
        if whole:
            if not held.told.whole:
                await asyncio.to_thread(held.told.make_all)
            # of one that is followed they are looked for now and then: each event makes the list look at it anew
            if held.follower is None or not held.forks_seen:
                await self.see_forks(held)
        return held

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """While somebody waits for the rows of a session: what can wait for that does."""
        self._beginning += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._beginning -= 1
            if not self._beginning:
                self._quiet.set()

    async def listed(self, steps: Callable[[], Steps[T]]) -> T:
        """What is found by looking at every session there is: those that changed are folded anew.

        It is done in a thread, so that whoever follows a session does not wait, and once nobody waits for rows.
        """
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), FOR_ROWS)
        async with self._listing:
            return await asyncio.to_thread(lambda: drive(steps(), self.core.backend))

    async def follow(self, session: str) -> Open:
        """As `current`; from now on news of it are told, until `leave` was called as often as this."""
        held = await self.current(session, whole=False)
        held.readers += 1
        if held.follower is None:
            held.follower = asyncio.create_task(self._follow(held))
        return held

    def leave(self, held: Open) -> None:
        """One reader fewer."""
        held.readers -= 1
        if held.readers == 0 and held.follower is not None:
            held.follower.cancel()
            held.follower = None

    async def close(self) -> None:
        """Ends following, and who reads."""
        self.closing = True
        followers = [held.follower for held in self._open.values() if held.follower is not None]
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        for held in self._open.values():
            held.tell()
        self._open.clear()

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, session: str) -> Open:
        log, alive = await adrive(_whole(self.core, session), self.core.backend)
        # a long session is read from its store in there, where its first events were told by a snapshot
        told = await asyncio.to_thread(lambda: Told(fold(log), self.prices, alive=alive, sealed=log.closed))
        # without any key it is not seen in the events themselves that theirs is gone
        if told.refused and await adrive(is_forgotten(log.encrypted), self.core.backend):
            raise refusal({"reason": "erased"}, f"session {session!r}")
        return Open(log, told)

    async def _is_still(self, held: Open) -> bool:
        """Brings it up to date; False if it is another session now, or gone."""
        if held.follower is not None:
            return held.ended is None
        async with held.lock:
            try:
                alive = await adrive(_since(self.core, held.log), self.core.backend)
            except (NotFound, StreamGone, StreamNotFound, InvalidRequest):
                return False
            await self._take(held, alive)
            return True

    async def _take(self, held: Open, alive: bool | None) -> None:
        """Takes what the log has more than was told. `alive`: whether the worker lives; None: nobody looked."""
        told, log = held.told, held.log
        fresh = list(log.events[told.size :])
        alive = told.alive if alive is None else alive
        try:
            if told.whole:
                told.take(fresh, alive=alive)
            else:
                await asyncio.to_thread(told.take, fresh, alive=alive)
        except ChangesWhatCounts:
            await asyncio.to_thread(told.begin_again, fold(log), alive=alive, sealed=log.closed)
            fresh = log.events
        if fresh or log.closed != told.sealed:
            told.sealed = log.closed
            held.tell()

    def _make_room(self) -> None:
        """Forgets those that were asked for longest ago, and are not followed."""
        idle = [name for name, held in self._open.items() if not held.readers]
        while len(idle) > 1 and sum(held.told.size for held in self._open.values()) > KEPT_EVENTS:
            del self._open[idle.pop(0)]

    # --- following ---------------------------------------------------------------------------------------------------

    async def _follow(self, held: Open) -> None:
        log = held.log
        forks = asyncio.create_task(self._look_for_forks(held))  # in a store of many sessions that takes long
        try:
            while not log.closed:
                before = log.size
                alive = await adrive(_next(self.core, log), self.core.backend)
                await self._take(held, alive)
                idle = log.size == before or time.monotonic() - held.forks_seen > PATIENCE
                if idle and forks.done():
                    forks = asyncio.create_task(self._look_for_forks(held))
        except AgentStreamError as error:
            held.ended = error
        finally:
            forks.cancel()
            held.tell()

    async def _look_for_forks(self, held: Open) -> None:
        with suppress(AgentStreamError):  # who reads the list is told of it, and they are looked for again
            await self.see_forks(held)

    async def see_forks(self, held: Open) -> None:
        """Takes note of the forks that there are of a session."""
        traits = self.core.backend.traits
        if not (traits.lists or traits.catalogs):
            return
        children = await self.listed(lambda: forks_of(self.core, held.log))
        counts: dict[int, int] = {}
        for _, at in children:
            counts[at] = counts.get(at, 0) + 1
        held.children = [(entry.id, at, entry.summary.status) for entry, at in children]
        held.forks_seen = time.monotonic()
        if counts != held.told.forks:
            held.told.set_forks(counts)
            held.tell()


def _whole(core: Core, session: str) -> Steps[tuple[Log, bool]]:
    log = yield from core.require(session)
    return log, (yield from _alive(log))


def _since(core: Core, log: Log) -> Steps[bool]:
    """Reads what came since; whether a worker lives. Raises NotFound if the session is another one now."""
    if not (yield from core.still(log)):
        raise missing(log.session)
    yield from extend(log)
    return (yield from _alive(log))


def _next(core: Core, log: Log) -> Steps[bool | None]:
    """Reads what comes next, waiting for it; whether a worker lives, where that was worth a look."""
    fresh: Sequence[Event] = ()
    try:
        fresh = yield from extend(log, wait=PATIENCE)
        same = log.life is not None or not (fresh or log.closed)
        deleted = not same and not (yield from core.still(log))
    except (StreamNotFound, StreamGone, InvalidRequest):
        deleted = True
    if deleted:
        raise NotFound(f"session {log.session!r} was deleted while it was followed")
    looks = not fresh or any(event.type in ("claim", "status") for event in fresh)
    return (yield from _alive(log)) if looks else None


def _alive(log: Log) -> Steps[bool]:
    """Whether the worker of the claim in force lives. As `holder_alive`, without folding the log for it."""
    count = log.count
    if not count.held or not count.claims:
        return False
    return bool((yield LeaseHeld(log.path, text(count.claims[-1], "nonce"))))


def forks_of(core: Core, log: Log) -> Steps[list[tuple[Entry, int]]]:
    """The sessions that were forked from this one, each with its fork point."""
    lives = {birth.incarnation for _, birth in log.births}
    found = yield from entries(core)
    return [
        (entry, entry.births[-1][0])
        for entry in found
        if entry.summary.parent == log.session and len(entry.births) > 1 and entry.births[-2][1] in lives
    ]
