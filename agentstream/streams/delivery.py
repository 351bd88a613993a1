"""Delivering a batch: one append under the producer's number, repeated until it is answered, and verified where the
answer leaves a doubt. As steps, for any backend.

A duplicate's answer does not say where its messages are, nor whose they are: another process
may write under the same id. So they are looked for in the stream, and what is not there was
somebody else's.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from agentstream.backends.driving import Sleep, Wait
from agentstream.errors import AgentStreamError, NotFound, ProducerConflict, Unavailable
from agentstream.protocol.errors import ProtocolError, SequenceGap, StaleEpoch, StreamClosed
from agentstream.protocol.http import is_json
from agentstream.protocol.operations import JSON, Append, Appended
from agentstream.protocol.operations import Producer as Place
from agentstream.streams.locating import find
from agentstream.streams.telling import told
from agentstream.streams.values import BEGINNING, StreamPosition

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.streams.batching import Batch, Queue
    from agentstream.streams.core import StreamCore

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
"""Seconds between tries, besides those that a server's client makes by itself."""


class Delivery:
    """What batches of one producer are sent under. `patience`: seconds that a batch is tried; `claim`: see Producer."""

    def __init__(self, core: StreamCore, queue: Queue, id: str, epoch: int, *, patience: float, claim: bool) -> None:
        self.core = core
        self.queue = queue
        self.id = id
        self.epoch = epoch
        self.content_type: str | None = None
        self._highest = epoch
        self._patience = patience
        self._claim = claim

    def opened(self) -> Steps[str]:
        """The stream's content type; asks once where it ends now, which is before all that will be written."""
        if self.content_type is None:
            head = yield from self.core.head()
            if self.queue.end is None:
                self.queue.end = head.position
            self.content_type = head.content_type
        return self.content_type

    def claim(self) -> None:
        """Goes on under an epoch above all that we know of. Raises RuntimeError while something is under way."""
        self.queue.restart()
        self.epoch = self._highest = self._highest + 1

    # --- sending -----------------------------------------------------------------------------------------------------

    def deliver(self, batch: Batch) -> Steps[None]:
        """Sends a batch that was taken from the queue, and tells the queue what came of it. Raises no error of it."""
        try:
            yield from self._arrive(batch)
        except _Overtaken:
            self.queue.given_back(batch)
        except Exception as error:
            final = not isinstance(error, AgentStreamError) or isinstance(error, _FINAL)
            self.queue.failed(batch, told(error), final=final)
        except BaseException:
            where = f"{self.core.where}: a producer was interrupted, and nobody knows what of its last batches is there"
            self.queue.failed(batch, Unavailable(where), final=True)
            raise
        else:
            self.queue.succeeded(batch)

    def _arrive(self, batch: Batch) -> Steps[None]:
        """Has the batch in the stream once, and notes where. Raises what it was refused for."""
        while True:
            answer, doubt = yield from self._answered(batch)
            yield from self._after(batch.previous)
            batch.anchor = self.queue.end
            claims, self._claim = self._claim, False  # it is for the very first append alone
            if isinstance(answer, ProtocolError):
                if claims and isinstance(answer, StaleEpoch):
                    self.epoch = self._highest = answer.epoch + 1
                    continue
                if isinstance(answer, StaleEpoch):
                    self._highest = max(self._highest, answer.epoch)
                if not doubt or not (yield from self._found(batch, doubt)):
                    raise _explained(answer, self)
                return
            if claims and answer.duplicate and not doubt:
                self.epoch = self._highest = self.epoch + 1  # another life's, of the same epoch
                continue
            if answer.offset is not None and not answer.duplicate:
                batch.end = StreamPosition(answer.offset)
            elif not (yield from self._found(batch, doubt)):
                raise self._conflict()
            return

    def _answered(self, batch: Batch) -> Steps[tuple[Appended | ProtocolError, bool]]:
        """What the keeper says in the end, and whether an earlier try may have been the one that was applied."""
        doubt, overtook = False, False
        pause, deadline = FIRST_PAUSE, time.monotonic() + self._patience
        body, close = tuple(batch.messages), batch.close
        while True:
            place = Place(self.id, self.epoch, batch.seq)
            try:
                result: Appended = yield Append(self.core.path, body, self.content_type or JSON, place, close=close)
            except Unavailable:
                doubt = True
                if time.monotonic() + pause > deadline:
                    raise
                yield Sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)
            except ProtocolError as error:
                doubt = doubt or error.repeated
                if not isinstance(error, SequenceGap) or batch.previous is None or overtook:
                    return error, doubt
                # it overtook the batch before it, without which it cannot be written
                yield from self._after(batch.previous)
                if batch.previous.state != "written":
                    if not doubt and self.queue.stopped is None:
                        raise _Overtaken from None
                    raise Unavailable(
                        f"{self.core.where}: nobody knows whether a batch behind one that failed was written"
                    ) from error
                overtook = True
            else:
                return result, doubt or result.repeated

    def _after(self, previous: Batch | None) -> Steps[None]:
        if previous is not None:
            yield Wait(previous.left)

    # --- verifying ---------------------------------------------------------------------------------------------------

    def _found(self, batch: Batch, doubt: bool) -> Steps[bool]:
        """Whether the batch's messages are in the stream, where they can be ours; notes where."""
        if not batch.messages:
            head = yield from self.core.head()
            batch.end = head.position
            return head.closed
        # the first of a producer may repeat what the same one wrote in an earlier life, any time before
        starts = [BEGINNING] if self.queue.first else []
        if (doubt or not starts) and self.queue.end is not None:
            starts.insert(0, self.queue.end)
        for start in starts:
            run = yield from find(self.core.path, start, batch.messages, self.content_type or JSON)
            if run is not None:
                batch.run, batch.end = run, run.end
                return True
        return False

    def located(self, batch: Batch, number: int) -> Steps[StreamPosition]:
        """The position after a message of a batch that was written. Only the last one's is known without looking."""
        assert batch.end is not None
        if number == len(batch.messages) - 1:
            return batch.end
        kind = self.content_type or JSON
        if batch.run is None:
            batch.run = yield from find(self.core.path, batch.anchor or BEGINNING, batch.messages, kind)
        run = batch.run
        if run is None:
            raise NotFound(f"{self.core.where}: what was appended is not there any more")
        count = number + 1 if is_json(kind) else sum(map(len, batch.messages[: number + 1]))
        return StreamPosition(run.offset, run.skip + count)

    def _conflict(self) -> ProducerConflict:
        return ProducerConflict(
            f"{self.core.where}: somebody else writes under the producer id {self.id!r} and epoch {self.epoch}; "
            "what was appended here is not there. Give each process an id or an epoch of its own"
        )


class _Overtaken(Exception):
    """A batch before this one was refused, so this one was not written."""


_FINAL = (Unavailable, ProducerConflict, StaleEpoch, StreamClosed)


def _explained(error: ProtocolError, delivery: Delivery) -> AgentStreamError:
    if not isinstance(error, SequenceGap):
        return error
    found = ProducerConflict(
        f"{delivery.core.where}: the server expects number {error.expected} of the producer {delivery.id!r}, not "
        f"{error.received}: it has lost what it knew of it, or somebody else uses its id; `claim()` goes on"
    )
    found.__cause__ = error
    return found
