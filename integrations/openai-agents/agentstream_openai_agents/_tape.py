"""A streamed answer while it is recorded, and its recorded form: the events as server-sent events, compressed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agents.models.fake_id import FAKE_RESPONSES_ID

from agentstream.adapters.http import CallFailed, Recorded
from agentstream.adapters.http.redacting import redacted
from agentstream.adapters.http.responses import Responses
from agentstream_openai_agents._dictionary import V1
from agentstream_openai_agents._forms import dumped, event_of, to_json

if TYPE_CHECKING:
    from agentstream.adapters import StepCall

_DICTIONARIES = {"zlib/1": V1}
_SSE = "text/event-stream"


def events_in(said: dict[str, Any]) -> Iterator[Any]:
    """The events of a recorded stream."""
    recorded = Recorded.read(said, _DICTIONARIES)
    for line in b"".join(recorded.chunks).splitlines() if recorded is not None else ():
        if line.startswith(b"data: "):
            event = event_of(json.loads(line[6:]))
            if "request_id" in said and getattr(event, "response", None) is not None:
                event.response._request_id = said["request_id"]
            yield event


class Tape:
    """One stream being recorded as the outcome of `call`."""

    def __init__(self, call: StepCall, model: str) -> None:
        self._call = call
        self._model = model
        self._recorded = Recorded(200, {})
        self._decoder = Responses()
        self._request_id: str | None = None
        self._last: Any = None
        self._settled = False

    @property
    def done(self) -> bool:
        """Whether the event came that ends an answer."""
        return self._decoder.done

    def add(self, event: Any) -> None:
        data = dumped(event)
        self._recorded.chunks.append(f"data: {to_json(data)}\n\n".encode())
        for delta in self._decoder.event("", "", data):
            target, message = self._known(delta.target), self._known(delta.message or "")
            self._call.feed(target, delta.text, delta.kind, delta.name, message)
        self._last = event
        self._request_id = getattr(getattr(event, "response", None), "_request_id", None) or self._request_id

    def rest(self) -> Iterator[Any]:
        """What is handed on only once the outcome is durable."""
        if self._call.redacts:
            yield from events_in(self._result())
        elif self.done:
            yield self._last

    async def settle(self) -> None:
        """Writes the outcome of a stream that came to its end."""
        if not self.done:
            await self._fail("cut", CallFailed("the stream ended before its last event"))
            return
        answer = self._told()
        if answer.failure is not None:
            await self._call.afail(CallFailed(answer.failure), result=self._result(), usage=answer.usage)
            return
        self._emit(answer)
        await self._call.afinish(self._result(), usage=answer.usage)

    async def broken(self, error: Exception) -> None:
        """The stream broke off."""
        await self._fail("broken", error)

    async def closed(self) -> None:
        """The caller wants no more: what was read is the outcome."""
        if not self._settled:
            answer = self._told("closed")
            self._emit(answer)
            await self._call.afinish(self._result(), usage=answer.usage)

    def cancelled(self) -> None:
        """The task that read was cancelled."""
        if not self._settled:
            self._told("cancelled")
            self._call.cancel(self._result())

    def left(self) -> tuple[Any, Any]:
        """What is recorded where the run ends while the stream stands half read."""
        answer = self._told("closed")
        self._emit(answer)
        return self._result(), answer.usage

    async def _fail(self, end: str, error: Exception) -> None:
        if not self._settled:
            answer = self._told(end)
            await self._call.afail(error, result=self._result(), usage=answer.usage)

    def _told(self, end: str = "complete") -> Any:
        self._settled = True
        self._recorded.end = end
        if self._call.redacts:
            self._recorded.chunks[:] = redacted(self._call, _SSE, self._recorded.chunks)
        return self._decoder.answer()

    def _emit(self, answer: Any) -> None:
        for kind, value in answer.events():
            told = {**value, "id": self._known(value["id"])} if kind == "message" else value
            self._call.emit(kind, told)

    def _known(self, id: str) -> str:
        """An id of its own: models without any give all answers the same."""
        return self._call.key if id in ("", FAKE_RESPONSES_ID) else id

    def _result(self) -> dict[str, Any]:
        said = self._recorded.stored(_DICTIONARIES)
        return said if self._request_id is None else {**said, "request_id": self._request_id}
