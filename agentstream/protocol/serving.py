"""A server's half of the translation: requests to operations, results to responses.

The other direction of `requests`. What is wrong with a request raises `InvalidRequest` (400)
here, before any backend is asked; what is wrong with the streams, the backend says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec

from agentstream.protocol import http
from agentstream.protocol.errors import InvalidRequest, StreamNotFound
from agentstream.protocol.http import HttpRequest, HttpResponse, flattened, framed, is_json, is_true
from agentstream.protocol.operations import (
    NOW,
    START,
    Append,
    Appended,
    Batch,
    Create,
    Created,
    Delete,
    Follow,
    ForkPoint,
    Head,
    Operation,
    Producer,
    Read,
    Result,
    StreamInfo,
)

LONGEST_PATH = 4096
BIGGEST = 2**53 - 1

CURSOR_EPOCH = 1728432000
"""2024-10-09, from which cursors count intervals (§8.1)."""
CURSOR_SECONDS = 20
MOST_JITTER_SECONDS = 3600

_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_ZERO = re.compile(r"0+_0+")
"""The offset of the reference server's empty streams: clients write it as a constant, to fork at the beginning."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;[\x20-\x7e\t]*)?")

# Types that a browser would run as a page of the server's own origin.
_HARMLESS = ("application/json", "application/octet-stream", "text/plain")


# --- requests to operations --------------------------------------------------------------------


def operation_of(request: HttpRequest, root: str, *, long_poll: float) -> Operation | Follow:
    """The operation that a request asks for; `long_poll` is how many seconds a waiting read waits at most.

    Raises InvalidRequest for a malformed request, StreamNotFound for a path that no stream can have.
    The method must be one of PUT, POST, GET, HEAD and DELETE.
    """
    path = stream_path(request.path, root)
    if request.method == "POST":
        return _append(path, request)
    if request.method == "GET":
        return _read(path, request, long_poll)
    if request.method == "PUT":
        return _create(path, request, root)
    return Head(path) if request.method == "HEAD" else Delete(path)


@lru_cache(1024)
def stream_path(raw: str, root: str) -> str:
    """The stream that a raw (percent-encoded) path below `root` names, in the one form that backends know it by."""
    if len(raw) > LONGEST_PATH:
        raise InvalidRequest(f"the path has {len(raw)} characters; at most {LONGEST_PATH} are taken")
    if not raw.startswith(f"{root}/"):
        raise StreamNotFound(f"{raw[:200]!r} is no stream's path; streams are below {root}/")
    segments: list[str] = []
    for segment in raw[len(root) + 1 :].split("/"):
        try:
            name = unquote(segment, errors="strict")
        except UnicodeDecodeError:
            raise InvalidRequest(f"segment {segment[:80]!r} of the path is not UTF-8") from None
        if name in ("", ".", "..") or "/../" in f"/{name}/" or "/./" in f"/{name}/" or _CONTROL.search(name):
            raise InvalidRequest("a path may hold no empty, `.` or `..` segment and no control character")
        segments.append(quote(name, safe=""))
    return "/".join(segments)


def _append(path: str, request: HttpRequest) -> Append:
    headers = request.headers
    close = is_true(headers.get(http.CLOSED))
    content_type = headers.get(http.CONTENT_TYPE, "")
    if not request.body and not close:
        raise InvalidRequest("an append needs a body; only one with Stream-Closed: true may be empty")
    if request.body and not content_type:
        raise InvalidRequest("an append with a body needs a Content-Type header")
    body = _messages(content_type, request.body) if request.body else ()
    if request.body and not body:
        raise InvalidRequest("an empty array appends nothing; send at least one message")
    return Append(path, body, content_type, _producer(headers), headers.get(http.SEQ), close)


def _create(path: str, request: HttpRequest, root: str) -> Create:
    headers = request.headers
    content_type = headers.get(http.CONTENT_TYPE, "")
    if content_type and not _TYPE.fullmatch(content_type):
        raise InvalidRequest(f"{content_type[:80]!r} is no content type")
    fork = _fork(headers, root)
    if not content_type and fork is None:
        content_type = http.OCTETS
    ttl, expires_at = headers.get(http.TTL), headers.get(http.EXPIRES_AT)
    if ttl is not None and expires_at is not None:
        raise InvalidRequest("Stream-TTL and Stream-Expires-At exclude each other; send one")
    if expires_at is not None and not _MOMENT.fullmatch(expires_at):
        raise InvalidRequest(f"Stream-Expires-At {expires_at[:80]!r} is no RFC 3339 time")
    seconds = None if ttl is None else _number("Stream-TTL", ttl)
    body = _messages(content_type, request.body) if request.body else ()
    return Create(path, body, content_type, is_true(headers.get(http.CLOSED)), seconds, expires_at, fork)


def _fork(headers: Mapping[str, str], root: str) -> ForkPoint | None:
    source = headers.get(http.FORKED_FROM)
    skip = headers.get(http.FORK_SUB_OFFSET)
    if source is None:
        if skip is not None:
            raise InvalidRequest("Stream-Fork-Sub-Offset needs Stream-Forked-From")
        return None
    offset = headers.get(http.FORK_OFFSET)
    count = 0 if skip is None else _number("Stream-Fork-Sub-Offset", skip)
    if count and offset is None:
        raise InvalidRequest("Stream-Fork-Sub-Offset counts from Stream-Fork-Offset; without it that is the tail")
    if offset is not None:
        offset = START if _ZERO.fullmatch(offset) else _checked_offset(offset)
    return ForkPoint(stream_path(source, root), NOW if offset is None else offset, count)


def _read(path: str, request: HttpRequest, long_poll: float) -> Read | Follow:
    query: dict[str, str] = {}
    for name, value in request.query:
        if name in query and name in ("offset", "live", "cursor"):
            raise InvalidRequest(f"the query names {name} more than once")
        query[name] = value
    offset, live, cursor = query.get("offset"), query.get("live"), query.get("cursor")
    if offset is not None:
        offset = _checked_offset(offset)
    if live is None:
        return Read(path, START if offset is None else offset, etag=request.headers.get(http.IF_NONE_MATCH))
    if live not in (http.LONG_POLL, http.SSE):
        raise InvalidRequest(f"live={live[:40]} is none of {http.LONG_POLL} and {http.SSE}")
    if offset is None:
        raise InvalidRequest("a live read needs an offset: -1 for the start, now for the tail, or one given out")
    if live == http.SSE:
        return Follow(path, offset, cursor)
    return Read(path, offset, wait=long_poll, cursor=cursor)


def _checked_offset(offset: str) -> str:
    if not offset or len(offset) > 256 or any(mark in offset for mark in ",&=?/ ") or _CONTROL.search(offset):
        raise InvalidRequest(f"{offset[:80]!r} is no offset; use one that was given out, {START} or {NOW}")
    return offset


def _producer(headers: Mapping[str, str]) -> Producer | None:
    given = [headers.get(name) for name in (http.PRODUCER_ID, http.PRODUCER_EPOCH, http.PRODUCER_SEQ)]
    name, epoch, seq = given
    if name is None and epoch is None and seq is None:
        return None
    if not name or epoch is None or seq is None:
        raise InvalidRequest("Producer-Id (not empty), Producer-Epoch and Producer-Seq go together")
    return Producer(name, _number("Producer-Epoch", epoch), _number("Producer-Seq", seq))


def _number(name: str, text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > BIGGEST:
        raise InvalidRequest(f"{name} {text[:40]!r} is no whole number from 0 to 2^53-1 without leading zeros")
    return int(text)


def _messages(content_type: str, body: bytes) -> tuple[bytes, ...]:
    if not is_json(content_type):
        return (body,)
    try:
        return flattened(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error or 'nested too deep'}") from None


# --- results to responses ----------------------------------------------------------------------


def response_of(
    operation: Operation, result: Result, *, location: str = "", cursor: str | None = None, shared: bool = False
) -> HttpResponse:
    """The response that says what came of an operation.

    `location` is the URL of a stream that was created, `cursor` the one of a live read, `shared`
    whether caches between server and reader may keep pages.
    """
    if isinstance(operation, Append):
        assert isinstance(result, Appended)
        return _appended(operation, result)
    if isinstance(operation, Read):
        assert isinstance(result, Batch)
        return _page(operation, result, cursor, shared)
    if isinstance(operation, Create):
        assert isinstance(result, Created)
        headers = {http.CONTENT_TYPE: operation.content_type, http.NEXT_OFFSET: result.offset}
        _add_closed(headers, result.closed)
        if result.new and location:
            headers[http.LOCATION] = location
        return HttpResponse(201 if result.new else 200, headers)
    if isinstance(operation, Head):
        assert isinstance(result, StreamInfo)
        return _info(result)
    return HttpResponse(204)


def _appended(operation: Append, result: Appended) -> HttpResponse:
    headers: dict[str, str] = {}
    if result.offset is not None:
        headers[http.NEXT_OFFSET] = result.offset
    _add_closed(headers, result.closed)
    producer = operation.producer
    if producer is None:
        return HttpResponse(204, headers)
    headers[http.PRODUCER_EPOCH] = str(producer.epoch)
    headers[http.PRODUCER_SEQ] = str(producer.seq if result.last_seq is None else result.last_seq)
    return HttpResponse(200 if operation.body and not result.duplicate else 204, headers)


def _page(operation: Read, batch: Batch, cursor: str | None, shared: bool) -> HttpResponse:
    content_type = batch.content_type or http.OCTETS
    headers = {http.CONTENT_TYPE: content_type, http.NEXT_OFFSET: batch.offset}
    if batch.up_to_date:
        headers[http.UP_TO_DATE] = http.TRUE
    _add_closed(headers, batch.closed)
    if batch.life is not None:
        headers[http.LIFE] = batch.life
    if http.media_type(content_type) not in _HARMLESS:
        headers["content-disposition"] = "attachment"
    if operation.wait is not None:
        if cursor is not None and not batch.closed:
            headers[http.CURSOR] = cursor
        headers[http.CACHE_CONTROL] = "public, max-age=20" if shared and batch.messages else "no-store"
        if not batch.messages:
            del headers[http.CONTENT_TYPE]
            return HttpResponse(204, headers)
        return HttpResponse(200, headers, framed(batch.messages, content_type))
    if operation.offset == NOW:
        headers[http.CACHE_CONTROL] = "no-store"
        return HttpResponse(200, headers, framed((), content_type))
    etag = etag_of(operation, batch)
    if etag is not None:
        headers[http.ETAG] = etag
    # a full page stays as it is; the last one is asked for again, which costs a 304 while nothing came
    kept = "no-cache" if batch.up_to_date else "max-age=60, stale-while-revalidate=300"
    headers[http.CACHE_CONTROL] = f"{'public' if shared else 'private'}, {kept}"
    if batch.unchanged or (etag is not None and operation.etag is not None and _matches(operation.etag, etag)):
        del headers[http.CONTENT_TYPE]
        return HttpResponse(304, headers)
    return HttpResponse(200, headers, framed(batch.messages, content_type))


def etag_of(operation: Read, batch: Batch) -> str | None:
    """What stands for a page: another one after a delete, at another place, or once the stream is closed (§8)."""
    if batch.etag is not None or batch.life is None:
        return batch.etag
    return f'"{batch.life}:{operation.offset}:{batch.offset}{":c" if batch.closed else ""}"'


def _matches(asked: str, etag: str) -> bool:
    return any(one.strip().removeprefix("W/") == etag for one in asked.split(","))


def _info(info: StreamInfo) -> HttpResponse:
    headers = {
        http.CONTENT_TYPE: info.content_type,
        http.NEXT_OFFSET: info.offset,
        http.CACHE_CONTROL: "no-store",
    }
    if info.ttl is not None:
        headers[http.TTL] = str(info.ttl)
    if info.expires_at is not None:
        headers[http.EXPIRES_AT] = info.expires_at
    _add_closed(headers, info.closed)
    return HttpResponse(200, headers)


def _add_closed(headers: dict[str, str], closed: bool) -> None:
    if closed:
        headers[http.CLOSED] = http.TRUE


def cursor_of(now: float, echoed: str | None = None) -> str:
    """The cursor of a live read at `now` (seconds since the epoch): always beyond the one the client echoes (§8.1)."""
    current = int(now - CURSOR_EPOCH) // CURSOR_SECONDS
    if echoed is None or not _NUMBER.fullmatch(echoed) or int(echoed) < current:
        return str(current)
    jitter = random.randint(1, MOST_JITTER_SECONDS)
    return str(int(echoed) + max(1, -(-jitter // CURSOR_SECONDS)))
