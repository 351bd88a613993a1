"""The logs of subscriptions, in streams of the store that no client sees; written by compare and append.

Each record is appended by one producer, whose sequence number is the record's number: of two
workers that decide on the same state one is told so, reads on, and decides again. A log that
has grown long is closed with a record of all that it came to, and the next segment begins with
that; who finds it closed makes the next segment if nobody did yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, unquote

import msgspec
from msgspec.structs import replace

from agentstream.backends.base import Backend, List, Listed
from agentstream.protocol.errors import ProtocolError, SequenceGap, StreamClosed, StreamGone, StreamNotFound
from agentstream.protocol.operations import (
    JSON,
    START,
    Append,
    Appended,
    Batch,
    Create,
    Created,
    Delete,
    Producer,
    Read,
)
from agentstream.server.subscriptions.records import Change, Config, Subscription

FOLDER = "~ds/subscriptions/"
LONGEST = 400
"""Records of a segment."""

Decide = Callable[[Subscription], "Change | None"]
"""What is to be changed given the state; None for nothing. May raise."""

_decoder = msgspec.json.Decoder(Change)


class Known(msgspec.Struct):
    """What this worker has read of one log."""

    number: int
    offset: str
    life: str | None
    state: Subscription
    records: int
    closed: bool = False


class Ledger:
    """Every subscription of a store."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._me = secrets.token_hex(8)
        self._known: dict[str, Known] = {}
        self._number = 0

    async def ids(self) -> list[str]:
        """All that there are, by id."""
        found: dict[str, None] = {}
        after = ""
        while True:
            page: tuple[Listed, ...] = await self._backend.aexecute(List(FOLDER, after))
            if not page:
                return list(found)
            found.update((id_of(listed.path), None) for listed in page)
            after = page[-1].path

    async def get(self, id: str) -> Subscription | None:
        """The subscription as it is now, None if there is none."""
        known = self._known.get(id)
        if known is None or not await self._read_on(known):
            known = await self._load(id)
        if known is None or known.state.removed:
            self._known.pop(id, None)
            return None
        self._known[id] = known
        return known.state

    async def create(self, id: str, first: Change) -> tuple[Subscription, bool]:
        """The subscription, and whether it was made now; else it is one that was there."""
        assert first.config is not None
        while True:
            there = await self.get(id)
            if there is not None:
                return there, there.config.nonce == first.config.nonce
            made: Created = await self._backend.aexecute(Create(_path(id, 0), (_encoded(first),)))
            if not made.new:
                known = await self._load(id)
                if known is not None and known.state.removed:
                    await self._clear_away(id)  # a removal was interrupted

    async def change(self, id: str, decide: Decide) -> Subscription | None:
        """Makes the change that `decide` finds right, on the newest state. None if there is no such subscription."""
        while True:
            state = await self.get(id)
            if state is None:
                return None
            change = decide(state)
            if change is None:
                return state
            if await self._append(self._known[id], change):
                return await self.get(id)

    async def remove(self, id: str) -> bool:
        """Removes it; False if there was none."""
        if await self.change(id, lambda state: Change(removed=True)) is None and not await self._segments(id):
            return False
        await self._clear_away(id)
        return True

    # --- one log -----------------------------------------------------------------------------------

    async def _append(self, known: Known, change: Change) -> bool:
        """One record, if nobody was faster."""
        self._number += 1
        change = replace(change, by=f"{self._me}.{self._number}")
        body = [change]
        full = known.records >= LONGEST and not change.removed
        if full:
            body.append(known.state.with_change(change).whole())
        producer = Producer("ledger", 0, known.records - 1)
        path = _path(known.state.id, known.number)
        try:
            done: Appended = await self._backend.aexecute(
                Append(path, tuple(map(_encoded, body)), JSON, producer, close=full or change.removed)
            )
        except (SequenceGap, StreamClosed, StreamNotFound, StreamGone):
            return False
        return not done.duplicate

    async def _load(self, id: str) -> Known | None:
        while True:
            segments = await self._segments(id)
            if not segments:
                return None
            number = segments[-1]
            known = Known(number, START, None, Subscription(id, Config("webhook", 0)), 0)
            try:
                if not await self._read_on(known):
                    continue
            except (StreamNotFound, StreamGone):
                continue
            if not known.closed or known.state.removed:
                for old in segments[:-1]:
                    await self._forget(_path(id, old))
                return known
            # the segment was full: begin the next one, unless another worker did
            await self._backend.aexecute(Create(_path(id, number + 1), (_encoded(known.state.whole()),)))

    async def _read_on(self, known: Known) -> bool:
        """Folds what was appended since; False if this log is over or is not the one it was."""
        fresh = known.records == 0
        while True:
            try:
                page: Batch = await self._backend.aexecute(Read(_path(known.state.id, known.number), known.offset))
            except (StreamNotFound, StreamGone):
                return False
            if known.life is not None and page.life != known.life:
                return False
            for record in page.messages:
                known.state = known.state.with_change(_decoder.decode(record))
                known.records += 1
            known.offset, known.life, known.closed = page.offset, page.life, page.closed
            if page.up_to_date:
                return fresh or not page.closed

    async def _segments(self, id: str) -> list[int]:
        folder = f"{FOLDER}{quote(id, safe='')}/"
        found: tuple[Listed, ...] = await self._backend.aexecute(List(folder))
        return [int(listed.path.removeprefix(folder)) for listed in found]

    async def _clear_away(self, id: str) -> None:
        self._known.pop(id, None)
        for number in await self._segments(id):
            await self._forget(_path(id, number))

    async def _forget(self, path: str) -> None:
        with suppress(ProtocolError):
            await self._backend.aexecute(Delete(path))


def id_of(path: str) -> str:
    """The subscription that a stream below `FOLDER` is the log of."""
    return unquote(path.removeprefix(FOLDER).partition("/")[0])


def _path(id: str, number: int) -> str:
    return f"{FOLDER}{quote(id, safe='')}/{number:08d}"


def _encoded(change: Change) -> bytes:
    return msgspec.json.encode(change)
