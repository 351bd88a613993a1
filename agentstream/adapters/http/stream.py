"""A response's body on its way to the SDK: recorded while it passes, or played from the record.

Both are sources of chunks: `next_chunk` gives the next one (None at the end), `close` ends it early. What must be
durable before a chunk is handed on is written before `next_chunk` returns it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from agentstream import adapters
from agentstream.adapters.http.again import leave
from agentstream.adapters.http.body import BROKEN, CANCELLED, CLOSED, COMPLETE, CUT, Recorded
from agentstream.adapters.http.redacting import redacted
from agentstream.adapters.http.request import CallFailed
from agentstream.backends.finalizing import in_collector

if TYPE_CHECKING:
    from agentstream.adapters.http.answer import Answer
    from agentstream.adapters.http.driving import Steps
    from agentstream.adapters.http.sdk import Sdk
    from agentstream.adapters.http.watching import Watch


class Tee:
    """Hands a body on and records it as the outcome of `call`.

    A stream of events is handed on as it comes; its outcome is written before the chunk with its end marker, after
    which nothing more is handed on (so that a replay, which knows no more, is the same). Any other body is handed on
    one chunk late, so that the last one is known for the last before it is given away.
    """

    def __init__(
        self, sdk: Sdk, call: adapters.StepCall, response: Any, recorded: Recorded, watch: Watch, ports: Any
    ) -> None:
        self._sdk = sdk
        self._call = call
        self._response = response
        self._recorded = recorded
        self._watch = watch
        self._ports = ports
        self._source = ports.chunks(response)
        self._ahead: bytes | None = None
        self._settled = False
        self._left_place = False
        call.if_left = self._left

    def next_chunk(self) -> Steps[bytes | None]:
        """The next chunk, after what has to be durable before it."""
        if self._settled:
            return (yield from self._drain())
        chunk, self._ahead = self._ahead or (yield from self._pull()), None
        if chunk is None:
            yield from self._end()
            return None
        if self._watch.streams:
            self._feed(self._watch.chunk(chunk))
            if not self._left_place and self._watch.again is not None:
                self._left_place = True
                leave(self._call, self._watch.again)
            last = self._watch.done
        else:
            self._ahead = yield from self._pull()
            last = self._ahead is None
        self._recorded.chunks.append(chunk)
        if last:
            yield from self._end()
        return chunk

    def close(self) -> Steps[None]:
        """The caller wants no more: what was read is the outcome, unless a crash or a cancellation closes the body.

        The garbage collector closes a stream that the caller has dropped; nothing is waited for in its place.
        """
        try:
            if not self._settled:
                yield from self._closed_early(sys.exc_info()[1])
        finally:
            yield lambda: self._ports.close(self._response)

    def _pull(self) -> Steps[bytes | None]:
        try:
            return (yield lambda: self._ports.next(self._source))
        except Exception as error:
            yield from self._settle(BROKEN, error)
            raise
        except BaseException as error:
            self._interrupted(error)
            raise

    def _drain(self) -> Steps[None]:
        """Reads what comes after the end, so that the connection can be used again."""
        try:
            while (yield lambda: self._ports.next(self._source)) is not None:
                pass
        except Exception:
            pass  # the answer is whole and recorded, and a replay would not see this either

    def _feed(self, deltas: list[Any]) -> None:
        for delta in deltas:
            self._call.feed(*delta)

    def _end(self) -> Steps[None]:
        """The body came to its end: with its marker, or without."""
        self._feed(self._watch.end(self._recorded.chunks))
        if self._watch.must_end and not self._watch.done:
            yield from self._settle(CUT, CallFailed("the stream ended before its end marker"))
        else:
            yield from self._settle(self._recorded.end)

    def _closed_early(self, cause: BaseException | None) -> Steps[None]:
        if sys.is_finalizing() or not isinstance(cause, (Exception, GeneratorExit, type(None))):
            self._interrupted(cause)
        elif in_collector():
            self._ports.dropped(self._call)
        else:
            yield from self._settle(CLOSED)

    def _interrupted(self, cause: BaseException | None) -> None:
        """Neither an answer nor an error: the task was cancelled, or the process is going down."""
        if isinstance(cause, asyncio.CancelledError):
            self._call.cancel(self._told(CANCELLED)[1])
        else:
            self._settled = True
            self._call.abandon()

    def _settle(self, end: str, error: Exception | None = None) -> Steps[None]:
        """Writes the outcome."""
        answer, result = self._told(end)
        if error is None:
            error = self._failure(answer.failure)
        for kind, value in answer.events() if error is None else ():
            self._call.emit(kind, value)
        if error is None:
            yield lambda: self._ports.finish(self._call, result, usage=answer.usage)
        else:
            yield lambda: self._ports.fail(self._call, error, result=result, usage=answer.usage)

    def _left(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The outcome of a body that the code neither read to its end nor closed: as if it were closed now."""
        answer, result = self._told(CLOSED)
        for kind, value in answer.events():
            self._call.emit(kind, value)
        return result, answer.usage

    def _told(self, end: str) -> tuple[Answer, dict[str, Any]]:
        self._settled = True
        self._recorded.end = end
        if self._call.redacts:
            recorded = self._recorded
            recorded.chunks[:] = redacted(self._call, recorded.headers.get("content-type", ""), recorded.chunks)
        answer = self._watch.answer()
        return answer, self._recorded.stored(self._sdk.dictionaries, self._texts(answer))

    def _texts(self, answer: Answer) -> list[str]:
        """What the events before the outcome say of the body too. Not of a stream, which has it in many pieces; not
        where something may be taken out, since rules applied to a text again need not leave it as it is."""
        whole = self._recorded.end == COMPLETE and not self._watch.streams and not self._call.redacts
        return answer.long_texts() if whole and self._failure(answer.failure) is None else []

    def _failure(self, said: str | None) -> CallFailed | None:
        """The error that an answer is, if it is one: by its status, or by what it says."""
        status = self._recorded.status
        if status >= 400:
            body = b"".join(self._recorded.chunks)
            return CallFailed(f"HTTP status {status}: {body[:500].decode(errors='replace')}")
        return CallFailed(said) if said else None


class Played:
    """A recorded body: the same chunks, and the same end."""

    def __init__(self, call: adapters.StepCall, recorded: Recorded, error: Exception | None, ports: Any) -> None:
        self._call = call
        self._ports = ports
        self._recorded = recorded
        self._error = error
        self._next = 0

    def next_chunk(self) -> Steps[bytes | None]:
        """The next chunk as it was recorded."""
        if self._next < len(self._recorded.chunks):
            self._next += 1
            return self._recorded.chunks[self._next - 1]
        if self._recorded.end == CLOSED:
            adapters.diverge("this body is read beyond where it was closed when it was recorded", call=self._call)
        if self._recorded.end == BROKEN and self._error is not None:
            raise self._error
        if self._recorded.end == CANCELLED:
            yield self._ports.cancelled
        return None

    def close(self) -> Steps[None]:
        """Nothing to release."""
        return
        yield
