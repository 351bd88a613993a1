"""The official client suite's commands, as what they ask of this library.

Written once for both adapters: each command is a generator that yields what the library returns
(an awaitable, for the async one) and is sent its value. Nothing here retries, counts or remembers
for the library; only content types are kept, as the suite asks, and producers by their name.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from msgspec import Raw

import agentstream
from agentstream.errors import AgentStreamError, NotFound, ProducerConflict, StoreError, Unavailable
from agentstream.protocol.errors import (
    BadReply,
    InvalidRequest,
    ProtocolError,
    SequenceConflict,
    StreamClosed,
    StreamConflict,
)

Answer = dict[str, Any]
Steps = Generator[Any, Any, Any]

FEATURES = (
    "batching", "sse", "longPoll", "auto", "streaming", "dynamicHeaders", "retryOptions", "batchItems",
    "strictZeroValidation",
)  # fmt: skip

RETRY_NAMES = {"tries": "maxRetries", "first": "initialDelayMs", "longest": "maxDelayMs", "factor": "multiplier"}


class Adapter:
    """State between commands. `face` is Client or AsyncClient, `advance` takes the next of an iterator of pages."""

    def __init__(self, face: Callable[..., Any], advance: Callable[[Any], Any]) -> None:
        self._face = face
        self._advance = advance
        self._url = ""
        self._clients: list[Any] = []
        self._reset()

    def _reset(self) -> None:
        self._types: dict[str, str] = {}
        self._producers: dict[tuple[str, str, int], Any] = {}
        self._dynamic: dict[str, dict[str, Callable[[], str]]] = {"headers": {}, "params": {}}
        self._sent: dict[str, dict[str, str]] = {"headers": {}, "params": {}}

    def answer(self, command: Answer) -> Steps:
        """The one answer to a command."""
        kind = command["type"]
        try:
            found = yield from getattr(self, f"_{kind.replace('-', '_')}")(command)
        except Exception as error:
            return refusal(error, command)
        return {"type": kind, "success": True, **found}

    # --- clients and streams -----------------------------------------------------------------------------------------

    def _client(self, headers: dict[str, Any]) -> Any:
        client = self._face(self._url, headers=headers, params=self._dynamic["params"])
        self._clients.append(client)
        return client

    def _stream(self, command: Answer) -> Any:
        self._sent = {"headers": {}, "params": {}}
        own = command.get("headers")
        client = self._client({**self._dynamic["headers"], **own}) if own else self._main
        path = command["path"]
        return client.stream(self._url + path, content_type=self._types.get(path))

    def _init(self, command: Answer) -> Steps:
        yield from self._close_all()
        self._reset()
        self._url = command["serverUrl"]
        self._main = self._client({})
        features = dict.fromkeys(FEATURES, True)
        return {"clientName": "agentstream", "clientVersion": agentstream.__version__, "features": features}

    def _shutdown(self, command: Answer) -> Steps:
        yield from self._close_all()
        return {}

    def _close_all(self) -> Steps:
        for closed in (*self._producers.values(), *self._clients):
            with suppress(AgentStreamError):  # of a test that has ended
                yield closed.close()
        self._clients.clear()

    # --- streams -----------------------------------------------------------------------------------------------------

    def _create(self, command: Answer) -> Steps:
        content_type = command.get("contentType", "application/octet-stream")
        data = command.get("data")
        made = yield self._stream(command).create(
            content_type,
            values=() if data is None else _initial(data, content_type),
            closed=command.get("closed", False),
            ttl=command.get("ttlSeconds"),
            expires_at=command.get("expiresAt"),
        )
        self._types[command["path"]] = content_type
        return {"status": 201 if made.new else 200, "offset": str(made.position)}

    def _head(self, command: Answer) -> Steps:
        head = yield self._stream(command).head()
        self._types[command["path"]] = head.content_type
        return {
            "status": 200,
            "offset": str(head.position),
            "contentType": head.content_type,
            "streamClosed": head.closed,
        }

    _connect = _head

    def _append(self, command: Answer) -> Steps:
        data: Any = base64.b64decode(command["data"]) if command.get("binary") else command["data"]
        stream = self._stream(command)
        seq = command.get("seq")
        position = yield stream.append(self._value(command, data), seq=None if seq is None else str(seq))
        return {"status": 200, "offset": str(position), **self._told()}

    def _value(self, command: Answer, data: Any) -> Any:
        """JSON text stays as it is."""
        json_stream = self._types.get(command["path"], "").startswith("application/json")
        return Raw(data.encode() if isinstance(data, str) else data) if json_stream else data

    def _read(self, command: Answer) -> Steps:
        stream, live = self._stream(command), command.get("live") or False
        start, most = command.get("offset", "-1"), command.get("maxChunks", 100)
        patience = command.get("timeoutMs", 5000) / 1000
        modes = {True: None, "sse": "sse", "long-poll": "long-poll"}
        items = stream.follow(start, live=modes[live], wait=patience) if live else stream.read(start)
        pages, chunks = items.pages(), []
        deadline = time.monotonic() + patience
        closing = getattr(items, "aclose", None) or items.close
        try:
            while len(chunks) < most and (page := (yield self._advance(pages))) is not None:
                if page.blocks:
                    chunks.append(_chunk(page))
                # who is not told how many chunks to wait for is done with the first that is the latest
                settled = page.up_to_date and (
                    command.get("waitForUpToDate") or (chunks and "maxChunks" not in command)
                )
                if live and (settled or time.monotonic() > deadline):
                    break
        finally:
            yield closing()
        quiet = live == "long-poll" and not chunks
        return {
            "status": 204 if quiet else 200,
            "chunks": chunks,
            "offset": str(items.position),
            "upToDate": items.up_to_date,
            "streamClosed": items.closed,
            **self._told(),
        }

    def _delete(self, command: Answer) -> Steps:
        yield self._stream(command).delete()
        return {"status": 200}

    def _close(self, command: Answer) -> Steps:
        data = command.get("data")
        stream = self._stream(command)
        position = yield stream.seal(*(() if data is None else (self._value(command, data),)))
        return {"status": 200, "finalOffset": str(position)}

    def _told(self) -> Answer:
        """The dynamic values that went with this command."""
        return {f"{kind}Sent": sent for kind, sent in self._sent.items() if sent}

    # --- producers ---------------------------------------------------------------------------------------------------

    def _producer(self, command: Answer) -> Any:
        name = (command["path"], command["producerId"], command.get("epoch", 0))
        if name not in self._producers:
            self._producers[name] = self._made(command)
        return self._producers[name]

    def _made(self, command: Answer, **options: Any) -> Any:
        claim = bool(command.get("autoClaim"))
        return self._stream(command).producer(
            command["producerId"], epoch=command.get("epoch", 0), claim=claim, linger=30.0, **options
        )

    def _idempotent_append(self, command: Answer) -> Steps:
        producer = self._producer(command)
        yield producer.append(self._value(command, command["data"]))
        yield producer.flush()
        return {"status": 200}

    def _idempotent_append_batch(self, command: Answer) -> Steps:
        flight = command.get("maxInFlight", 1)
        producer = self._made(command, max_in_flight=flight, **({"max_batch_items": 2} if flight > 1 else {}))
        for item in command["items"]:
            yield producer.append(self._value(command, item))
        yield producer.close()
        return {"status": 200}

    def _idempotent_close(self, command: Answer) -> Steps:
        data = command.get("data")
        values = () if data is None else (self._value(command, data),)
        position = yield self._producer(command).seal(*values)
        return {"status": 200, "finalOffset": str(position)}

    def _idempotent_detach(self, command: Answer) -> Steps:
        name = (command["path"], command["producerId"], command.get("epoch", 0))
        producer = self._producers.pop(name, None)
        if producer is not None:
            yield producer.close()
        return {"status": 200}

    # --- dynamic values, validation ----------------------------------------------------------------------------------

    def _set_dynamic_header(self, command: Answer) -> Steps:
        yield from self._set("headers", command)
        return {}

    def _set_dynamic_param(self, command: Answer) -> Steps:
        yield from self._set("params", command)
        return {}

    def _set(self, kind: str, command: Answer) -> Steps:
        name, counter = command["name"], itertools.count(1)
        values: dict[str, Callable[[], str]] = {
            "counter": lambda: str(next(counter)),
            "timestamp": lambda: str(time.time_ns() // 1_000_000),
            "token": lambda: command.get("initialValue", ""),
        }
        value = values[command["valueType"]]

        def asked() -> str:
            found = self._sent[kind][name] = value()
            return found

        self._dynamic[kind][name] = asked
        self._main = self._client(dict(self._dynamic["headers"]))
        yield None

    def _clear_dynamic(self, command: Answer) -> Steps:
        self._dynamic = {"headers": {}, "params": {}}
        self._main = self._client({})
        yield None
        return {}

    def _validate(self, command: Answer) -> Steps:
        target = command["target"]
        if target["target"] == "retry-options":
            retries, first = target.get("maxRetries"), target.get("initialDelayMs")
            longest, factor = target.get("maxDelayMs"), target.get("multiplier")
            given = {
                "tries": None if retries is None else retries + 1,
                "first": None if first is None else first / 1000,
                "longest": None if longest is None else longest / 1000,
                "factor": factor,
            }
            agentstream.Backoff(**{name: value for name, value in given.items() if value is not None})
        else:
            names = {"epoch": "epoch", "maxBatchBytes": "max_batch_bytes", "maxBatchItems": "max_batch_items"}
            options = {names[name]: value for name, value in target.items() if name in names}
            producer = self._main.stream("validated").producer(target.get("producerId"), **options)
            yield producer.close()
        yield None
        return {}


def _initial(data: str, content_type: str) -> tuple[Any, ...]:
    """The body of a create: of a JSON array each element is a message."""
    if not content_type.startswith("application/json"):
        return (data,)
    found = json.loads(data)
    return tuple(found) if isinstance(found, list) else (found,)


def _chunk(page: Any) -> Answer:
    offset = str(page.position)
    if page.json:
        values = [item.value for item in page]
        return {"data": json.dumps(values, separators=(",", ":"), ensure_ascii=False), "offset": offset}
    body = b"".join(page.blocks)
    try:
        return {"data": body.decode(), "offset": offset}
    except UnicodeDecodeError:
        return {"data": base64.b64encode(body).decode(), "offset": offset, "binary": True}


def refusal(error: Exception, command: Answer) -> Answer:
    """How the suite calls what the library raised."""
    code, status = _named(error, command["type"])
    message = re.sub(r"^(\w+)=", lambda found: _their_name(found[1]) + ":", str(error))
    answer = {"type": "error", "success": False, "commandType": command["type"], "errorCode": code, "message": message}
    return {**answer, "status": status} if status is not None else answer


def _their_name(name: str) -> str:
    return RETRY_NAMES.get(name) or re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def _named(error: Exception, kind: str) -> tuple[str, int | None]:
    cause = error.__cause__ if isinstance(error, (NotFound, ProducerConflict)) else error
    status = cause.status if isinstance(cause, ProtocolError) else None
    if isinstance(error, NotFound):
        return "NOT_FOUND", status
    if isinstance(error, InvalidRequest):
        return ("INVALID_OFFSET" if kind == "read" else "UNEXPECTED_STATUS"), status
    codes: list[tuple[type[Exception], str]] = [
        (StreamClosed, "STREAM_CLOSED"),
        (SequenceConflict, "SEQUENCE_CONFLICT"),
        (StreamConflict, "CONFLICT"),
        (ProducerConflict, "SEQUENCE_CONFLICT"),
        (ProtocolError, "UNEXPECTED_STATUS"),
        (BadReply, "PARSE_ERROR"),
        (Unavailable, "NETWORK_ERROR"),
        (StoreError, "UNEXPECTED_STATUS"),
        (TimeoutError, "TIMEOUT"),
        (agentstream.NotSerializable, "PARSE_ERROR"),
        (ValueError, "INVALID_ARGUMENT"),
    ]
    return next((code for one, code in codes if isinstance(error, one)), "INTERNAL_ERROR"), status
