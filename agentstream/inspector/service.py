"""What the inspector does, apart from how it is asked: over one client, for one event loop."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agentstream.backends.driving import adrive
from agentstream.errors import NotFound
from agentstream.inspector.documents import SCHEMA
from agentstream.inspector.documents.beginnings import add_beginnings
from agentstream.inspector.documents.cutting import at_pointer
from agentstream.inspector.documents.details import Details, raw_document
from agentstream.inspector.documents.listing import listing_document
from agentstream.inspector.documents.messages import conversation_document
from agentstream.inspector.documents.rows import STEP
from agentstream.inspector.documents.states import state_document
from agentstream.inspector.exporting import embedded_documents, page_with, read_page
from agentstream.inspector.finding import LONGEST, find
from agentstream.inspector.jobs import Jobs
from agentstream.inspector.requests import Failed, encoded
from agentstream.inspector.sessions import Sessions
from agentstream.sessions.attachments import Attachment
from agentstream.sessions.prices import cost_of, prices_from
from agentstream.sessions.references import JSON, TEXT, ref_in
from agentstream.sessions.search import Query, sessions
from agentstream.sessions.views.compared import check_source
from agentstream.sessions.views.folded import cost_json
from agentstream.sessions.views.readable import as_document, as_markdown
from agentstream.sessions.views.tree import family, nested
from agentstream.sessions.views.values import resolved_value

if TYPE_CHECKING:
    from agentstream.client import AsyncClient
    from agentstream.inspector.held import Told
    from agentstream.sessions.prices import Prices
    from agentstream.sessions.search import Sort
    from agentstream.sessions.state import State

STATUSES = ("running", "waiting", "failed", "cancelled", "exhausted", "finished", "abandoned")
LARGEST = 64 * 1024 * 1024
"""Bytes of a value that is given whole."""
MOST_EVENTS = 100
"""Events whose documents are given at once."""


class Start(NamedTuple):
    """Where the page begins."""

    session: str
    at: int | None = None


class Inspector:
    """`file` names the export that is looked at, where it is one; `url` is what was typed to name the store."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        read_only: bool = False,
        start: Start | None = None,
        file: str | None = None,
        prices: Prices | None = None,
        url: str | None = None,
    ) -> None:
        self.client = client
        self.core = client._core  # pyright: ignore[reportPrivateUsage]
        self.read_only = read_only
        self.start = start
        self.file = file
        self.url = url
        self.prices = prices if prices is not None else prices_from()
        self.sessions = Sessions(self.core, self.prices)
        self.jobs = Jobs(self)

    @property
    def place(self) -> str | None:
        """How another process names the store; None of one that is in this process."""
        return None if self.client.name == "memory:" else self.client.name

    def typed(self, arguments: Sequence[str]) -> str:
        """A command line as it is typed where this inspector was begun."""
        return shlex.join(["agentstream", *arguments, *(["--url", self.url] if self.url is not None else [])])

    async def close(self) -> None:
        """Ends what is read live, and what runs."""
        await self.sessions.close()
        await self.jobs.close()

    def about(self) -> dict[str, Any]:
        """What the page says of where it looks."""
        from agentstream import __version__

        traits = self.core.backend.traits
        return {
            "schema": SCHEMA,
            "version": __version__,
            "store": self.file or self.client.name,
            "readOnly": self.read_only,
            "lists": traits.lists or traits.catalogs,
            "file": self.file,
            "start": self.start._asdict() if self.start is not None else None,
            "statuses": STATUSES,
        }

    async def listing(
        self, *, q: str, status: frozenset[str], agent: str, sort: Sort, reverse: bool, offset: int, limit: int,
        **conditions: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """A page of the sessions there are."""
        if not self.about()["lists"]:
            return listing_document([], self.prices, q="", status=frozenset(), agent="", offset=0, limit=0)
        query = Query(sort=sort, reverse=reverse, **conditions)
        found = await self.sessions.listed(lambda: sessions(self.core, query))
        return listing_document(found, self.prices, q=q, status=status, agent=agent, offset=offset, limit=limit)

    async def events(self, session: str, indexes: list[int]) -> dict[str, Any]:
        """The documents of some events."""
        held = await self.sessions.current(session)
        outside = [index for index in indexes if not 0 <= index < held.told.size]
        if outside:
            raise Failed(404, "not_found", f"session {session!r} has {held.told.size} events; there is no {outside[0]}")
        details = Details(held.told, [{"id": id, "at": at, "status": status} for id, at, status in held.children])

        def documents() -> list[dict[str, Any]]:
            found = [details.of(index) for index in indexes]
            for each in found:
                add_beginnings(each, self.core.blobs)
            return found

        return {"events": await asyncio.to_thread(documents)}

    async def state(self, session: str, at: int | None) -> dict[str, Any]:
        """What the events before a cut amount to."""
        held = await self.sessions.current(session)
        size = held.told.size
        at = size if at is None else at
        if not 0 <= at <= size:
            raise Failed(404, "not_found", f"session {session!r} has {size} events; there is no cut at {at}")
        return await asyncio.to_thread(lambda: state_document(held.told.readable(at), self.prices))

    async def conversation(self, session: str, at: int, last: int) -> dict[str, Any]:
        """The last messages of what was said before a cut."""
        held = await self.sessions.current(session)
        if not 0 <= at <= held.told.size:
            raise Failed(404, "not_found", f"session {session!r} has {held.told.size} events; there is no cut at {at}")
        return await asyncio.to_thread(lambda: conversation_document(held.told.readable(at), last))

    async def find(self, session: str, text: str, after: int) -> dict[str, Any]:
        """The events that say a text, from `after` on; as far as one answer goes."""
        if not text or len(text) > LONGEST:
            raise Failed(400, "invalid", f"q= is a text of 1 to {LONGEST} characters")
        held = await self.sessions.current(session, whole=False)
        return await asyncio.to_thread(find, held.told, text, after)

    async def raw(self, session: str, index: int) -> dict[str, Any]:
        """An event as it is stored."""
        held = await self.sessions.current(session)
        if not 0 <= index < held.told.size:
            raise Failed(404, "not_found", f"session {session!r} has {held.told.size} events; there is no {index}")
        return raw_document(held.told.events[index])

    async def value(self, session: str, index: int, path: str, of: str) -> dict[str, Any]:
        """The whole of a value that was cut: what a JSON pointer leads to in an event's value, step or run."""
        held = await self.sessions.current(session)
        if not 0 <= index < held.told.size:
            raise Failed(404, "not_found", f"session {session!r} has {held.told.size} events; there is no {index}")
        found = await asyncio.to_thread(lambda: whole_value(held.told, index, path, of))
        ref = ref_in(found)
        if ref is None:
            return {"value": found}
        if ref.size > LARGEST:
            raise Failed(413, "too_large", f"this is {ref.size} bytes; the page takes at most {LARGEST}")
        content = await asyncio.to_thread(Attachment(ref, self.core.blobs).read)
        if ref.encoding == TEXT:
            return {"value": content.decode("utf-8", "replace")}
        if ref.encoding == JSON:
            return {"value": json.loads(content)}
        data = base64.b64encode(content).decode()
        return {"value": None, "base64": data, "media_type": ref.type, "name": ref.name}

    async def tree(self, session: str | None) -> dict[str, Any]:
        """The family of a session."""
        roots = await adrive(family(self.core, session, self.prices), self.core.backend)
        return {"roots": [nested(root, 0, None) for root in roots]}

    async def sides(self, left: str, right: str | None) -> tuple[State, State]:
        """The states to compare, of `SESSION` or `SESSION@N`. A branch stands on the right of its source."""
        one = await self._side(left)
        if right:
            return one, await self._side(right)
        if one.lineage is None:
            raise Failed(400, "invalid", f"session {one.session!r} is no fork", "choose a session to compare it with")
        source = (await self.sessions.current(one.lineage.source)).told.readable()
        check_source(source, one)
        return source, one

    async def _side(self, text: str) -> State:
        session, at = split_place(text)
        try:
            state = (await self.sessions.current(session)).told.readable()
        except NotFound:
            if at is None:
                raise
            return (await self.sessions.current(text)).told.readable()  # an id that looks like a place
        if at is not None and at > state.index:
            raise Failed(404, "not_found", f"session {session!r} has {state.index} events; there is no cut at {at}")
        return state if at is None else state.cut(at)

    async def estimate(self, session: str, start: int, model: str | None) -> dict[str, Any]:
        """What the steps from an event on cost, by the record."""
        held = await self.sessions.current(session)
        outcomes = [event for event in held.told.readable().of_type("outcome") if event.index >= start]
        return cost_json(cost_of(outcomes, self.prices, model=model))

    async def export(self, session: str, form: str, *, forks: bool) -> tuple[str, bytes]:
        """A session as a file: its media type, and what is in it."""
        if form == "jsonl":
            file = io.BytesIO()
            await self.client.session(session).export(file, forks=forks)
            return "application/x-ndjson", file.getvalue()
        if form == "html":
            page = read_page()
            steps = embedded_documents(self.core, session, self.prices, at=None, forks=forks)
            documents = await adrive(steps, self.core.backend)
            return "text/html; charset=utf-8", page_with(page, documents)
        told = (await self.sessions.current(session)).told
        if form == "json":
            document = as_document(told.readable(), sealed=told.sealed)
            return "application/json", encoded({"schema": SCHEMA, "kind": "session", "data": document})
        if form == "markdown":
            lines = as_markdown(told.readable(), self.prices, sealed=told.sealed)
            text = "".join(f"{line}\n" for line in lines)
            return "text/markdown; charset=utf-8", text.encode("utf-8", "backslashreplace")
        raise Failed(400, "invalid", "format= is jsonl, json, markdown or html")

    async def entrypoints(self, session: str) -> list[str]:
        """What the session's agents may be called on a command line, by where its steps say that they were called."""
        state = (await self.sessions.current(session)).told.state
        agents = list(dict.fromkeys(run.agent for run in reversed(state.runs.values()) if run.parent is None))
        places = Counter(place for step in state.steps if (place := _module_of(step.code)) is not None)
        found = [f"{module}:{agent}" for agent in agents for (module, name), _ in places.most_common() if name == agent]
        others = [f"{module}:{agent}" for agent in agents for (module, _), _ in places.most_common()]
        return list(dict.fromkeys([*found, *others]))[:10]


_CODE = re.compile(r"(?P<file>[\w./-]+)\.py:\d+ in (?P<name>\w+)")


def _module_of(code: str | None) -> tuple[str, str] | None:
    """The module and the function that a place in the code is in."""
    found = _CODE.fullmatch(code or "")
    return (found["file"].strip("/.").replace("/", "."), found["name"]) if found is not None else None


def split_place(text: str) -> tuple[str, int | None]:
    """`SESSION@N` in its parts; None where there is no N."""
    head, _, tail = text.rpartition("@")
    if head and tail.isascii() and tail.isdecimal() and len(tail) <= 15:
        return head, int(tail)
    return text, None


def whole_value(told: Told, index: int, path: str, of: str) -> Any:
    """What a pointer leads to in the whole of a document that was cut. `Failed` where there is nothing."""
    event, row = told.events[index], told.rows[index]
    if index in told.refused:
        raise told.refused[index]
    found: Any
    if of == "step" and row[STEP] is not None:
        step = told.state.steps[row[STEP]]
        found = {"input": step.stored_input, "result": step.stored_result}
    elif of == "run":
        run = next((run for run in told.state.runs.values() if run.key == event.key), None)
        found = {"arguments": run.stored_arguments, "result": run.stored_result} if run is not None else None
    else:
        found = resolved_value(event, told.items)
    try:
        return at_pointer(found, path)
    except KeyError:
        raise Failed(404, "not_found", f"there is nothing at {path[:200]!r} in event {index}") from None
