"""What a response to a front end is made of: the sequence so far, and how it goes on."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.frontends.ag_ui import AgUi
from agentstream.frontends.ai_sdk import AiSdk

if TYPE_CHECKING:
    from agentstream.session import AsyncSession
    from agentstream.sessions.events import Event
    from agentstream.sessions.positions import Position

HEARTBEAT = 15.0
"""Seconds after which a comment is sent where there is nothing else: proxies keep the connection."""

KEPT = 2000
"""Of what was sent, how much is kept for who comes again."""

AT_ONCE = 200
"""Events that are read before others on the event loop get their turn."""

_STREAM = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
_UI = {**_STREAM, "x-vercel-ai-ui-message-stream": "v1"}


class View(ABC):
    """A sequence that is being read: what of it there is, and how it goes on."""

    def __init__(self, session: AsyncSession, query: dict[str, str]) -> None:
        self.session = session
        self.query = query
        self.sent: list[Any] = []
        """The end of the sequence: all there was when it was asked for, later the last of it."""
        self.begin = 0
        """How much of the sequence stands before that."""
        self.first = 0
        self.asked: int | None = None
        self.seen = 0
        """How many events are taken."""
        self._last: Position | None = None

    @property
    def count(self) -> int:
        """How long the sequence is."""
        return self.begin + len(self.sent)

    def knows(self, first: int | None) -> bool:
        """Whether a reader who has all before `first` can be given the rest."""
        return first is not None and self.begin <= first <= self.count

    async def read(self, first: int | None) -> None:
        """Reads what there is, or has come since.

        ValueError where this is no more the session that was read: its id was used again.
        """
        self.asked = first
        async for event in self.session.events(start=self._last):
            self._take(event)
            if self.seen % AT_ONCE == 0:
                await asyncio.sleep(0)
        self.first = max(0, self.count + first if first is not None and first < 0 else first or 0)

    def _take(self, event: Event) -> None:
        self.seen, self._last = event.index + 1, event.position
        self.take(event)

    @abstractmethod
    def take(self, event: Event) -> None:
        """Adds what an event adds to the sequence."""

    @property
    @abstractmethod
    def live(self) -> bool:
        """Whether more is to come."""

    @abstractmethod
    def nothing(self) -> bool:
        """Whether there is nothing to send."""

    def headers(self) -> dict[str, str]:
        return _STREAM

    def beginning(self) -> list[Any]:
        """What stands before the first, and is no part of the sequence."""
        return []

    def ending(self) -> list[bytes]:
        return []

    async def parts(self) -> AsyncIterator[bytes | None]:
        """The response, piece by piece; None where nothing came for a while."""
        begins = b"".join(_data(each) for each in self.beginning())
        number = self.first
        told, number = self._since(number)
        yield begins + told
        if self.live:
            async for event in _coming(self.session, self.seen):
                if event is not None:
                    self._take(event)
                shown, number = self._since(number)
                yield shown or None
                if not self.live:
                    break
        for each in self.ending():
            yield each

    def _since(self, number: int) -> tuple[bytes, int]:
        """What is to be sent to who has all before this number, and the number that comes next."""
        first = max(number - self.begin, 0)
        told = b"".join(_data(each, at) for at, each in enumerate(self.sent[first:], self.begin + first))
        number = max(number, self.count)
        if len(self.sent) > 2 * KEPT:
            self.begin = self.count - KEPT
            del self.sent[:-KEPT]
        return told, number


class AgUiView(View):
    """A session, from its start; live while a run is worked on, and with `live=1` for as long as there is a reader."""

    def __init__(self, session: AsyncSession, query: dict[str, str]) -> None:
        super().__init__(session, query)
        self._translation = AgUi(query.get("threadId") or session.id)
        self._joins = query.get("start") == "now"

    async def read(self, first: int | None) -> None:
        await super().read(first)
        if self._joins and first is None:
            self.first = self.count

    def take(self, event: Event) -> None:
        self.sent += self._translation.add(event)

    @property
    def live(self) -> bool:
        return self._translation.run is not None or self.query.get("live") == "1"

    def nothing(self) -> bool:
        return not self.live and self.first >= self.count

    def beginning(self) -> list[Any]:
        return self._translation.opening() if self._joins and self.asked is None else []


class AiSdkView(View):
    """The message of a run: the one that goes on, else (where an index or a run was named) the last or that one."""

    def __init__(self, session: AsyncSession, query: dict[str, str]) -> None:
        super().__init__(session, query)
        self._translation = AiSdk()
        self._run = query.get("run")
        self._found = False
        self._passed = False

    def take(self, event: Event) -> None:
        if self._passed:
            return
        translation = self._translation
        before = translation.ending() if translation.run is not None else []
        chunks = translation.add(event)
        if self._run is not None and translation.run != self._run:
            if self._found:
                self._passed, self._end = True, before
            return
        if translation.begins:
            self.sent, self.begin = [], 0
        self._found = self._found or translation.run is not None
        self.sent += chunks

    @property
    def live(self) -> bool:
        return self._found and not self._passed and self._translation.active

    def nothing(self) -> bool:
        if not self._found and self._run is not None:
            raise NotFound(f"session {self.session.id!r} has no run {self._run!r}")
        named = self.asked is not None or self._run is not None
        return not self._found or not (self.live or named)

    def headers(self) -> dict[str, str]:
        if not self._found:
            return {}
        run = self._run or self._translation.run or ""
        return {**_UI, "x-workflow-run-id": run, "x-workflow-stream-tail-index": str(self._tail)}

    async def read(self, first: int | None) -> None:
        await super().read(first)
        self._tail = self.count - 1

    def ending(self) -> list[bytes]:
        ends = self._end if self._passed else self._translation.ending()
        return [*(_data(chunk) for chunk in ends), b"data: [DONE]\n\n"]


async def _coming(session: AsyncSession, start: int) -> AsyncIterator[Event | None]:
    """The events that come, as they come; None where none did for a while."""
    events = session.follow(start=start)
    waiting: asyncio.Future[Event] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait((waiting,), timeout=HEARTBEAT)
            if not done:
                yield None
                continue
            try:
                event = waiting.result()
            except StopAsyncIteration:
                return
            waiting = None
            yield event
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()


def _data(value: Any, id: int | None = None) -> bytes:
    named = f"id: {id}\n" if id is not None else ""
    return f"{named}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode(
        "utf-8", "surrogatepass"
    )
