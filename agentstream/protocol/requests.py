"""A client's half of the translation: operations to requests, responses to results."""

from __future__ import annotations

import msgspec

from agentstream.protocol import http
from agentstream.protocol.errors import BadReply, InvalidRequest
from agentstream.protocol.http import (
    Headers,
    HttpRequest,
    HttpResponse,
    flattened,
    framed,
    is_json,
    is_true,
    number_in,
)
from agentstream.protocol.operations import (
    NOW,
    START,
    Append,
    Appended,
    Batch,
    Create,
    Created,
    Follow,
    Head,
    Operation,
    Read,
    Result,
    StreamInfo,
)
from agentstream.protocol.problems import error_of


def request_of(operation: Operation | Follow, root: str) -> HttpRequest:
    """The request that asks for an operation; `root` is the path that all streams lie below (`/v1/stream`).

    What HTTP has no word for is left to the caller: `Read.skip`, `Read.limit`, and how long `wait` is.
    """
    path = f"{root}/{operation.path}"
    if isinstance(operation, Append):
        return HttpRequest("POST", path, headers=_append_headers(operation), body=_body(operation))
    if isinstance(operation, Read):
        live = http.LONG_POLL if operation.wait is not None else None
        headers = {http.IF_NONE_MATCH: operation.etag} if operation.etag is not None else {}
        return HttpRequest("GET", path, _query(operation.offset, live, operation.cursor), headers)
    if isinstance(operation, Create):
        return HttpRequest("PUT", path, headers=_create_headers(operation, root), body=_body(operation))
    if isinstance(operation, Follow):
        return HttpRequest("GET", path, _query(operation.offset, http.SSE, operation.cursor))
    return HttpRequest("HEAD" if isinstance(operation, Head) else "DELETE", path)


def _body(operation: Create | Append) -> bytes:
    """Nothing at all for no messages: `[]` cannot be appended, and closing alone has no body (§5.2)."""
    return framed(operation.body, operation.content_type) if operation.body else b""


def _sendable(path: str, headers: dict[str, str]) -> Headers:
    """The headers; InvalidRequest for a value that HTTP has no way to carry."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise InvalidRequest(
                f"stream {path!r}: {name} is {value[:80]!r}; a header is printable ASCII without spaces around it"
            )
    return headers


def _append_headers(operation: Append) -> Headers:
    headers: dict[str, str] = {}
    if operation.body:
        headers[http.CONTENT_TYPE] = operation.content_type
    if operation.producer is not None:
        headers[http.PRODUCER_ID] = operation.producer.id
        headers[http.PRODUCER_EPOCH] = str(operation.producer.epoch)
        headers[http.PRODUCER_SEQ] = str(operation.producer.seq)
    if operation.seq is not None:
        headers[http.SEQ] = operation.seq
    if operation.close:
        headers[http.CLOSED] = http.TRUE
    return _sendable(operation.path, headers)


def _create_headers(operation: Create, root: str) -> Headers:
    headers: dict[str, str] = {}
    if operation.content_type:
        headers[http.CONTENT_TYPE] = operation.content_type
    if operation.closed:
        headers[http.CLOSED] = http.TRUE
    if operation.ttl is not None:
        headers[http.TTL] = str(operation.ttl)
    if operation.expires_at is not None:
        headers[http.EXPIRES_AT] = operation.expires_at
    point = operation.fork
    if point is not None:
        headers[http.FORKED_FROM] = f"{root}/{point.source}"
        if point.offset != NOW:  # the tail is what a server takes when it is told nothing, and has no name
            headers[http.FORK_OFFSET] = point.offset
        if point.skip:
            headers[http.FORK_SUB_OFFSET] = str(point.skip)
    return _sendable(operation.path, headers)


def _query(offset: str, live: str | None, cursor: str | None) -> tuple[tuple[str, str], ...]:
    """In lexicographic order, so that caches on the way see one key for one request (§8.1)."""
    named = (("cursor", cursor), ("live", live), ("offset", offset if live or offset != START else None))
    return tuple((name, value) for name, value in named if value is not None)


def result_of(operation: Operation, response: HttpResponse) -> Result:
    """What came of an operation. Raises the ProtocolError, StoreError or Unavailable that the response means."""
    status, headers = response.status, response.headers
    if isinstance(operation, Read) and status == 304:
        offset = headers.get(http.NEXT_OFFSET, operation.offset)
        return Batch((), offset, True, is_true(headers.get(http.CLOSED)), etag=operation.etag, unchanged=True)
    if status not in (200, 201, 204):
        where = f"stream {operation.path!r}"
        sequenced = isinstance(operation, Append) and operation.seq is not None
        raise error_of(response, where, sequenced=sequenced)
    closed = is_true(headers.get(http.CLOSED))
    if isinstance(operation, Append):
        # an append of a known producer is answered by 200; 204 without one, or for closing alone, is the plain success
        duplicate = status == 204 and operation.producer is not None and bool(operation.body)
        last = number_in(headers.get(http.PRODUCER_SEQ)) if duplicate else None
        return Appended(headers.get(http.NEXT_OFFSET), duplicate, closed, last_seq=last)
    if isinstance(operation, Read):
        return _batch(operation, response, closed)
    if isinstance(operation, Create):
        return Created(status == 201, _offset(operation.path, headers), closed)
    if isinstance(operation, Head):
        return _info(operation, headers, closed)
    return None


def _batch(operation: Read, response: HttpResponse, closed: bool) -> Batch:
    headers, body = response.headers, response.body
    content_type = headers.get(http.CONTENT_TYPE) if body else None
    messages: tuple[bytes, ...] = ()
    if body:
        messages = flattened_reply(operation.path, body) if is_json(content_type) else (body,)
    return Batch(
        messages, _offset(operation.path, headers), closed or is_true(headers.get(http.UP_TO_DATE)), closed,
        headers.get(http.LIFE), headers.get(http.ETAG), headers.get(http.CURSOR), content_type,
    )  # fmt: skip


def flattened_reply(path: str, body: bytes) -> tuple[bytes, ...]:
    """The messages of a JSON reply; BadReply if it was cut short or changed on the way."""
    try:
        return flattened(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # of which an older msgspec's is no ValueError
        raise BadReply(f"stream {path!r}: the server's reply is not the JSON it says it is: {error}") from error


def _info(operation: Head, headers: Headers, closed: bool) -> StreamInfo:
    ttl, expires_at = number_in(headers.get(http.TTL)), headers.get(http.EXPIRES_AT)
    return StreamInfo(
        headers.get(http.CONTENT_TYPE, http.OCTETS), _offset(operation.path, headers), closed, ttl, expires_at
    )  # fmt: skip


def _offset(path: str, headers: Headers) -> str:
    offset = headers.get(http.NEXT_OFFSET)
    if offset is None:
        raise BadReply(
            f"stream {path!r}: the reply has no Stream-Next-Offset; is this the URL of a Durable Streams server?"
        )
    return offset
