"""`AgentStreamSession`: the SDK's Session protocol over a session of agentstream."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import reduce
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from agents import AgentsException, SessionSettings, UserError

from agentstream import AsyncClient, AsyncSession, Client, NotFound, Session
from agentstream.adapters import adrive, aopen_step, muted
from agentstream.adapters.appending import append_all
from agentstream.adapters.here import run_here
from agentstream.adapters.making import amade, atold
from agentstream_openai_agents._items import (
    ADD,
    CLEAR,
    KEEP,
    KIND,
    POP,
    REPLACE,
    Change,
    Items,
    applied,
    events_of,
    history,
    items_of,
)

if TYPE_CHECKING:
    from agents.items import TResponseInputItem
    from agents.memory.session import OpenAIResponsesCompactionArgs

Compact = Callable[[Items], "Items | Awaitable[Items | None] | None"]
"""Given the conversation, what it is to be from now on; None leaves it as it is."""


class AgentStreamSession:
    """The conversation of a session of agentstream, as the Agents SDK's memory (its `Session` protocol).

        Runner.run(agent, "hi", session=AgentStreamSession(client, "chat/42"))

    The conversation is a fold of the session's events: nothing is ever overwritten, it can be followed live, and
    `fork` branches it at any item. What another SDK said in the session before stands at its beginning.

    Within a durable run (`run_durable`, an `@agent` of this session) it reads as of the run's start and with what the
    run itself added, the same on resume and replay.

    - `session`: a Client or AsyncClient together with `session_id`, or a session's handle.
    - `session_settings`: the SDK's; `limit` is the number of items that `get_items` gives, all by default.
    - `compact`: called with the items after each turn; the items it returns (it may be async) take their place.
      Within a run it is a step.
    """

    def __init__(
        self,
        session: Client | AsyncClient | Session | AsyncSession,
        session_id: str | None = None,
        *,
        session_settings: SessionSettings | None = None,
        compact: Compact | None = None,
    ) -> None:
        if isinstance(session, (Client, AsyncClient)):
            if session_id is None:
                raise TypeError("AgentStreamSession(client, session_id): which session of it?")
            session = session.session(session_id)
        elif not isinstance(session, (Session, AsyncSession)):
            raise TypeError(f"an AgentStreamSession takes a Client or a session of one, not {session!r}")
        elif session_id not in (None, session.id):
            raise ValueError(f"session_id={session_id!r}, but the session is {session.id!r}")
        self.session: AsyncSession = session if isinstance(session, AsyncSession) else session.to_async()
        """The session whose events the conversation is a fold of."""
        self.session_id = self.session.id
        self.session_settings: SessionSettings | None = session_settings
        self._here: WeakKeyDictionary[Any, Items] = WeakKeyDictionary()
        self._held: WeakKeyDictionary[Any, list[Change]] = WeakKeyDictionary()
        """By run: what the SDK added while a call's error went through it; recorded when the code goes on."""
        if compact is not None:
            self._compact = compact
            self.run_compaction = self._run_compaction  # the SDK asks whether there is one

    # --- the protocol ------------------------------------------------------------------------------------------------

    async def get_items(self, limit: int | None = None, *, wrapper: Any = None) -> list[TResponseInputItem]:
        """The conversation, the last `limit` items of it."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        items = await self._items()
        return copy.deepcopy(items if limit is None else items[-limit:] if limit > 0 else [])

    async def add_items(self, items: list[TResponseInputItem], *, wrapper: Any = None) -> None:
        """Adds items at the end, all of them or none."""
        if not items:
            return
        run, change = run_here(), Change(ADD, list(items))
        if run is not None and _breaks_off():
            self._held.setdefault(run, []).append(change)
        else:
            await self._change(change)

    async def pop_item(self, *, wrapper: Any = None) -> TResponseInputItem | None:
        """Takes the last item away and gives it back, None if there is none."""
        return (await self._change(Change(POP)) or [None])[-1]

    async def clear_session(self, *, wrapper: Any = None) -> None:
        """Takes all items away."""
        await self._change(Change(CLEAR))

    # --- beyond it ---------------------------------------------------------------------------------------------------

    async def replace_items(self, items: list[TResponseInputItem]) -> None:
        """Puts other items in the place of all."""
        await self._change(Change(REPLACE, list(items)))

    async def fork(self, new_id: str, *, items: int) -> AgentStreamSession:
        """A new session with the first `items` items of this conversation; nothing is copied.

        Any item, also between a tool call and its result. ValueError if there are not so many; SessionExists.
        """
        cuts = list(history(await self.session.state()))
        whole = cuts[-1][1]
        if not 0 <= items <= len(whole):
            raise ValueError(f"session {self.session_id!r} has {len(whole)} items, not {items}")
        cut, found = next(each for each in cuts if len(each[1]) >= items and each[1][:items] == whole[:items])
        branch = await self.session.fork(new_id, at=cut)
        await branch.cancel()
        made = AgentStreamSession(
            branch, session_settings=self.session_settings, compact=getattr(self, "_compact", None)
        )
        if len(found) > items:
            await made._change(Change(KEEP, items))
        return made

    async def _run_compaction(self, args: OpenAIResponsesCompactionArgs | None = None) -> None:
        items = await self.get_items(limit=None)

        async def compacted() -> Items | None:
            made = self._compact(items)
            return await made if inspect.isawaitable(made) else made

        if run_here() is None:
            made = await compacted()
        else:
            made = await amade(await aopen_step(KIND, "compact", {"items": items}), compacted)
        if made is not None:
            await self.replace_items(made)

    # --- how ---------------------------------------------------------------------------------------------------------

    async def _items(self) -> Items:
        run = run_here()
        if run is None:
            return await self._stored()
        if not _breaks_off():
            await self._settle(run)
            return await self._items_in(run)
        with muted():
            before = await self._items_in(run) if run.session == self.session_id else await self._stored()
        return reduce(applied, self._held.get(run, ()), before)

    async def _items_in(self, run: Any) -> Items:
        if run.session != self.session_id:
            return await amade(await aopen_step(KIND, "get_items", {"session": self.session_id}), self._stored)
        if run not in self._here:
            self._here[run] = await self._stored()
        return self._here[run]

    async def _stored(self) -> Items:
        try:
            return items_of(await self.session.state())
        except NotFound:
            return []

    async def _settle(self, run: Any) -> None:
        """The code has gone on: what was held back is recorded."""
        for change in self._held.pop(run, ()):
            await self._change(change)

    async def _change(self, change: Change) -> Items:
        """Makes a change; gives the items that it changed."""
        run = run_here()
        if run is None:
            return await self._append(change)
        await self._settle(run)
        said = {} if change.value is None else {"value": change.value}
        if run.session != self.session_id:
            asked = {"session": self.session_id, **said}
            return await amade(await aopen_step(KIND + "s", change.name, asked), lambda: self._append(change))
        before = await self._items_in(run)
        await atold(KIND, change.name, said)
        self._here[run] = applied(before, change)
        return before

    async def _append(self, change: Change) -> Items:
        before = await self._stored() if change.name == POP else []
        if change.name == POP and not before:
            return []
        keys = await adrive(self.session, append_all(self.session, self.session_id, events_of(change)))
        if change.name != POP:
            return []
        state = await self.session.state()
        event = state.find("items", keys[-1])
        return items_of(state.cut(event.index)) if event is not None else before


def _breaks_off() -> bool:
    """Whether the SDK is dealing with the error of a call, which ends what it does.

    A step would say that the code went on from that error, and the call would not be made again. What the SDK itself
    raises (a guardrail, too many turns) comes the same way on resume, and what the caller's code deals with is its own.
    """
    error = sys.exc_info()[1]
    if error is None or (isinstance(error, AgentsException) and not isinstance(error, UserError)):
        return False
    trace = error.__traceback__  # its first frame is the one that the error has come to
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "agents"
