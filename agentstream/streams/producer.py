"""`Producer` and `AsyncProducer`: appending in batches, several under way at once, each value there exactly once."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentstream.backends.driving import Wait, adrive, drive
from agentstream.backends.threads import at_work
from agentstream.errors import StoreError
from agentstream.streams.batching import Limits, Queue
from agentstream.streams.bodies import message_of
from agentstream.streams.delivery import Delivery
from agentstream.streams.telling import said

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.streams.batching import Batch
    from agentstream.streams.core import StreamCore
    from agentstream.streams.values import StreamPosition

T = TypeVar("T")

BIGGEST = 2**53 - 1
IN_ONE_GO = 1024
"""Values that are taken from async appenders before the event loop has a turn."""
AT_EXIT = 10.0
"""Seconds that a program which ends waits for what its producers still have."""
IDLE = 5.0
"""Seconds after which a thread that has nothing to do ends."""

_log = logging.getLogger("agentstream")


class _Appended:
    def __init__(self, owner: Any, place: tuple[Batch, int]) -> None:
        self._owner = owner
        self._batch, self._number = place

    @property
    def done(self) -> bool:
        """Whether it is durable, or failed."""
        return self._batch.finished.done()

    def _position(self, timeout: float | None) -> Steps[StreamPosition]:
        yield Wait(self._batch.finished, timeout)
        return (yield from self._owner._delivery.located(self._batch, self._number))


class Appending(_Appended):
    """A value that was handed to a producer."""

    def position(self, timeout: float | None = None) -> StreamPosition:
        """The position after it, once it is durable. Raises what it was refused for; TimeoutError after `timeout`.

        For any but the last value of a batch this reads the batch back, because a server says where a batch ends only.
        """
        return self._owner._drive(self._position(timeout))


class AsyncAppending(_Appended):
    """As `Appending`, with `await`."""

    async def position(self, timeout: float | None = None) -> StreamPosition:
        """As `Appending.position`."""
        return await self._owner._drive(self._position(timeout))


class _Face(ABC):
    """What both producers share."""

    def __init__(
        self,
        core: StreamCore,
        id: str | None = None,
        *,
        epoch: int = 0,
        claim: bool = False,
        linger: float = 0.005,
        max_batch_bytes: int = 1024 * 1024,
        max_batch_items: int = 10_000,
        max_in_flight: int = 5,
        max_waiting_bytes: int = 32 * 1024 * 1024,
        patience: float = 60.0,
    ) -> None:
        if id is not None and not (id and id.isascii() and id.isprintable() and id == id.strip()):
            raise ValueError(f"a producer's id is printable ASCII without spaces around it, not {id!r}")
        if not 0 <= epoch <= BIGGEST:
            raise ValueError(f"epoch= is a number from 0 to 2^53-1, not {epoch!r}")
        limits = Limits(linger, max_batch_items, max_batch_bytes, max_in_flight, max_waiting_bytes)
        self._core = core
        self._queue = Queue(limits, self._wake)
        self._delivery = Delivery(core, self._queue, id or secrets.token_hex(12), epoch, patience=patience, claim=claim)
        self._sealed: StreamPosition | None = None
        self._closed = False
        self._process = os.getpid()

    @property
    def id(self) -> str:
        """What the server knows this producer by."""
        return self._delivery.id

    @property
    def epoch(self) -> int:
        """The epoch that it writes under."""
        return self._delivery.epoch

    def claim(self) -> None:
        """Goes on, after it had stopped, under the epoch above the highest known: fences who writes under a lower one.

        What had failed is not sent again; it can be appended again. Raises RuntimeError while batches are under way.
        """
        self._delivery.claim()

    @abstractmethod
    def _wake(self) -> None:
        """Has somebody look at the queue again."""

    def _checked(self) -> None:
        if self._closed:
            raise StoreError(f"{self._core.where}: this producer was closed; make another one")
        if os.getpid() != self._process:
            raise StoreError(f"{self._core.where}: a producer stays in the process that made it; make one in this one")

    def _put(self, value: Any) -> Steps[tuple[Batch, int]]:
        self._checked()
        kind = yield from self._delivery.opened()
        message = message_of(value, kind)
        while (place := self._queue.put(message)) is None:
            yield Wait(self._queue.room())
        return place

    def _flush(self, timeout: float | None) -> Steps[None]:
        deadline = None if timeout is None else time.monotonic() + timeout
        for batch in self._queue.hurry():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                yield Wait(batch.finished, left)
            except TimeoutError:
                if not batch.finished.done():
                    raise TimeoutError(
                        f"{self._core.where}: not all was written in {timeout} seconds; it goes on"
                    ) from None
            except Exception:
                pass  # said below, with those that failed before
        errors = self._queue.errors()
        if errors:
            raise errors[0].with_traceback(None)

    def _seal(self, values: tuple[Any, ...]) -> Steps[StreamPosition]:
        if self._sealed is not None:
            return self._sealed
        self._checked()
        kind = yield from self._delivery.opened()
        last = self._queue.put_last([message_of(value, kind) for value in values])
        yield from self._flush(None)
        yield Wait(last.finished)
        assert last.end is not None
        self._sealed = last.end
        return last.end


class Producer(_Face):
    """Appends to one stream, in order, in batches, several of them under way: `stream.producer()`. A context manager.

    Each value is in the stream once, through retries, lost replies and restarts of the server. `id`: who writes (by
    default a random one); a process that repeats what an earlier one appended under the same id and epoch adds nothing.
    `epoch`: a higher one fences off the lower ones (they get StaleEpoch); `claim=True` begins above whatever epoch the
    first append finds, and never claims again.

    A batch goes out `linger` seconds after its first value, or when it has `max_batch_items` or would be larger than
    `max_batch_bytes` (a larger value goes alone). `max_in_flight` batches are under way at once. While
    `max_waiting_bytes` are not durable yet, `append` waits. A batch is tried for `patience` seconds (429, 5xx, lost
    connections), then its values and all behind it are Unavailable, and so is what is appended later, until `claim()`.
    A refused batch (too large, say) is its own values' error; the others go on.

    Raises ProducerConflict where another process writes under the same id and epoch. Safe to share between threads.
    """

    def __init__(self, core: StreamCore, id: str | None = None, **options: Any) -> None:
        super().__init__(core, id, **options)
        self._threads = _Threads(self._queue, self._deliver, self._queue.limits.in_flight)
        self._at_exit = partial(_flush_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    def append(self, value: Any) -> Appending:
        """Hands over one value (see `Stream.append`); it is not durable yet when this returns, see `position`, `flush`.

        Waits where too much waits already. Raises at once for what cannot be appended, and why the producer stopped.
        """
        kind = self._delivery.content_type
        if kind is not None and not self._closed and os.getpid() == self._process:
            place = self._queue.put(message_of(value, kind))
            if place is not None:
                return Appending(self, place)
        return Appending(self, self._drive(self._put(value)))

    def flush(self, timeout: float | None = None) -> None:
        """Waits until all that was appended is durable. Raises the first error since the last flush; TimeoutError."""
        self._drive(self._flush(timeout))

    def seal(self, *values: Any) -> StreamPosition:
        """Ends the stream for ever, after all that was appended and `values`; returns its final position.

        Sealing again does nothing, whatever `values` are then.
        """
        return self._drive(self._seal(values))

    def close(self) -> None:
        """Flushes, and lets go of its threads. The stream goes on. Raises as `flush` does; idempotent."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            atexit.unregister(self._at_exit)
            self._threads.end()

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            return self.close()
        try:
            self.close()
        except Exception as other:  # what the block raised is not hidden by what it caused
            _log.warning("a producer was left with an error, and could not flush: %s", other)

    def _drive(self, steps: Steps[T]) -> T:
        return drive(said(steps), self._core.backend)

    def _deliver(self, batch: Batch) -> None:
        drive(self._delivery.deliver(batch), self._core.backend)

    def _wake(self) -> None:
        self._threads.wake()


class AsyncProducer(_Face):
    """As `Producer`, with `await`; it belongs to the event loop of its first append."""

    _loop: asyncio.AbstractEventLoop | None = None
    _timer: asyncio.TimerHandle | None = None
    _since_turn = 0

    def __init__(self, core: StreamCore, id: str | None = None, **options: Any) -> None:
        super().__init__(core, id, **options)
        self._tasks: set[asyncio.Task[None]] = set()

    async def append(self, value: Any) -> AsyncAppending:
        """As `Producer.append`."""
        kind = self._delivery.content_type
        if kind is None or self._closed or self._loop is not asyncio.get_running_loop():
            return AsyncAppending(self, await self._drive(self._put(value)))
        self._since_turn += 1
        if self._since_turn >= IN_ONE_GO:
            self._since_turn = 0
            await asyncio.sleep(0)  # who appends in a loop would else keep every batch from being sent
        place = self._queue.put(message_of(value, kind))
        return AsyncAppending(self, place or await self._drive(self._put(value)))

    async def flush(self, timeout: float | None = None) -> None:
        """As `Producer.flush`."""
        await self._drive(self._flush(timeout))

    async def seal(self, *values: Any) -> StreamPosition:
        """As `Producer.seal`."""
        return await self._drive(self._seal(values))

    async def close(self) -> None:
        """As `Producer.close`."""
        if self._closed:
            return
        try:
            await self.flush()
        finally:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    async def __aenter__(self) -> AsyncProducer:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            return await self.close()
        try:
            await self.close()
        except Exception as other:
            _log.warning("a producer was left with an error, and could not flush: %s", other)

    async def _drive(self, steps: Steps[T]) -> T:
        return await adrive(said(steps), self._core.backend)

    def _checked(self) -> None:
        super()._checked()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise StoreError(f"{self._core.where}: a producer stays in the event loop that it began in")

    def _wake(self) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        while True:
            batch, wait = self._queue.take()
            if batch is None:
                break
            task = loop.create_task(adrive(self._delivery.deliver(batch), self._core.backend))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if wait is not None and self._timer is None:
            self._timer = loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()


class _Threads:
    """As many threads as batches are under way, made when they are needed and gone when they are not."""

    def __init__(self, queue: Queue, deliver: Callable[[Batch], None], most: int) -> None:
        self._queue = queue
        self._deliver = deliver
        self._most = most
        self._news = threading.Condition(threading.Lock())
        self._workers: set[threading.Thread] = set()
        self._idle = 0
        self._over = False

    def wake(self) -> None:
        with self._news:
            if self._idle:
                self._news.notify()
            elif sum(map(at_work, self._workers)) < self._most and not self._over:
                thread = threading.Thread(target=self._work, name="agentstream-producer", daemon=True)
                self._workers.add(thread)
                thread.start()

    def end(self) -> None:
        with self._news:
            self._over = True
            self._news.notify_all()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            self.wake()  # more may be due
            self._deliver(batch)

    def _next(self) -> Batch | None:
        quiet = False
        with self._news:
            while True:
                batch, wait = self._queue.take()
                if batch is not None:
                    return batch
                if self._over or (quiet and wait is None):
                    self._workers.discard(threading.current_thread())
                    return None
                self._idle += 1
                heard = self._news.wait(IDLE if wait is None else wait)
                self._idle -= 1
                quiet = not heard and wait is None


def _flush_at_exit(producer: weakref.ref[Producer]) -> None:
    found = producer()
    if found is None or os.getpid() != found._process:
        return
    try:
        found.flush(AT_EXIT)
    except Exception as error:
        _log.error("a producer that was not closed could not flush as the program ended: %s", error)
