"""Reading from a server: pages, and waiting for one by long-poll. Generators over HTTP, no I/O."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentstream.backends.driving import Sleep
from agentstream.backends.remote.exchange import Backoff, NoAnswer, answered
from agentstream.protocol.http import is_json
from agentstream.protocol.operations import NOW, Batch, Read

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

LONG_POLL = 90.0
"""Seconds to wait for the answer to a long-poll: longer than any server holds one (they end after 30 or 60)."""

SHORTEST = 0.05
"""A long-poll that would be cut off sooner is not begun."""

EMPTY_PAUSE = 0.05
"""Seconds between empty answers that came at once: a server need not hold a long-poll, and is not to be flooded."""

KEPT_CURSORS = 1024


class Cursors:
    """What servers gave to be given back with the next live read of a place (§8.1), for the last places read."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, path: str, offset: str) -> str | None:
        with self._lock:
            return self._kept.pop((path, offset), None)

    def keep(self, path: str, batch: Batch) -> None:
        if batch.cursor is None:
            return
        with self._lock:
            self._kept[path, batch.offset] = batch.cursor
            while len(self._kept) > KEPT_CURSORS:
                self._kept.popitem(last=False)


def read(operation: Read, root: str, backoff: Backoff, cursors: Cursors) -> Steps[Batch]:
    """One page, `skip` messages or bytes past the offset. `limit` is not obeyed: only whole pages have an offset."""
    if operation.wait is None:
        batch = yield from answered(operation, root, backoff)
        left = operation.skip
        while left:
            count = _size(batch)
            if count > left or batch.up_to_date:
                return replace(batch, messages=_past(batch, left))
            left -= count
            batch = yield from answered(replace(operation, offset=batch.offset, etag=None), root, backoff)
        return batch
    deadline = time.monotonic() + operation.wait
    plain = replace(operation, wait=None, skip=0)
    if operation.skip or operation.offset == NOW:
        # where waiting begins must be known, or what comes between two requests would be missed
        batch = yield from read(replace(operation, wait=None), root, backoff, cursors)
        if batch.messages or batch.closed:
            return batch
        plain = replace(plain, offset=batch.offset)
    return (yield from _waited(plain, deadline, root, backoff, cursors))


def _waited(operation: Read, deadline: float, root: str, backoff: Backoff, cursors: Cursors) -> Steps[Batch]:
    while (left := deadline - time.monotonic()) > SHORTEST:
        began = time.monotonic()
        cursor = operation.cursor or cursors.take(operation.path, operation.offset)
        live = replace(operation, wait=left, cursor=cursor)
        try:
            batch = yield from answered(live, root, backoff, min(left, LONG_POLL))
        except NoAnswer as error:
            if not error.timed_out:
                raise
            break
        cursors.keep(operation.path, batch)
        if batch.messages or batch.closed or batch.unchanged:
            return batch
        operation = replace(operation, offset=batch.offset, cursor=None)
        if time.monotonic() - began < EMPTY_PAUSE:
            yield Sleep(EMPTY_PAUSE)
    # who did not hear in time asks once plainly: so even the shortest wait finds what is there
    return (yield from answered(replace(operation, cursor=None), root, backoff))


def _size(batch: Batch) -> int:
    return len(batch.messages) if is_json(batch.content_type) else sum(map(len, batch.messages))


def _past(batch: Batch, skip: int) -> tuple[bytes, ...]:
    if is_json(batch.content_type):
        return batch.messages[skip:]
    rest = b"".join(batch.messages)[skip:]
    return (rest,) if rest else ()
