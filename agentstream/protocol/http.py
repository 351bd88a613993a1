"""HTTP as values of our own, and what both directions of the translation share: header names, paths, framing.

`requests` translates operations to requests and responses to results (a client's half),
`serving` the other way round (a server's). Neither does I/O. Header names are lower-case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from agentstream.protocol.operations import JSON

Headers = Mapping[str, str]

CONTENT_TYPE = "content-type"
NEXT_OFFSET = "stream-next-offset"
UP_TO_DATE = "stream-up-to-date"
CLOSED = "stream-closed"
CURSOR = "stream-cursor"
TTL = "stream-ttl"
EXPIRES_AT = "stream-expires-at"
SEQ = "stream-seq"
PRODUCER_ID = "producer-id"
PRODUCER_EPOCH = "producer-epoch"
PRODUCER_SEQ = "producer-seq"
EXPECTED_SEQ = "producer-expected-seq"
RECEIVED_SEQ = "producer-received-seq"
FORKED_FROM = "stream-forked-from"
FORK_OFFSET = "stream-fork-offset"
FORK_SUB_OFFSET = "stream-fork-sub-offset"
SSE_ENCODING = "stream-sse-data-encoding"
ETAG = "etag"
IF_NONE_MATCH = "if-none-match"
LOCATION = "location"
CACHE_CONTROL = "cache-control"
RETRY_AFTER = "retry-after"
LIFE = "stream-life"
"""Our server's own: which life of a path a page is of (see `Batch.life`)."""

LONG_POLL = "long-poll"
SSE = "sse"
EVENT_STREAM = "text/event-stream"
OCTETS = "application/octet-stream"

TRUE = "true"


class HttpRequest(msgspec.Struct, frozen=True):
    """One request. `path` is the whole path, percent-encoded; `query` is decoded and in lexicographic order."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Headers = msgspec.field(default_factory=dict)
    body: bytes = b""


class HttpResponse(msgspec.Struct, frozen=True):
    """One response, its body read whole."""

    status: int
    headers: Headers = msgspec.field(default_factory=dict)
    body: bytes = b""


def is_true(value: str | None) -> bool:
    """Whether a header such as `Stream-Closed` says so; anything but "true" counts as absent (§4.1)."""
    return value is not None and value.strip().lower() == TRUE


def number_in(value: str | None) -> int | None:
    """The number that a header says; None for none, and for one beyond all that the protocol has (§5.2.1)."""
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 20 else None


@lru_cache(256)  # asked for with every message, of the same few
def media_type(content_type: str | None) -> str:
    """A content type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_json(content_type: str | None) -> bool:
    """Whether a stream of this type is one of JSON messages (§9.1)."""
    return media_type(content_type) == JSON


def framed(messages: Iterable[bytes], content_type: str) -> bytes:
    """The body that carries messages: always an array for JSON, of which the server takes one level off, else bytes."""
    return b"[%b]" % b",".join(messages) if is_json(content_type) else b"".join(messages)


def flattened(body: bytes) -> tuple[bytes, ...]:
    """The messages of a JSON body, byte for byte: the elements of an array, or the one value it is (§9.1).

    Raises msgspec.DecodeError for what is not JSON.
    """
    try:
        if body.lstrip(b" \t\r\n").startswith(b"["):
            return tuple(map(bytes, _array.decode(body)))
        return (bytes(_value.decode(body)),)
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deeply") from None


_array: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_value: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)
