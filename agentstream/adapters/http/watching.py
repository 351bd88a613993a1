"""Looks at a response while it is recorded: where its body ends, and what a model said in it.

A decoder only looks. What it does not know, or trips over, is recorded and replayed all the same.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Protocol

from agentstream.adapters.http.answer import Answer, Delta
from agentstream.adapters.http.sse import Parser, ServerEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentstream.adapters.http.sdk import Sdk

_log = logging.getLogger("agentstream.adapters.http")


class Decoder(Protocol):
    """Reads one kind of answer. `done` once its end was seen.

    One may have an `again`: where the provider keeps the answer (a path behind the request's), None while unknown.
    """

    done: bool

    def event(self, name: str, data: str, value: Any) -> Iterator[Delta]: ...
    def body(self, value: Any) -> None: ...
    def answer(self) -> Answer: ...


class Other:
    """Reads what every other endpoint gives: usage, and `[DONE]` where it streams."""

    def __init__(self, usage: Callable[[Any, str], dict[str, Any] | None]) -> None:
        self.done = False
        self._counts = usage
        self._usage: dict[str, Any] | None = None
        self._failure: str | None = None

    def event(self, name: str, data: str, value: Any) -> Iterator[Delta]:
        self.done = self.done or data.startswith("[DONE]")
        if name == "error":
            self._failure = data
        return iter(())

    def body(self, value: Any) -> None:
        if isinstance(value, dict):
            self._usage = self._counts(value.get("usage"), str(value.get("model") or ""))

    def answer(self) -> Answer:
        return Answer([], self._usage, self._failure)


def decoder_for(sdk: Sdk, path: str) -> Decoder:
    """The decoder for the answers of an endpoint."""
    return next((kind() for pattern, kind in sdk.decoders if pattern.search(path)), None) or Other(sdk.usage)


class Watch:
    """A decoder over a body's chunks, that never lets a decoder's trouble reach the call."""

    def __init__(self, sdk: Sdk, path: str, content_type: str) -> None:
        self._decoder = decoder_for(sdk, path)
        self._known = not isinstance(self._decoder, Other)
        self._broken = False
        self._parser = Parser() if "text/event-stream" in content_type else None
        self._is_json = "json" in content_type

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of events, each of which is to be handed on as it comes."""
        return self._parser is not None

    @property
    def again(self) -> str | None:
        """Where the answer can be fetched if it breaks off, as far as is known: see `again.leave`."""
        return getattr(self._decoder, "again", None)

    @property
    def must_end(self) -> bool:
        """Whether the body is of a kind that has a marker at its end, so that one without was cut."""
        return self.streams and self._known and not self._broken

    @property
    def done(self) -> bool:
        """Whether the marker was seen that ends such a body."""
        return self._decoder.done

    def chunk(self, chunk: bytes) -> list[Delta]:
        """The deltas that end in `chunk`."""
        return self._read(self._parser.feed(chunk)) if self._parser else []

    def end(self, chunks: Iterable[bytes]) -> list[Delta]:
        """Looks at the body's end: at the whole body, if it was no stream."""
        if self._parser:
            return self._read(self._parser.end())
        if self._is_json:
            try:
                self._decoder.body(json.loads(b"".join(chunks)))
            except Exception as error:
                self._give_up(error)
        return []

    def answer(self) -> Answer:
        """What came so far; nothing but a failure, where the decoder did not understand."""
        try:
            answer = self._decoder.answer()
        except Exception as error:
            self._give_up(error)
            return Answer()
        return Answer(failure=answer.failure) if self._broken else answer

    def _read(self, events: Iterator[ServerEvent]) -> list[Delta]:
        deltas: list[Delta] = []
        for event in events:
            try:
                deltas += self._decoder.event(event.name, event.data, _parsed(event.data))
            except Exception as error:
                self._give_up(error)
        return deltas

    def _give_up(self, error: Exception) -> None:
        if not self._broken:
            kind = type(self._decoder).__name__
            _log.warning("an answer was not understood (%s): recorded, without events", kind, exc_info=error)
        self._broken = True


def _parsed(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
