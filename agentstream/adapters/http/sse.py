"""Server-sent events, parsed as their bytes come: in any pieces, no byte looked at twice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its `event:` field ("" where it has none) and its joined `data:` lines."""

    name: str
    data: str


class Parser:
    """Fed a body's chunks, gives the events that each one completes (HTML standard, section 9.2.6)."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that end in `chunk`."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        *lines, rest = _LINE_END.split(chunk)
        for line in lines:
            whole = b"".join((*self._line, line))
            self._line.clear()
            yield from self._take(whole.decode("utf-8", "replace"))
        if rest:
            self._line.append(rest)

    def end(self) -> Iterator[ServerEvent]:
        """The event that the body's end completes. The standard drops it; SDKs hand it on, and so must a record."""
        yield from self.feed(b"\n\n")

    def _take(self, line: str) -> Iterator[ServerEvent]:
        if not line:
            if self._data or self._name:
                yield ServerEvent(self._name, "\n".join(self._data))
            self._name, self._data = "", []
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
