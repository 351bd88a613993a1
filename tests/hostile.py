"""The least a server may give: an in-memory backend that keeps the protocol and not one habit more.

Its knobs say what it is hostile in; all are on unless a test turns them off. A plain list of
(message, end of its append) a stream; independent of the embedded engine on purpose.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from javascript import as_javascript, stamped
from msgspec.structs import replace

from agentstream.backends.base import Delist, DropLease, Enlist, LeaseHeld, TakeLease, Traits
from agentstream.backends.driving import Steps, Wait, adrive, drive
from agentstream.errors import SessionBusy, Unavailable
from agentstream.protocol import errors as refusals
from agentstream.protocol.operations import (
    JSON,
    NOW,
    START,
    Append,
    Appended,
    Batch,
    Create,
    Created,
    Delete,
    ForkPoint,
    Head,
    Read,
    StreamInfo,
)

TIMEOUTS = (TimeoutError, concurrent.futures.TimeoutError, asyncio.TimeoutError)  # three classes before Python 3.11


@dataclass
class Log:
    """One stream. `ends[i]` is where the append that holds message i ends: only such places are offsets."""

    create: Create
    messages: list[bytes] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    closed: bool = False
    deleted: bool = False
    source: Log | None = None
    forks: int = 0
    seq: str = ""
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, body: tuple[bytes, ...]) -> None:
        end = len(self.messages) + len(body)
        self.messages += body
        self.ends += [end] * len(body)


@dataclass(kw_only=True, eq=False, repr=False)
class HostileBackend:
    """In memory, and in everything the protocol leaves open the worst choice.

    `rewrites_numbers`: JSON passes through doubles, as in JavaScript; `forks`: "native", "ignored" (the fork header
    is dropped: only the body is there) or "empty" (the body is dropped too); `narrow_skip`: a fork's skip reaches only
    into the append after its offset; `soft_delete`: a deleted stream with forks keeps its path; `silent_duplicates`:
    a duplicate's answer has no offset; `stamps_offsets`: change messages are read with `headers.offset` added;
    `drop_replies`: numbers of operations (from 0), or a predicate of them, that are applied and answered with
    `Unavailable`; `fail_after`: appends that are applied before everything is refused for ever.
    """

    rewrites_numbers: bool = True
    forks: Literal["native", "ignored", "empty"] = "native"
    narrow_skip: bool = True
    soft_delete: bool = True
    silent_duplicates: bool = True
    stamps_offsets: bool = True
    drop_replies: Callable[[Any], bool] | Collection[int] = ()
    fail_after: int | None = None
    name: str = "hostile:"
    traits: Traits = field(default=Traits(), init=False)
    operations: int = field(default=0, init=False)
    appends: int = field(default=0, init=False)
    _logs: dict[str, Log] = field(default_factory=dict, init=False)
    _leases: set[tuple[str, str]] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _waiting: set[Future[None]] = field(default_factory=set, init=False)

    def restart(self) -> None:
        """What a crash of such a server loses: all it knew of producers."""
        with self._lock:
            for log in self._logs.values():
                log.producers.clear()

    def execute(self, operation: Any) -> Any:
        return drive(self._steps(operation), self)

    async def aexecute(self, operation: Any) -> Any:
        return await adrive(self._steps(operation), self)

    def submit(self, operation: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            result = self.execute(operation)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future

    def close(self) -> None:
        """Nothing to release: what it keeps is what a server would keep."""

    def _steps(self, operation: Any) -> Steps[Any]:
        if isinstance(operation, (Enlist, Delist)):
            return None
        deadline = time.monotonic() + (getattr(operation, "wait", None) or 0)
        with self._lock:
            number, self.operations = self.operations, self.operations + 1
        while True:
            with self._lock:
                result = self._apply(operation)
                left = deadline - time.monotonic()
                waits = left > 0 and isinstance(result, Batch) and not result.messages and not result.closed
                waiting: Future[None] = Future()
                woken: set[Future[None]] = set()
                if waits:
                    self._waiting.add(waiting)
                elif isinstance(operation, (Create, Append, Delete)):
                    woken, self._waiting = self._waiting, set()
            for waiter in woken:
                waiter.set_result(None)
            if not waits:
                break
            if isinstance(operation, Read) and operation.offset == NOW:
                operation = replace(operation, offset=result.offset)
            try:
                yield Wait(waiting, left)
            except TIMEOUTS:
                pass
            finally:
                with self._lock:
                    self._waiting.discard(waiting)
        drop = self.drop_replies
        if drop(operation) if callable(drop) else number in drop:
            raise Unavailable(f"{self.name}: the reply was lost on purpose")
        return result

    # --- one operation, under the lock --------------------------------------------------

    def _apply(self, operation: Any) -> Any:
        if self.fail_after is not None and self.appends >= self.fail_after:
            raise Unavailable(f"{self.name}: refuses everything after {self.fail_after} appends")
        match operation:
            case Create():
                return self._create(operation)
            case Append():
                return self._append(operation)
            case Read():
                return self._read(operation)
            case Head(path=path):
                log = self._log(path)
                made = log.create
                return StreamInfo(made.content_type, _offset(len(log.messages)), log.closed, made.ttl, made.expires_at)
            case Delete(path=path):
                return self._delete(path)
            case TakeLease(path=path, token=token):
                if (path, token) in self._leases:
                    raise SessionBusy(f"the lease {token!r} of {path!r} is held")
                return self._leases.add((path, token))
            case DropLease(path=path, token=token):
                return self._leases.discard((path, token))
            case LeaseHeld(path=path, token=token):
                return (path, token) in self._leases
            case _:
                raise TypeError(f"{operation!r} is no operation of this backend")

    def _log(self, path: str) -> Log:
        log = self._logs.get(path)
        if log is None:
            raise refusals.StreamNotFound(f"there is no stream {path!r}")
        if log.deleted:
            raise refusals.StreamGone(f"stream {path!r} was deleted")
        return log

    def _create(self, operation: Create) -> Created:
        there = self._logs.get(operation.path)
        if there is not None:
            asked = replace(operation, body=there.create.body, closed=there.create.closed)
            if there.deleted or asked != there.create or operation.closed != there.closed:
                raise refusals.StreamConflict(f"stream {operation.path!r} is there, differently or deleted")
            return Created(False, _offset(len(there.messages)), there.closed)
        body = self._body(operation.path, operation.content_type, operation.body)
        log = Log(operation, closed=operation.closed)
        if operation.fork is not None and self.forks == "native":
            log.source = self._source(operation.fork)
            cut = self._cut(log.source, operation.fork)
            log.messages, log.ends = log.source.messages[:cut], [min(end, cut) for end in log.source.ends[:cut]]
            log.source.forks += 1
        if operation.fork is None or self.forks != "empty":
            log.add(body)
        self._logs[operation.path] = log
        return Created(True, _offset(len(log.messages)), log.closed)

    def _source(self, point: ForkPoint) -> Log:
        try:
            return self._log(point.source)
        except refusals.StreamGone as gone:
            raise refusals.StreamConflict(str(gone)) from None

    def _cut(self, source: Log, point: ForkPoint) -> int:
        anchor = _position(point.offset, source)
        cut = anchor + point.skip
        end = source.ends[anchor] if self.narrow_skip and anchor < len(source.ends) else len(source.messages)
        if cut > end:
            raise refusals.InvalidRequest(f"the fork point {cut} is beyond {end}")
        return cut

    def _append(self, operation: Append) -> Appended:
        log, producer = self._log(operation.path), operation.producer
        known = log.producers.get(producer.id) if producer else None
        if producer and known and producer.epoch == known[0] and producer.seq <= known[1]:
            return Appended(None if self.silent_duplicates else _offset(len(log.messages)), True, log.closed)
        body = self._body(operation.path, operation.content_type, operation.body)
        if not body and not operation.close:
            raise refusals.InvalidRequest("an append without a body")
        if log.closed:
            if body or producer:
                raise refusals.StreamClosed(f"stream {operation.path!r} is closed", offset=_offset(len(log.messages)))
            return Appended(_offset(len(log.messages)), closed=True)
        if body and operation.content_type != log.create.content_type:
            raise refusals.StreamConflict("another content type")
        if producer:
            epoch, last = known or (producer.epoch, -1)
            if producer.epoch < epoch:
                raise refusals.StaleEpoch(f"epoch {producer.epoch} was superseded", epoch=epoch)
            if producer.epoch > epoch and producer.seq:
                raise refusals.InvalidRequest("a new epoch begins with 0")
            if producer.epoch == epoch and producer.seq != last + 1:
                raise refusals.SequenceGap("a gap", expected=last + 1, received=producer.seq)
        if operation.seq is not None:
            if log.seq and operation.seq.encode() <= log.seq.encode():
                raise refusals.SequenceConflict(f"{operation.seq!r} does not come after {log.seq!r}")
            log.seq = operation.seq
        if producer:
            log.producers[producer.id] = (producer.epoch, producer.seq)
        log.add(body)
        log.closed = operation.close
        self.appends += 1
        return Appended(_offset(len(log.messages)), closed=log.closed)

    def _read(self, operation: Read) -> Batch:
        log = self._log(operation.path)
        if operation.skip:
            raise refusals.InvalidRequest(
                "a read cannot skip here: the protocol has no such thing (see `traits.skips`)"
            )
        begin = _position(operation.offset, log)
        # One offset a page, and pages end where appends end: a limit cannot cut one.
        end, limit = begin, operation.limit or 1000
        while end < len(log.messages) and end - begin < limit:
            end = log.ends[end]
        page = tuple(log.messages[begin:end])
        if self.stamps_offsets:
            page = tuple(stamped(message, _offset(end)) for message in page)
        return Batch(page, _offset(max(begin, end)), end >= len(log.messages), log.closed and end >= len(log.messages))

    def _delete(self, path: str) -> None:
        log = self._log(path)
        if log.forks and self.soft_delete:
            log.deleted = True
            return
        del self._logs[path]
        while log.source is not None:
            log = log.source
            log.forks -= 1
            if log.forks or not log.deleted:
                return
            del self._logs[log.create.path]

    def _body(self, path: str, content_type: str, body: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if content_type != JSON:
            return tuple(block for block in body if block)
        try:
            rewritten = tuple(map(as_javascript, body))
        except ValueError as error:
            raise refusals.InvalidRequest(f"a message for {path!r} is no JSON: {error}") from None
        return rewritten if self.rewrites_numbers else body


def _offset(position: int) -> str:
    return f"{position:08d}_h"


def _position(offset: str, log: Log) -> int:
    if offset == START:
        return 0
    if offset == NOW:
        return len(log.messages)
    number, mark, rest = offset.partition("_h")
    position = int(number) if number.isdecimal() and mark and not rest else -1
    # inside an append there is no offset: nobody can have been given one
    if position < 0 or (0 < position <= len(log.ends) and log.ends[position - 1] != position):
        raise refusals.InvalidRequest(f"{offset!r} is no offset this server gave out")
    return position
