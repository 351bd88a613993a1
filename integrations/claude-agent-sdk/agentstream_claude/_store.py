"""`StreamSessionStore`: where the Claude Agent SDK keeps its sessions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4
from weakref import WeakValueDictionary

from anyio import Lock, to_thread
from anyio.lowlevel import RunVar
from claude_agent_sdk import StreamEvent, fold_session_summary, project_key_for_directory

from agentstream import AsyncClient, Client, Messages, NotFound, SessionExists
from agentstream.adapters import adrive, drive, fold, recorder, session_ids
from agentstream_claude._carrying import lines_of
from agentstream_claude._entries import BESIDE, HOLDING, entry_of
from agentstream_claude._live import Saying
from agentstream_claude._mirror import Mirror

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

    from agentstream.adapters import Log, Steps

T = TypeVar("T")

MIRRORS = 256
"""Transcripts that a store is ready to write at once; for others it claims anew."""

_locks: RunVar[WeakValueDictionary[tuple[int, str], Lock]] = RunVar("agentstream_claude_locks")


class StreamSessionStore:
    """Keeps each transcript as the session `<prefix>/<project>/<session id>`, a subagent's as one below it.

    For `ClaudeAgentOptions(session_store=…)`; `session_store_flush="eager"` writes each line as it comes, and followers
    see it then. What is appended is durable when `append` returns, each line once, whoever writes it again. `client` is
    a Client or an AsyncClient; the SDK may run under asyncio or trio.

    Raises NotSerializable, StoreError, Unavailable: the SDK tries an append again, and then says so in the stream of
    messages. On a server that cannot list its streams, the sessions are those that clients of this library made.
    """

    def __init__(self, client: Client | AsyncClient, *, prefix: str = "claude") -> None:
        self._client = client.to_async() if isinstance(client, Client) else client
        self._prefix = prefix
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        self._summaries: dict[str, tuple[Any, SessionSummaryEntry]] = {}

    # --- what the SDK asks for ---------------------------------------------------------------------------------------

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Appends lines of a transcript; those whose uuid is there are left out. Durable when it returns."""
        if not entries:
            return
        session = self.session_id(key)
        async with _lock(self, session):
            await self._drive(self._mirror(session).append(entries))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Every line of a transcript in order; None if there is none.

        Lines that a fork shares with its source come with the fork's session id.
        """
        return await self._load(key)

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """The sessions of a project, without those of subagents; `mtime` is the time of the last event."""
        return [{"session_id": id, "mtime": mtime} for id, _, mtime in await self._of_project(project_key)]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """The SDK's summary of each session: a fold of its lines, made anew only where lines came."""
        found: list[SessionSummaryEntry] = []
        for id, size, mtime in await self._of_project(project_key):
            key: SessionKey = {"project_key": project_key, "session_id": id}
            session = self.session_id(key)
            stamp, summary = self._summaries.get(session, (None, None))
            if summary is None or stamp != (size, mtime):
                summary = fold_session_summary(None, key, await self._load(key) or [])
                summary["mtime"] = mtime
                self._summaries[session] = ((size, mtime), summary)
            found.append({**summary, "data": dict(summary["data"])})
        return found

    async def delete(self, key: SessionKey) -> None:
        """Deletes a transcript, and with a main one those of its subagents. Forks of it stay whole."""
        session = self.session_id(key)
        below = [] if key.get("subpath") else await self._below(session)
        for id in (*below, session):
            self._mirrors.pop(id, None)
            self._summaries.pop(id, None)
            await self._drive(recorder(self._client, id).delete())

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """The subpaths of a session: its subagents' transcripts."""
        session = self.session_id(cast("SessionKey", key))
        return [id[len(session) + 1 :] for id in await self._below(session)]

    # --- what agentstream adds ---------------------------------------------------------------------------------------

    def session_id(self, key: SessionKey) -> str:
        """The id of the agentstream session that holds a transcript: `client.session(id)` shows and follows it."""
        place = f"{self._project(key['project_key'])}{_segment(key['session_id'])}"
        subpath = key.get("subpath")
        return f"{place}/{subpath}" if subpath else place

    async def fork(
        self,
        session_id: str,
        new_id: str | None = None,
        *,
        at: str | None = None,
        project_key: str | None = None,
        directory: str | Path | None = None,
    ) -> str:
        """A session of its own that shares another's history, up to the line of uuid `at` (kept); returns its id.

        No line is copied. `ClaudeAgentOptions(resume=…)` goes on with it. `new_id` is by default a new UUID, the
        project that of `directory`, by default the current one. Subagents' transcripts are shared whole. NotFound
        if there is no such session or line, SessionExists where `new_id` is taken.
        """
        project = project_key or project_key_for_directory(directory)
        new_id = new_id or str(uuid4())
        source = self.session_id({"project_key": project, "session_id": session_id})
        to = self.session_id({"project_key": project, "session_id": new_id})
        cut = None if at is None else await self._cut(source, at)
        await self._ask(lambda client: client.session(source).fork(to, at=cut))
        for below in await self._below(source):
            await self._ask(lambda client, below=below: client.session(below).fork(to + below[len(source) :]))
        return new_id

    async def continue_from(
        self,
        messages: Messages,
        new_id: str | None = None,
        *,
        model: str | None = None,
        project_key: str | None = None,
        directory: str | Path | None = None,
    ) -> str:
        """A session that begins with what another one said, whichever SDK recorded that; returns its id.

        `messages` are that session's (`session.state().messages`). `ClaudeAgentOptions(resume=…)` goes on with it.
        Calls are there with their results; one that has none is closed by one that says it was interrupted. System
        messages are left out: `ClaudeAgentOptions(system_prompt=…)` takes `messages.as_anthropic().get("system")`.
        Thoughts go along that the API signed, and the CLI gives them to the model that thought them: `model`, where
        the messages do not name it. `new_id` and the project are as for `fork`.

        TypeError for other lists of messages, ValueError where nothing was said, SessionExists where `new_id` is taken,
        BlobLost where an attachment is gone.
        """
        if not isinstance(messages, Messages):
            raise TypeError(f"continue_from takes session.state().messages, not {messages!r:.100}")
        new_id = new_id or str(uuid4())
        key: SessionKey = {
            "project_key": project_key or project_key_for_directory(directory),
            "session_id": new_id,
        }
        place = str(directory or Path.cwd())
        # attachments are read from the store as they are met
        lines = await to_thread.run_sync(lambda: list(lines_of(messages, new_id, place, model)))
        if not lines:
            raise ValueError("the messages say nothing that a session could go on from")
        if await self._load(key) is not None:
            raise SessionExists(f"session {self.session_id(key)!r} is there: give another new_id, or none")
        await self.append(key, cast("list[SessionStoreEntry]", lines))
        return new_id

    async def publish(
        self, messages: AsyncIterable[T], *, project_key: str | None = None, directory: str | Path | None = None
    ) -> AsyncIterator[T]:
        """The same messages, and what the model says reaches followers of the session while it says it.

        `messages` is what `query` or a client's `receive_response` gives with `include_partial_messages=True`; its text
        becomes `delta` events, which the mirrored line closes. `directory` is the options' `cwd`.
        """
        project = project_key or project_key_for_directory(directory)
        saying = Saying()
        async for message in messages:
            if isinstance(message, StreamEvent) and message.parent_tool_use_id is None and saying.tells(message.event):
                session = self.session_id({"project_key": project, "session_id": message.session_id})
                async with _lock(self, session):
                    hold = await self._drive(self._mirror(session).held())
                saying.feed(message.event, hold)
            yield message

    # --- how ---------------------------------------------------------------------------------------------------------

    def _project(self, project_key: str) -> str:
        return f"{self._prefix}/{_segment(project_key)}/"

    def _mirror(self, session: str) -> Mirror:
        mirror = self._mirrors.pop(session, None) or Mirror(self._client, session)
        self._mirrors[session] = mirror
        while len(self._mirrors) > MIRRORS:
            self._mirrors.popitem(last=False)
        return mirror

    async def _of_project(self, project_key: str) -> list[tuple[str, int, int]]:
        """Of each main transcript its id, how many events it has, and when the last came, in milliseconds."""
        prefix = self._project(project_key)
        there = await self._ask(lambda client: client.sessions(prefix=prefix))
        return [
            (_named(each.id[len(prefix) :]), each.events, round(each.updated.timestamp() * 1000))
            for each in there
            if "/" not in each.id[len(prefix) :]
        ]

    async def _below(self, session: str) -> list[str]:
        return sorted(await self._drive(session_ids(self._client, f"{session}/")))

    async def _cut(self, session: str, uuid: str) -> int:
        """How many events are kept with a line: with what stands beside it."""
        log = await self._drive(recorder(self._client, session).read())
        events = [] if log is None else list(log.events)
        for event in events:
            if event.key == uuid and event.type in HOLDING and event.mark is None:
                after = event.index + 1
                while after < len(events) and events[after].type in BESIDE:
                    after += 1
                return after
        raise NotFound(f"session {session!r} has no line of uuid {uuid!r} to be forked at")

    async def _load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        log = await self._drive(recorder(self._client, self.session_id(key)).read())
        if log is None:
            return None
        # large values are read from the store as they are met
        return await to_thread.run_sync(_lines, log, key["session_id"]) or None

    async def _drive(self, steps: Steps[T]) -> T:
        if _in_asyncio():
            return await adrive(self._client, steps)
        return await to_thread.run_sync(drive, self._client, steps)

    async def _ask(self, ask: Callable[[Any], Any]) -> Any:
        """What `ask` gets of the client: an AsyncClient under asyncio, a Client on a thread under trio."""
        return await ask(self._client) if _in_asyncio() else await to_thread.run_sync(ask, self._client.to_sync())


def _in_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _lock(store: StreamSessionStore, session: str) -> Lock:
    """Held while a session is appended to: calls are done in the order in which they came."""
    try:
        locks = _locks.get()
    except LookupError:
        locks = WeakValueDictionary[tuple[int, str], Lock]()
        _locks.set(locks)
    return locks.setdefault((id(store), session), Lock())


def _lines(log: Log, session_id: str) -> list[Any]:
    state = fold(log)
    found: list[Any] = []
    for event in state.events:
        entry = entry_of(event)
        if entry is not None:
            if event.index < state.inherited and "sessionId" in entry:
                entry = {**entry, "sessionId": session_id}
            found.append(entry)
    return found


def _segment(name: str) -> str:
    """A key as one segment of a session's id."""
    name = name.replace("%", "%25").replace("/", "%2F")
    return name.replace(".", "%2E") if name in (".", "..") else name


def _named(segment: str) -> str:
    return segment.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")
