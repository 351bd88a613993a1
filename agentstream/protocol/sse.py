"""Server-sent events of live reads (§5.8), both ways: pages to events, and bytes as they arrive to pages.

After each `data` event stands a `control` event with the offset after it. Bytes that are no
text travel as base64, which the response's `Stream-SSE-Data-Encoding` header says.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import msgspec

from agentstream.protocol.errors import BadReply
from agentstream.protocol.http import flattened, framed, is_json, media_type
from agentstream.protocol.operations import Batch


def encoding_of(content_type: str) -> str | None:
    """ "base64" for streams whose bytes are not text."""
    kind = media_type(content_type)
    return None if is_json(kind) or kind.startswith("text/") else "base64"


def events_of(batch: Batch, content_type: str, cursor: str | None = None) -> bytes:
    """A page as it is sent: one data event (none for no messages) and its control event."""
    data = b""
    if batch.messages:
        body = framed(batch.messages, content_type)
        if encoding_of(content_type) is not None:
            body = base64.b64encode(body)
        data = b"event: data\n" + _lines(body) + b"\n"
    control: dict[str, Any] = {"streamNextOffset": batch.offset}
    if batch.closed:
        control["streamClosed"] = True
    elif cursor is not None:
        control["streamCursor"] = cursor
    if batch.up_to_date and not batch.closed:
        control["upToDate"] = True
    return data + b"event: control\n" + _lines(msgspec.json.encode(control)) + b"\n"


def _lines(body: bytes) -> bytes:
    # each line break of the payload begins a line of its own, so that no payload can end or forge an event (§5.8)
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"".join(b"data:" + (b" " + line if line[:1] == b" " else line) + b"\n" for line in lines)


MOST_UNREAD = 268_435_456
"""Bytes of events that are kept for a page whose control event does not come: a server without an end is no server."""


class Event(msgspec.Struct, frozen=True):
    """One event as it came: its lines of data joined by line feeds."""

    name: str
    data: bytes


class EventParser:
    """Bytes in, events out, wherever the bytes are cut. Comments, ids and unknown fields are passed over."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """The pieces of a line that has not ended."""
        self._name = ""
        self._data: list[bytes] = []
        self._after_return = False
        self.size = 0
        """Bytes kept of an event that has not ended."""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with this chunk."""
        if self._after_return and chunk[:1] == b"\n":
            chunk = chunk[1:]  # of a line end that was cut in two
        self._after_return = chunk[-1:] == b"\r"
        *ended, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for piece in ended:
            line = b"".join((*self._line, piece))
            self._line.clear()
            if line:
                self._take(line)
                continue
            if self._data:
                yield Event(self._name or "message", b"\n".join(self._data))
            self._name, self._data, self.size = "", [], 0
        if rest:
            self._line.append(rest)
            self.size += len(rest)

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            self._data.append(value)
            self.size += len(value) + 1
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")


class PageReader:
    """The pages of a live read, from the bytes of its response: one a control event.

    `content_type` is the stream's, `encoding` the response's `Stream-SSE-Data-Encoding`.
    """

    def __init__(self, content_type: str | None, encoding: str | None) -> None:
        self._events = EventParser()
        self._content_type = content_type
        self._encoding = encoding
        self._messages: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Batch]:
        """The pages that are complete with this chunk. Raises BadReply for what is no page."""
        for event in self._events.feed(chunk):
            if event.name == "data":
                self._size += len(event.data) + 1
                self._messages += self._decoded(event.data)
            elif event.name == "control":
                self._size = 0
                yield self._page(event.data)
        if self._size + self._events.size > MOST_UNREAD:
            raise BadReply(f"a live read brought more than {MOST_UNREAD} bytes without a control event")

    def _decoded(self, data: bytes) -> tuple[bytes, ...]:
        try:
            if self._encoding == "base64":
                return (base64.b64decode(data.replace(b"\n", b""), validate=True),)
            return flattened(data) if is_json(self._content_type) else (data,)
        except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadReply(f"a live read brought data that cannot be read: {error}") from error

    def _page(self, data: bytes) -> Batch:
        try:
            control = msgspec.json.decode(data, type=_Control)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadReply(f"a live read brought a control event that cannot be read: {error}") from error
        messages, self._messages = tuple(self._messages), []
        return Batch(
            messages, control.streamNextOffset, control.upToDate or control.streamClosed, control.streamClosed,
            cursor=control.streamCursor, content_type=self._content_type,
        )  # fmt: skip


class _Control(msgspec.Struct):
    streamNextOffset: str
    streamCursor: str | None = None
    upToDate: bool = False
    streamClosed: bool = False
