"""`Client` and `AsyncClient`: the way in, two faces of one core."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from agentstream.backends.base import Backend
from agentstream.backends.driving import adrive, drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import AgentStreamError
from agentstream.session import AsyncSession, Session
from agentstream.sessions import catalog
from agentstream.sessions.catalog import Summary
from agentstream.sessions.core import Core
from agentstream.sessions.ids import checked_id

if TYPE_CHECKING:
    from types import TracebackType

FOLDER = ".agentstream"

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
    """The nearest .agentstream folder here or above, as git looks for .git; where there is none, the one to make here."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    _log.info("making a new store at %s", here / FOLDER)
    return here / FOLDER


class _Face:
    """What both clients share."""

    def __init__(self, url: str | os.PathLike[str] | Backend | None = None) -> None:
        self._core = url if isinstance(url, Core) else Core(open_backend(url))

    @property
    def name(self) -> str:
        """Where the streams are kept: a path, a URL, or `memory:`."""
        return self._core.backend.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


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
        self, *, prefix: str = "", status: str | None = None, parent: str | None = None, limit: int | None = None
    ) -> list[Summary]:
        """Summaries of the sessions here, the last changed first."""
        steps = catalog.sessions(self._core, prefix=prefix, status=status, parent=parent, limit=limit)
        return drive(steps, self._core.backend)

    def close(self) -> None:
        """Releases connections and threads. What was acknowledged is durable already."""
        self._core.backend.close()

    def to_async(self) -> AsyncClient:
        """The async face of the same core."""
        return AsyncClient(self._core)  # type: ignore[arg-type]

    def __enter__(self) -> Client:
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
        self, *, prefix: str = "", status: str | None = None, parent: str | None = None, limit: int | None = None
    ) -> list[Summary]:
        """As `Client.sessions`."""
        steps = catalog.sessions(self._core, prefix=prefix, status=status, parent=parent, limit=limit)
        return await adrive(steps, self._core.backend)

    async def close(self) -> None:
        """As `Client.close`."""
        self._core.backend.close()

    def to_sync(self) -> Client:
        """The sync face of the same core."""
        return Client(self._core)  # type: ignore[arg-type]

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
