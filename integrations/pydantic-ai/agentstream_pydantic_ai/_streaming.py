"""A streamed answer on its way to the agent: recorded while it passes, or played from the record."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from pydantic_ai.messages import ModelResponse, ModelResponseStreamEvent, PartEndEvent
from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters, StreamedResponse

from agentstream.adapters import StepCall, diverge, muted
from agentstream.adapters.ending import torn_down
from agentstream_pydantic_ai._messages import dump_events, load_events, response_of, told_response
from agentstream_pydantic_ai._telling import Live, said, usage_of

LEFT = "left"
"""How an answer ended that was not read to its end."""


class Tape:
    """Records one stream. Its outcome is durable before the agent learns that the answer is whole."""

    def __init__(self, call: StepCall, stream: StreamedResponse) -> None:
        self._call = call
        self._stream = stream
        self._live = Live(call)
        self._handed: list[ModelResponseStreamEvent] = []
        self.response: ModelResponse | None = None
        """The whole answer as it was recorded."""
        self.passing: AsyncIterator[ModelResponseStreamEvent] | None = None
        """The one iterator over it."""
        call.if_left = self._if_left

    async def recorded(self, parameters: ModelRequestParameters) -> StreamedResponse:
        """The stream itself, recorded as it is read. Where something may be taken out of it, it is handed on when it
        is whole, as it was recorded; who follows the session sees it as it comes."""
        if not self._call.redacts:
            stream: Any = self._stream
            stream.__class__ = _watched(type(stream))
            stream._agentstream_tape = self
            return stream
        async for _ in self.events(aiter(self._stream)):
            pass
        assert self.response is not None
        return CompletedStreamedResponse(self.response, model_request_parameters=parameters, replay_events=True)

    async def events(self, source: AsyncIterator[ModelResponseStreamEvent]) -> AsyncIterator[ModelResponseStreamEvent]:
        """The events of `source`, a part's end one late: the last is handed on when the outcome is durable."""
        late: ModelResponseStreamEvent | None = None
        while True:
            try:
                with muted():
                    event = await anext(source, None)
            except Exception as error:
                await self._failed(error)
                raise
            if event is None:
                await self._whole(late)
            if late is not None:
                self._handed.append(late)
                yield late
                late = None
            if event is None:
                return
            self._live.feed(event, self._stream.provider_response_id)
            if isinstance(event, PartEndEvent):
                late = event
            else:
                self._handed.append(event)
                yield event

    async def left(self, cause: BaseException | None) -> None:
        """The agent reads no more: what it read is the outcome, unless a crash or a cancellation is why."""
        call = self._call
        if call.ended:
            return
        if isinstance(cause, asyncio.CancelledError):
            call.cancel(self._result(LEFT)[0])
        elif torn_down() or not isinstance(cause, (Exception, GeneratorExit, type(None))):
            call.abandon()
        else:
            result, usage = self._if_left()
            await call.afinish(result, usage=usage)

    async def _whole(self, last: ModelResponseStreamEvent | None) -> None:
        """The source came to its end, or was stopped by the agent."""
        if self._call.ended:
            return
        handed = [*self._handed, last] if last is not None else self._handed
        result, response = self._told(handed, None)
        usage = usage_of(response)
        self._tell(response)
        recorded = await self._call.afinish(result, usage=usage)
        if recorded is not None:
            self.response = response_of(recorded["response"])

    async def _failed(self, error: Exception) -> None:
        if not self._call.ended:
            await self._call.afail(error, result=self._result(None)[0])

    def _if_left(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        result, response = self._result(LEFT)
        self._tell(response)
        return result, usage_of(response)

    def _result(self, end: str | None) -> tuple[dict[str, Any], ModelResponse]:
        return self._told(self._handed, end)

    def _told(self, handed: list[ModelResponseStreamEvent], end: str | None) -> tuple[dict[str, Any], ModelResponse]:
        response = self._stream.get()
        result: dict[str, Any] = {"response": told_response(response)}
        if not self._call.redacts:
            result["events"] = zlib.compress(dump_events(handed), 9)
        if end is not None:
            result["end"] = end
        return result, response

    def _tell(self, response: ModelResponse) -> None:
        for kind, value in said(response, self._live.message_id(response.provider_response_id), self._call.name):
            self._call.emit(kind, value)


@cache
def _watched(kind: type[StreamedResponse]) -> type[StreamedResponse]:
    """The class of a stream that is recorded while it is read: a subclass of its own, whoever asks for that."""

    class Watched(kind):
        __slots__ = ()  # so that a stream of the one class can become one of the other
        _agentstream_tape: Tape

        def __aiter__(self) -> AsyncIterator[ModelResponseStreamEvent]:
            tape = self._agentstream_tape
            if tape.passing is None:
                tape.passing = tape.events(super().__aiter__())
            return tape.passing

        def get(self) -> ModelResponse:
            return self._agentstream_tape.response or super().get()

    Watched.__name__, Watched.__qualname__ = kind.__name__, kind.__qualname__
    return Watched


# --- from the record -------------------------------------------------------------------------------------------------


async def played(call: StepCall, parameters: ModelRequestParameters) -> StreamedResponse:
    """A recorded answer in the pieces that it came in; its end is what it was."""
    served = call.served
    assert served is not None
    result: Any = served.result
    error = served.error.exception() if served.error is not None else None
    if not isinstance(result, dict):
        if served.cancelled:
            await asyncio.Event().wait()  # until the code cancels it again, as it did
        raise error or ValueError(f"the outcome of step {call.key} is no answer of a model")
    events: Any = result.get("events")
    return _Played(
        call,
        response_of(result["response"]),
        parameters,
        load_events(zlib.decompress(events)) if isinstance(events, bytes) else None,
        _cancelled() if served.cancelled else error,
        str(result.get("end") or ""),
    )


def _cancelled() -> BaseException:
    return asyncio.CancelledError()


class _Played(CompletedStreamedResponse):
    """A recorded stream."""

    def __init__(
        self,
        call: StepCall,
        response: ModelResponse,
        parameters: ModelRequestParameters,
        events: list[ModelResponseStreamEvent] | None,
        error: BaseException | None,
        end: str,
    ) -> None:
        super().__init__(
            response, model_request_parameters=parameters, replay_events=True if events is None else events
        )
        self.provider_response_id = response.provider_response_id
        self.provider_details = response.provider_details
        self.finish_reason = response.finish_reason
        self._call = call
        self._error = error
        self._end = end
        self._passing: AsyncIterator[ModelResponseStreamEvent] | None = None
        self._is_whole = False

    def __aiter__(self) -> AsyncIterator[ModelResponseStreamEvent]:
        if self._passing is None:
            self._passing = self._events(super().__aiter__())
        return self._passing

    async def _events(self, source: AsyncIterator[ModelResponseStreamEvent]) -> AsyncIterator[ModelResponseStreamEvent]:
        async for event in source:
            yield event
        if isinstance(self._error, asyncio.CancelledError):
            await asyncio.Event().wait()  # until the code cancels it again, as it did
        if self._error is not None:
            raise self._error
        if self._end == LEFT and not self._cancelled:
            diverge("this answer is read beyond where it was left when it was recorded", call=self._call)
        self._is_whole = True

    def get(self) -> ModelResponse:
        """The answer as it was recorded, once it was read to its end; until then what came of it."""
        return self.response if self._is_whole else super().get()
