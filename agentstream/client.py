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
from agentstream.session import AsyncSession, Session
from agentstream.sessions.catalog import Summary
from agentstream.sessions.configured import rules_of_environment
from agentstream.sessions.core import Core
from agentstream.sessions.ids import checked_id
from agentstream.sessions.redaction import Redact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import timedelta
    from types import TracebackType

    from agentstream.backends.driving import Steps
    from agentstream.backends.remote.exchange import Backoff
    from agentstream.backends.remote.sending import Values
    from agentstream.sessions.encryption.keyring import Key
    from agentstream.sessions.importing import Source
    from agentstream.sessions.retention import GcReport
    from agentstream.sessions.search import Moment, Sort
    from agentstream.streams.stream import AsyncStream, Stream
    from agentstream.subscriptions import AsyncSubscription, AsyncWake, Subscription, Wake

FOLDER = ".agentstream"

F = TypeVar("F", bound="_Face")

_log = logging.getLogger("agentstream")


def open_backend(
    url: str | os.PathLike[str] | Backend | None,
    *,
    headers: Values | None = None,
    params: Values | None = None,
    http_client: Any | None = None,
    backoff: Backoff | None = None,
) -> Backend:
    """The backend that a client's address means; see `Client`."""
    if url is None:
        url = os.environ.get("AGENTSTREAM_URL") or nearest_folder()
    if isinstance(url, str) and url.lower().startswith(("http://", "https://")):
        from agentstream.backends.remote import RemoteBackend

        return RemoteBackend(url, headers=headers, params=params, http_client=http_client, backoff=backoff)
    if headers is not None or params is not None or http_client is not None or backoff is not None:
        raise ValueError(f"headers=, params=, http_client= and backoff= are for a server's URL, not for {url!r}")
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
    if scheme == "file":
        return EmbeddedBackend(_file_path(url))
    if "://" in url:
        raise ValueError(f"{url!r} is no address of streams: give a folder, file:…, memory: or http(s)://…")
    return EmbeddedBackend(Path(url).expanduser())


def sealed_backend(backend: Backend, encrypt: Key | bool | None) -> Backend:
    """The backend itself, or one that seals what goes through it: where a key is given, or in `$AGENTSTREAM_KEY`."""
    if encrypt is False or (encrypt is None and not os.environ.get("AGENTSTREAM_KEY")):
        return backend
    from agentstream.sessions.encryption.backend import SealingBackend
    from agentstream.sessions.encryption.keyring import keyring

    ring = keyring(encrypt)
    return backend if ring is None else SealingBackend(backend, ring)


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

    def __init__(
        self,
        url: str | os.PathLike[str] | Backend | None = None,
        *,
        headers: Values | None = None,
        params: Values | None = None,
        http_client: Any | None = None,
        backoff: Backoff | None = None,
        encrypt: Key | bool | None = None,
        redact: Redact | bool | None = None,
    ) -> None:
        rules = rules_of_environment() if redact is None else redact
        if rules is not None and not isinstance(rules, (bool, Redact)):
            raise TypeError(f"redact= is a Redact, True for the ready rules, False or None, not {rules!r}")
        backend = open_backend(url, headers=headers, params=params, http_client=http_client, backoff=backoff)
        self._core = Core(sealed_backend(backend, encrypt), rules)

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

    def _rotate(self) -> Steps[int]:
        from agentstream.sessions.encryption.vault import rotate

        return rotate(self._core.backend)

    def _collect(self, older_than: float | timedelta | None, dry_run: bool, keep: Iterable[str]) -> Steps[GcReport]:
        from agentstream.sessions.retention import collect

        return collect(self._core, older_than=older_than, dry_run=dry_run, keep=keep)


class Client(_Face):
    """Sessions kept in one place. A context manager; safe to share between threads.

    `url`: None is `$AGENTSTREAM_URL`, else the nearest `.agentstream` folder upwards, else one
    made here (its path is logged); a path or `file:…` is a folder on this machine; `memory:`
    lives as long as the client; `http(s)://host/v1/stream` is a Durable Streams server, whichever.
    For a server: `headers` and `params` go with every request, a value may be a callable that is
    asked for each one and each retry (async where it is awaited); `http_client` is a Client or
    AsyncClient of httpx or httpx2 to use, which its owner closes; `backoff` is how often and when a
    request is repeated. `encrypt` is the key that
    sessions made here are sealed with: 32 bytes, their base64 text, a Path, a function that gives
    one, or several of these, of which the first seals; None is `$AGENTSTREAM_KEY`, False none.
    `redact` is what is never recorded: a Redact, or True for its ready rules; None is what
    `$AGENTSTREAM_REDACT` names (`keys`, or MODULE:NAME of a Redact), False nothing.
    Raises StoreError for a place that cannot be used, ValueError for what is no key.
    """

    def session(self, id: str) -> Session:
        """The session of this id, which need not be there yet. No I/O; ValueError for what cannot be an id."""
        return Session(self._core, checked_id(id))

    def stream(self, address: str, *, content_type: str | None = None) -> Stream:
        """A stream as it is: any of the place's, by its path, or by its URL below a server's. No I/O.

        `content_type`: as known, else it is asked for when needed. What `encrypt` and `redact` say is about sessions,
        and not about this. ValueError for what names no stream here.
        """
        from agentstream.streams.stream import Stream

        return Stream(self._core.backend, address, content_type)

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

        - `prefix` of the id, `status` (one or several), `agent` of the last run, `parent` (forked from, spawned by);
        - `tag`: a name, "name=value", or a mapping of names to values; `title`: a part of it;
        - `text`: a part of a message, in any case of letters (a linear scan: put other conditions beside it);
        - `since`, `until`: a datetime (without a zone: local), or a timedelta back from now, of the last event;
        - `sort` by updated, created, events (largest first), id, title, status or agent; `reverse` turns it round.

        A server cannot list its streams; there the sessions are those that clients of this library made.
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

    def rotate_keys(self) -> int:
        """Wraps the keys of all sessions with the first of the client's; returns how many were not. Touches no event.

        Give the new key first and the old ones behind it (`encrypt=[new, old]`); afterwards the new
        one alone opens everything. Raises Locked where one of the sessions' keys cannot be opened.
        """
        return drive(self._rotate(), self._core.backend)

    def subscription(self, id: str) -> Subscription:
        """The subscription of this id at the server, which need not be there yet. No I/O.

        By it a server tells of what is appended to sessions: it posts to a webhook, or wakes
        whoever claims. Ids are of the whole server.
        """
        from agentstream.subscriptions import Subscription

        return Subscription(self._core, id)

    def webhook(self, body: bytes, signature: str | None) -> Wake:
        """The wake that a server posted to a webhook: the request's body as it came, and its `Webhook-Signature`.

        Raises SubscriptionError (SIGNATURE_INVALID) for what this server has not signed, or not in
        the last five minutes. The server's keys are asked for once.
        """
        from agentstream.subscriptions import webhook_wake

        return webhook_wake(self._core, body, signature)

    def close(self) -> None:
        """Releases connections and threads. What was acknowledged is durable already."""
        self._core.finish()
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

    def stream(self, address: str, *, content_type: str | None = None) -> AsyncStream:
        """As `Client.stream`."""
        from agentstream.streams.stream import AsyncStream

        return AsyncStream(self._core.backend, address, content_type)

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

    async def rotate_keys(self) -> int:
        """As `Client.rotate_keys`."""
        return await adrive(self._rotate(), self._core.backend)

    def subscription(self, id: str) -> AsyncSubscription:
        """As `Client.subscription`."""
        from agentstream.subscriptions import AsyncSubscription

        return AsyncSubscription(self._core, id)

    async def webhook(self, body: bytes, signature: str | None) -> AsyncWake:
        """As `Client.webhook`."""
        from agentstream.subscriptions import awebhook_wake

        return await awebhook_wake(self._core, body, signature)

    async def close(self) -> None:
        """As `Client.close`."""
        import asyncio

        await asyncio.to_thread(self._core.finish)
        backend: Any = self._core.backend
        aclose = getattr(backend, "aclose", None)  # where connections belong to the running loop
        await aclose() if aclose is not None else backend.close()

    def to_sync(self) -> Client:
        """The sync face of the same core."""
        return Client._over(self._core)  # pyright: ignore[reportPrivateUsage]

    async def __aenter__(self: F) -> F:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
