"""What an operation must be before it reaches the store: pure checks, made in the caller's thread.

Whatever passes here can be bound to SQL, so one bad operation never spoils a group commit.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import lru_cache

import msgspec

from agentstream.backends.base import List
from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.operations import JSON, NOW, START, Append, Create, Producer, Read

WIDTH = 16
BIGGEST = 2**53 - 1
LARGEST_BODY = 500_000_000
DEEPEST = 400
"""Levels of nesting in a message; common JSON parsers give up at about a thousand."""

_raw = msgspec.json.Decoder(msgspec.Raw)
_OFFSET = re.compile(r"[0-9]{16}")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def offset_of(position: int) -> str:
    """The offset of a position: digits of one width, so that text order is number order."""
    return f"{position:0{WIDTH}d}"


def position_of(offset: str, tail: int) -> int:
    """The position an offset stands for; `InvalidRequest` for one that was never minted here."""
    if offset == START:
        return 0
    if offset == NOW:
        return tail
    if not isinstance(offset, str) or not _OFFSET.fullmatch(offset):
        raise InvalidRequest(f"{offset!r} is no offset of this store; use one it returned, {START!r} or {NOW!r}")
    return int(offset)


@lru_cache(maxsize=256)
def media_type(content_type: str) -> str:
    """A content type without its parameters, as it is compared."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    return media_type(content_type) == JSON


def check_path(path: str) -> None:
    """Refuses a path that cannot be stored."""
    _text("a stream's path", path)
    if not path:
        raise InvalidRequest("a stream's path is empty; name the stream")


def check_create(operation: Create) -> None:
    """Refuses what is wrong with a `Create` by itself."""
    check_path(operation.path)
    _text("a content type", operation.content_type)
    _check_blocks(operation.path, operation.body)
    if operation.ttl is not None and operation.expires_at is not None:
        raise InvalidRequest(f"stream {operation.path!r} was given both ttl and expires_at; give one")
    if operation.ttl is not None:
        _integer("ttl", operation.ttl)
    if operation.expires_at is not None:
        instant(operation.expires_at)
    if operation.fork is not None:
        check_path(operation.fork.source)
        _integer("a fork's skip", operation.fork.skip)
        position_of(operation.fork.offset, 0)


def check_append(operation: Append) -> None:
    """Refuses what is wrong with an `Append` by itself."""
    check_path(operation.path)
    _text("a content type", operation.content_type)
    _check_blocks(operation.path, operation.body)
    if not any(operation.body) and not operation.close:
        raise InvalidRequest(f"an append to {operation.path!r} has no body; only one that closes may be empty")
    if is_json(operation.content_type):
        check_messages(operation.path, operation.body)
    if operation.producer is not None:
        _check_producer(operation.producer)
    if operation.seq is not None:
        _text("Stream-Seq", operation.seq)


def check_read(operation: Read) -> None:
    """Refuses what is wrong with a `Read` by itself."""
    check_path(operation.path)
    position_of(operation.offset, 0)
    _integer("a read's skip", operation.skip)
    if operation.limit is not None and (not isinstance(operation.limit, int) or operation.limit < 1):
        raise InvalidRequest(f"a read's limit is {operation.limit!r}; it is a number of messages, at least 1")


def check_list(operation: List) -> None:
    """Refuses what is wrong with a `List` by itself."""
    _text("a prefix", operation.prefix)
    _text("a path to list after", operation.after)


def check_messages(path: str, body: tuple[bytes, ...]) -> None:
    """Refuses a body whose items are not one JSON value each, in UTF-8."""
    for number, message in enumerate(body):
        try:
            if not message.isascii():
                message.decode()
            if message.count(b"[") + message.count(b"{") > DEEPEST and _depth(message) > DEEPEST:
                raise InvalidRequest(f"message {number} for {path!r} is nested deeper than {DEEPEST} levels")
            _raw.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"message {number} for {path!r} is not one JSON value in UTF-8: {error}") from None


def instant(moment: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    try:
        # Python 3.10 reads neither "Z" nor fractions of other than three or six digits
        text = re.sub(r"\.(\d+)", lambda found: "." + (found[1] + "000000")[:6], moment.replace("Z", "+00:00"))
        parsed = datetime.fromisoformat(text)
    except (ValueError, TypeError, AttributeError):
        raise InvalidRequest(f"{moment!r} is no RFC 3339 time") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()


def _check_blocks(path: str, body: tuple[bytes, ...]) -> None:
    size = 0
    for block in body:
        if not isinstance(block, bytes):
            raise InvalidRequest(f"the body for {path!r} holds {type(block).__name__}; pass a tuple of bytes")
        size += len(block)
    if size > LARGEST_BODY:
        raise InvalidRequest(f"the body for {path!r} has {size} bytes; one append may have {LARGEST_BODY}")


def _check_producer(producer: Producer) -> None:
    _text("a producer id", producer.id)
    if not producer.id:
        raise InvalidRequest("a producer id is empty")
    _integer("a producer's epoch", producer.epoch)
    _integer("a producer's sequence number", producer.seq)


def _integer(what: str, value: int) -> None:
    if not isinstance(value, int) or not 0 <= value <= BIGGEST:
        raise InvalidRequest(f"{what} is {value!r}; it is a whole number from 0 to 2^53-1")


def _text(what: str, value: str) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} is {value!r}; it is text")
    if value.isascii() and "\0" not in value:
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} {value!r} has half a surrogate pair and is no Unicode text") from None
    if "\0" in value:
        raise InvalidRequest(f"{what} {value!r} has a null character")


def _depth(message: bytes) -> int:
    depth = deepest = 0
    for mark in _NESTING.findall(message):
        if mark in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in b"]}":
            depth -= 1
    return deepest
