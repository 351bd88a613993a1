"""`Client` and `AsyncClient`: the way in, two faces of one core."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from agentstream.backends.base import Backend
from agentstream.backends.driving import adrive, drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import AgentStreamError
from agentstream.session import AsyncSession, Session
from agentstream.sessions.catalog import Summary
from agentstream.sessions.core import Core
from agentstream.sessions.ids import checked_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import timedelta
    from types import TracebackType

    from agentstream.backends.driving import Steps
    from agentstream.sessions.importing import Source
    from agentstream.sessions.retention import GcReport
    from agentstream.sessions.search import Moment, Sort

FOLDER = ".agentstream"

F = TypeVar("F", bound="_Face")

_log = logging.getLogger("agentstream")


def open_backend(url: str | os.PathLike[str] | Backend | None) -> Backend:
    """The backend that a client's address means; see `Client`."""
    if url is None:
        url = os.environ.get("AGENTSTREAM_URL") or nearest_folder()
    if isinstance(url, os.PathLike):
        return EmbeddedBackend(url)
    if not isinstance(url, str):
        if isinstance(url, Backend):
            return url
        raise TypeError(f"a client takes a path, a URL, a backend or None, not {url!r}")
    if not url:
        raise ValueError("a client's address cannot be empty; leave it out for the nearest .agentstream folder")
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    if url == "memory:":
        return EmbeddedBackend(None)
    if scheme in ("http", "https"):
        raise AgentStreamError(
            f"{url}: streams on a server cannot be reached yet, this version keeps them on this machine; "
            "give a folder, or nothing for the nearest .agentstream"
        )
    if scheme == "file":
        return EmbeddedBackend(_file_path(url))
    if "://" in url:
        raise ValueError(f"{url!r} is no address of streams: give a folder, file:…, memory: or http(s)://…")
    return EmbeddedBackend(Path(url).expanduser())


def _file_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{url!r} names another machine; a file: address is of this one (file:/path or file:relative)")
    path = unquote(parts.path)
    if not path:
        raise ValueError(f"{url!r} has no path: file:/path or file:relative")
    return Path(path)


def nearest_folder(start: Path | None = None) -> Path:
    """The nearest .agentstream folder here or above, as git looks for .git; else the one to make here."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    _log.info("making a new store at %s", here / FOLDER)
    return here / FOLDER


class _Face:
    """What both clients share."""

    def __init__(self, url: str | os.PathLike[str] | Backend | None = None) -> None:
        self._core = Core(open_backend(url))

    @classmethod
    def _over(cls: type[F], core: Core) -> F:
        """This face of a core that another face has already."""
        face = cls.__new__(cls)
        face._core = core
        return face

    @property
    def name(self) -> str:
        """Where the streams are kept: a path, a URL, or `memory:`."""
        return self._core.backend.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # what not every program does is imported when it is done

    def _search(self, **conditions: Any) -> Steps[list[Summary]]:
        from agentstream.sessions.search import Query, sessions

        return sessions(self._core, Query(**conditions))

    def _import(self, file: Source, new_id: str | None, prefix: str) -> Steps[list[str]]:
        from agentstream.sessions.importing import import_

        return import_(self._core, file, new_id=new_id, prefix=prefix)

    def _collect(self, older_than: float | timedelta | None, dry_run: bool, keep: Iterable[str]) -> Steps[GcReport]:
        from agentstream.sessions.retention import collect

        return collect(self._core, older_than=older_than, dry_run=dry_run, keep=keep)


class Client(_Face):
    """Sessions kept in one place. A context manager; safe to share between threads.

    `url`: None is `$AGENTSTREAM_URL`, else the nearest `.agentstream` folder upwards, else one
    made here (its path is logged); a path or `file:…` is a folder on this machine; `memory:`
    lives as long as the client. Raises StoreError for a place that cannot be used.
    """

    def session(self, id: str) -> Session:
        """The session of this id, which need not be there yet. No I/O; ValueError for what cannot be an id."""
        return Session(self._core, checked_id(id))

    def sessions(
        self,
        *,
        prefix: str = "",
        status: str | Collection[str] | None = None,
        agent: str | None = None,
        tag: str | Mapping[str, Any] | None = None,
        title: str | None = None,
        text: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        parent: str | None = None,
        limit: int | None = None,
        sort: Sort = "updated",
        reverse: bool = False,
    ) -> list[Summary]:
        """Summaries of the sessions here that fit every condition given, the last changed first.

        - `prefix` of the id, `status` (one or several), `agent` of the last run, `parent` it was forked from;
        - `tag`: a name, "name=value", or a mapping of names to values; `title`: a part of it;
        - `text`: a part of a message, in any case of letters (a linear scan: put other conditions beside it);
        - `since`, `until`: a datetime (without a zone: local), or a timedelta back from now, of the last event;
        - `sort` by updated, created, events (largest first), id, title, status or agent; `reverse` turns it round.

        AgentStreamError for a server, which cannot list its streams.
        """
        steps = self._search(
            prefix=prefix, status=status, agent=agent, tag=tag, title=title, text=text, since=since, until=until,
            parent=parent, limit=limit, sort=sort, reverse=reverse,
        )  # fmt: skip
        return drive(steps, self._core.backend)

    def import_(self, file: Source, *, id: str | None = None, prefix: str = "") -> list[Session]:
        """Makes the sessions that `session.export` wrote to a path or a file open for reading bytes, byte for byte.

        `id` is another id for a session exported alone, `prefix` is put before every id. Raises
        InvalidExport for a file that is torn or edited, SessionExists where an id is taken; then
        nothing is imported.
        """
        made = drive(self._import(file, id, prefix), self._core.backend)
        return [self.session(name) for name in made]

    def gc(
        self, *, older_than: float | timedelta | None = None, dry_run: bool = True, keep: Iterable[str] = ()
    ) -> GcReport:
        """Removes sessions by age and what nobody refers to; by default only says what it would.

        `older_than`: seconds or a timedelta since the last event, for sessions without a time to
        live of their own (`session.set_ttl`); None: only those with one. `keep`: patterns of ids
        (`*` and `?`) that stay. Never removed: what waits for a person, what a worker is at, what
        forks need.
        """
        return drive(self._collect(older_than, dry_run, keep), self._core.backend)

    def close(self) -> None:
        """Releases connections and threads. What was acknowledged is durable already."""
        self._core.backend.close()

    def to_async(self) -> AsyncClient:
        """The async face of the same core."""
        return AsyncClient._over(self._core)  # pyright: ignore[reportPrivateUsage]

    def __enter__(self: F) -> F:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Face):
    """As `Client`, with `await`; safe to share between tasks and event loops."""

    def session(self, id: str) -> AsyncSession:
        """As `Client.session`."""
        return AsyncSession(self._core, checked_id(id))

    async def sessions(
        self,
        *,
        prefix: str = "",
        status: str | Collection[str] | None = None,
        agent: str | None = None,
        tag: str | Mapping[str, Any] | None = None,
        title: str | None = None,
        text: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        parent: str | None = None,
        limit: int | None = None,
        sort: Sort = "updated",
        reverse: bool = False,
    ) -> list[Summary]:
        """As `Client.sessions`."""
        steps = self._search(
            prefix=prefix, status=status, agent=agent, tag=tag, title=title, text=text, since=since, until=until,
            parent=parent, limit=limit, sort=sort, reverse=reverse,
        )  # fmt: skip
        return await adrive(steps, self._core.backend)

    async def import_(self, file: Source, *, id: str | None = None, prefix: str = "") -> list[AsyncSession]:
        """As `Client.import_`."""
        made = await adrive(self._import(file, id, prefix), self._core.backend)
        return [self.session(name) for name in made]

    async def gc(
        self, *, older_than: float | timedelta | None = None, dry_run: bool = True, keep: Iterable[str] = ()
    ) -> GcReport:
        """As `Client.gc`."""
        return await adrive(self._collect(older_than, dry_run, keep), self._core.backend)

    async def close(self) -> None:
        """As `Client.close`."""
        self._core.backend.close()

    def to_sync(self) -> Client:
        """The sync face of the same core."""
        return Client._over(self._core)  # pyright: ignore[reportPrivateUsage]

    async def __aenter__(self: F) -> F:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
