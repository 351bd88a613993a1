"""What both faces of a stream do, as steps: create, append, head, seal, delete."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentstream.errors import NotFound
from agentstream.protocol.errors import InvalidRequest, ProtocolError
from agentstream.protocol.operations import JSON, Append, Appended, Create, Created, Delete, Head, StreamInfo
from agentstream.protocol.operations import Producer as Place
from agentstream.streams.bodies import message_of
from agentstream.streams.locating import find
from agentstream.streams.values import BEGINNING, StreamCreated, StreamHead, StreamPosition

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps


class StreamCore:
    """One stream of a backend: its path, and its content type once that is known."""

    def __init__(self, backend: Backend, path: str, content_type: str | None = None) -> None:
        self.backend = backend
        self.path = path
        self._content_type = content_type
        self._free: list[Place] = []
        """Producers of our own that nobody uses just now: under one a request may be repeated without harm."""
        self._before = BEGINNING
        """A position that all we append from now on comes after."""

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"stream {self.path!r}"

    def content_type(self) -> Steps[str]:
        """The stream's content type; asked for once."""
        if self._content_type is None:
            yield from self.head()
        return self._content_type or JSON

    def create(
        self,
        content_type: str | None,
        values: Iterable[Any],
        closed: bool,
        ttl: float | timedelta | None,
        expires_at: datetime | str | None,
    ) -> Steps[StreamCreated]:
        kind = content_type or self._content_type or JSON
        body = tuple(message_of(value, kind) for value in values)
        made: Created = yield Create(self.path, body, kind, closed, _seconds(ttl), _moment(expires_at))
        self._content_type = kind
        self._before = StreamPosition(made.offset)
        return StreamCreated(made.new, StreamPosition(made.offset), made.closed)

    def append(self, values: Iterable[Any], seq: str | None, close: bool = False) -> Steps[StreamPosition]:
        """Appends all of `values` at once; the position after them."""
        found = tuple(values)
        kind = (yield from self.content_type()) if found else JSON
        body = tuple(message_of(value, kind) for value in found)
        if not body and not close:
            raise InvalidRequest(f"{self.where}: there is nothing to append")
        if body:
            return (yield from self._appended(body, kind, seq, close))
        done: Appended = yield Append(self.path, close=True)
        return (yield from self.head()).position if done.offset is None else StreamPosition(done.offset)

    def _appended(self, body: tuple[bytes, ...], kind: str, seq: str | None, close: bool) -> Steps[StreamPosition]:
        before = self._before
        producer = self._free.pop() if self._free else Place(secrets.token_hex(12), 0, 0)
        try:
            done: Appended = yield Append(self.path, body, kind, producer, seq, close)
        except ProtocolError as error:
            if not error.repeated:
                self._free.append(producer)
            elif run := (yield from find(self.path, before, body, kind)):
                return run.end  # what was refused was the second try of what the first had done
            raise
        self._free.append(replace(producer, seq=producer.seq + 1))
        if done.offset is not None and not done.duplicate:
            self._before = StreamPosition(done.offset)
            return self._before
        run = yield from find(self.path, before, body, kind)
        if run is None:
            raise NotFound(f"{self.where}: what was appended is not there any more")
        return run.end

    def head(self) -> Steps[StreamHead]:
        info: StreamInfo = yield Head(self.path)
        self._content_type = info.content_type
        self._before = StreamPosition(info.offset)
        return StreamHead(info.content_type, StreamPosition(info.offset), info.closed, info.ttl, info.expires_at)

    def delete(self) -> Steps[None]:
        yield Delete(self.path)
        self._content_type, self._before = None, BEGINNING
        self._free.clear()


def _seconds(ttl: float | timedelta | None) -> int | None:
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if seconds is None:
        return None
    if seconds < 0 or seconds != int(seconds):
        raise ValueError(f"ttl= is whole seconds from 0 on, not {ttl!r}")
    return int(seconds)


def _moment(at: datetime | str | None) -> str | None:
    if at is None or isinstance(at, str):
        return at
    if at.tzinfo is None:
        raise ValueError("expires_at= needs a time zone: a server elsewhere would take another moment")
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
