"""Values to the messages of a stream: JSON values, or bytes and text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from agentstream.errors import NotSerializable
from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.http import is_json


def message_of(value: Any, content_type: str) -> bytes:
    """One message. In a JSON stream any JSON value (a list is one message; `msgspec.Raw` is JSON text as it stands).

    Raises NotSerializable for what has no JSON form, or in another stream for what is neither bytes nor text;
    InvalidRequest for nothing at all, which cannot be appended.
    """
    if is_json(content_type):
        return _json(value)
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise NotSerializable(f"a stream of {content_type!r} takes bytes or text, not {type(value).__name__}")
    if not value:
        raise InvalidRequest("an empty block cannot be appended")
    return bytes(value)


def _json(value: Any) -> bytes:
    try:
        if isinstance(value, msgspec.Raw):
            return bytes(_whole.decode(value))
        found = msgspec.json.encode(value)
    except (
        TypeError,
        ValueError,
        RecursionError,
        msgspec.MsgspecError,
    ) as error:
        raise NotSerializable(f"a value has no JSON form: {error}") from error
    if b"null" in found and _endless(value):
        raise NotSerializable("a value has no JSON form: it holds NaN or an infinity")
    return found


def _endless(value: Any) -> bool:
    """Whether there is a number in it that JSON has no word for."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_endless, value.values()))
    return isinstance(value, (list, tuple, set, frozenset)) and any(map(_endless, value))


_whole: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


def likeness(message: bytes) -> bytes:
    """A JSON message as a server may have it rewritten: two that mean the same through doubles have the same likeness.

    Keys in order, numbers as doubles, and without the offset that servers stamp into change messages on the way out.
    """
    value = msgspec.json.decode(message)
    headers = value.get("headers") if isinstance(value, dict) else None
    if isinstance(headers, dict):
        headers.pop("offset", None)
    return msgspec.json.encode(_doubled(value), order="sorted")


def _doubled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _doubled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_doubled(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
