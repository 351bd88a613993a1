"""The catalog of a server's sessions: the protocol has no way to list streams, so their names are streams themselves.

`~cat` holds the paths of one segment and, with a slash at the end, the first segments of the
others; `~cat/<segment>` holds the paths below one. A name is written before its stream is made and
taken out after it was deleted, so at worst there is one too many, and listing looks at each. It
is a hint: a session whose name could not be written is there all the same.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.backends.base import Delist, Enlist, List, Listed
from agentstream.backends.driving import Wait
from agentstream.errors import AgentStreamError
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import START, Append, Batch, Create, Head, Producer, Read, StreamInfo

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

ROOT = "~cat"
AT_ONCE = 64
"""Streams that are looked at at the same time."""

_log = logging.getLogger("agentstream")


class _Headers(msgspec.Struct):
    operation: str = ""
    timestamp: str | None = None


class _Name(msgspec.Struct):
    key: str = ""
    headers: _Headers = msgspec.field(default_factory=_Headers)


class _Names:
    """What one stream of the catalog holds, as far as it was read: each name and when it was first written."""

    def __init__(self) -> None:
        self.offset = START
        self.names: dict[str, float] = {}

    def add(self, page: Batch) -> None:
        for message in page.messages:
            try:
                name = msgspec.json.decode(message, type=_Name)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # somebody else's
            if name.headers.operation == "delete":
                self.names.pop(name.key, None)
            elif name.key:
                self.names.setdefault(name.key, _seconds(name.headers.timestamp))
        self.offset = page.offset


class Catalog:
    """Reads and writes the catalog. `steps` executes an operation, `submit` starts one."""

    def __init__(self, steps: Callable[[Any], Steps[Any]], submit: Callable[[Any], Any]) -> None:
        self._steps = steps
        self._submit = submit
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[str, _Names] = {}
        self._seen: dict[str, tuple[str, bool, float]] = {}
        """Of each stream looked at: its tail, whether it was closed, and when it was first seen so."""

    def noted(self, operation: Enlist | Delist) -> Steps[None]:
        """Writes that a stream comes or has gone. What cannot be written is logged: the stream is what counts."""
        try:
            yield from self._note(operation.path, "insert" if isinstance(operation, Enlist) else "delete")
        except AgentStreamError as error:
            _log.warning("%r is not in the catalog of sessions: %s", operation.path, error)

    def _note(self, path: str, verb: str) -> Steps[None]:
        segment, slash, _ = path.partition("/")
        if slash:
            yield from self._written(f"{ROOT}/{segment}", path, verb, folder=f"{segment}/")
        else:
            yield from self._written(ROOT, path, verb)

    def _written(self, where: str, name: str, verb: str, folder: str = "") -> Steps[None]:
        message = _message(name, verb)
        # under a producer of its own, so that it may be repeated after a lost answer
        append = Append(where, (message,), producer=Producer(secrets.token_hex(8), 0, 0))
        try:
            yield from self._steps(append)
            return
        except StreamNotFound:
            if verb == "delete":
                return
        if folder:
            yield from self._written(ROOT, folder, verb)
        created = yield from self._steps(Create(where, (message,)))
        if not created.new:
            yield from self._steps(append)

    def listed(self, operation: List) -> Steps[tuple[Listed, ...]]:
        """The streams below a prefix that are there, by path, as `List` asks."""
        names = yield from self._names_below(operation.prefix)
        asked = sorted(name for name in names if name > operation.after)
        found: list[Listed] = []
        for begin in range(0, len(asked), AT_ONCE):
            paths = asked[begin : begin + AT_ONCE]
            looks = [self._submit(Head(path)) for path in paths]
            for path, look in zip(paths, looks, strict=True):
                try:
                    info = yield Wait(look)
                except (StreamNotFound, StreamGone):
                    continue
                found.append(self._entry(path, names[path], info))
            if len(found) >= operation.limit:
                break
        return tuple(found[: operation.limit])

    def _entry(self, path: str, created: float, info: StreamInfo) -> Listed:
        """A server does not say when a stream changed last: not after it was first seen as it is now."""
        with self._lock:
            seen = self._seen.get(path)
            if seen is None or seen[:2] != (info.offset, info.closed):
                seen = self._seen[path] = (info.offset, info.closed, time.time())
        return Listed(path, created, seen[2], info.offset, 0, info.closed)

    def _names_below(self, prefix: str) -> Steps[dict[str, float]]:
        segment, slash, _ = prefix.partition("/")
        if slash:
            below = yield from self._names(f"{ROOT}/{segment}")
            # the library's own, asked for by name
            exact = {} if below or not prefix.startswith("~") or prefix.endswith("/") else {prefix: 0.0}
            return {**{name: at for name, at in below.items() if name.startswith(prefix)}, **exact}
        found: dict[str, float] = {}
        for name, at in (yield from self._names(ROOT)).items():
            if not name.startswith(prefix):
                continue
            if name.endswith("/"):
                found.update((yield from self._names(f"{ROOT}/{name[:-1]}")))
            else:
                found[name] = at
        return found

    def _names(self, where: str) -> Steps[dict[str, float]]:
        with self._lock:
            kept = self._read.setdefault(where, _Names())
        while True:
            offset = kept.offset
            try:
                page = yield from self._steps(Read(where, offset))
            except (StreamNotFound, StreamGone):
                with self._lock:
                    self._read.pop(where, None)
                return {}
            with self._lock:
                if kept.offset == offset:  # else another thread was faster
                    kept.add(page)
                if page.up_to_date or page.closed:
                    return dict(kept.names)


def _message(path: str, verb: str) -> bytes:
    headers = {"operation": verb, "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
    value = {"value": {"path": path}} if verb == "insert" else {}
    return msgspec.json.encode({"type": "stream", "key": path, **value, "headers": headers})


def _seconds(timestamp: str | None) -> float:
    try:
        return datetime.fromisoformat((timestamp or "").replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
