"""The form of a sealed message, and back: no I/O, no state.

`{type, key, value: {claim, "$sealed": [key id, base64]}, headers}`: what a message says is
sealed, what it is (type, key, claim number, headers) stays in clear, for the log's own rules
and for lists. Type, key, claim, operation and time are bound to the sealed text: it opens in
no other event. A message comes back byte for byte.

Left in clear whole: `claim`, `status`, `rewind` (numbers, keys and words of our own) and, of
`session`, everything but what a user calls it (title, tags).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from agentstream.sessions import codec
from agentstream.sessions.encryption import ciphers
from agentstream.sessions.encryption.refusals import LOCKED, SEALED, check_open, refusal
from agentstream.sessions.references import BLOB
from agentstream.sessions.references import MARK as BLOB_MARK

CLEAR_TYPES = frozenset(("claim", "status", "rewind"))
CLEAR_OF_SESSION = frozenset(
    (
        *("schema", "session", "incarnation", "lineage", "parent", "moved", "path", "replaces"),
        *("claim", "ttl", "encrypted", "erased", "compacted", "compacting", "keys"),
    )
)
"""Fields of a `session` event that are not sealed."""

_MARK = b'"$sealed"'
LOCKED_MARK = b'"$locked":'

Opener = Callable[[bytes, bytes], bytes]
"""Opens one sealed text in its place; raises `Closed`."""


class Closed(Exception):
    """A text cannot be opened; `why` goes into the message in its place."""

    def __init__(self, why: dict[str, Any]) -> None:
        super().__init__(why)
        self.why = why


class _Message(msgspec.Struct):
    type: str
    key: str
    value: msgspec.Raw
    headers: msgspec.Raw


class _Value(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, rename={"sealed": SEALED}):
    claim: int | None = None
    sealed: tuple[str, bytes] = ("", b"")


class _Sealed(msgspec.Struct):
    type: str
    key: str
    value: _Value
    headers: msgspec.Raw


class _Headers(msgspec.Struct):
    operation: str = ""
    timestamp: str | None = None


_message = msgspec.json.Decoder(_Message).decode
_sealed = msgspec.json.Decoder(_Sealed).decode
_headers = msgspec.json.Decoder(_Headers).decode
_json = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)

_CLAIM_FIRST = re.compile(rb'\{"claim":([1-9][0-9]{0,15})([,}])')
_NO_HEADERS = msgspec.Raw(b'{"operation":"insert"}')
_VALUE, _WHOLE = b"v", b"m"
"""What a sealed text holds: the value without its claim, or the message, where that would not give the same bytes."""


def seal(message: bytes, key_id: str, secret: bytes) -> bytes:
    """The message to store."""
    try:
        parts = _message(message)
    except _UNREADABLE:
        parts = _Message("", "", msgspec.Raw(b"{}"), _NO_HEADERS)
    if parts.type in CLEAR_TYPES:
        return message
    if parts.type == "session":
        return _seal_session(message, parts, key_id, secret)
    value = bytes(parts.value)
    found = _CLAIM_FIRST.match(value)
    claim = int(found.group(1)) if found is not None else None
    rest = value if found is None else b"{" + value[found.end() :] if found.group(2) == b"," else b"{}"
    same = value.startswith(b"{") and _json(parts) == message
    place = _place(parts.type, parts.key, claim, parts.headers)
    text = ciphers.seal(secret, _VALUE + rest if same else _WHOLE + message, place)
    return _json(_Sealed(parts.type, parts.key, _Value(claim, (key_id, text)), parts.headers))


def _seal_session(message: bytes, parts: _Message, key_id: str, secret: bytes) -> bytes:
    """Titles and tags; and a birth says by which key its session is sealed."""
    value = codec.loads(parts.value)
    if not isinstance(value, dict):
        return message
    birth = is_birth(parts.key, value)
    if birth:
        value["encrypted"] = key_id
        value.pop("erased", None)  # said of the session that this is a copy of
    clear = {name: part for name, part in value.items() if name in CLEAR_OF_SESSION}
    if len(clear) < len(value):
        place = _place(parts.type, parts.key, None, parts.headers)
        clear[SEALED] = (key_id, ciphers.seal(secret, _WHOLE + message, place))
    elif not birth:
        return message
    return _json(_Message(parts.type, parts.key, msgspec.Raw(_json(clear)), parts.headers))


def is_birth(key: str, value: object) -> bool:
    """Whether a `session` event begins an incarnation."""
    return isinstance(value, dict) and isinstance(value.get("incarnation"), str) and value["incarnation"] == key


class Found(msgspec.Struct, frozen=True):
    """A stored message, looked at. `key_id`: what its text is sealed with, or its session; None for a plain one."""

    message: bytes
    key_id: str | None = None
    parts: Any = None


def look(message: bytes) -> Found:
    """What there is to open in a stored message."""
    if _MARK not in message:
        if b'"encrypted"' not in message:
            return Found(message)
        return _look_at_session(message)
    try:
        parts = _sealed(message)
    except _UNREADABLE:
        return _look_at_session(message)
    return _look_at_session(message) if parts.type == "session" else Found(message, parts.value.sealed[0], parts)


def _look_at_session(message: bytes) -> Found:
    try:
        parts = _message(message)
        value = codec.loads(parts.value)
        if parts.type == "session" and isinstance(value, dict):
            told = value.get(SEALED)
            named = told[0] if isinstance(told, list) and len(told) == 2 else None
            if named is None and is_birth(parts.key, value):
                named = value.get("encrypted")
            if isinstance(named, str):
                return Found(message, named, (parts, value))
    except _UNREADABLE:
        pass
    return Found(message)


def salt_in(found: Found) -> bytes | None:
    """What the key of a sealed message was derived from; None where nothing in it is sealed."""
    if isinstance(found.parts, tuple):
        told = found.parts[1].get(SEALED)
        text = msgspec.convert(told[1], bytes) if told is not None else b""
    else:
        text = found.parts.value.sealed[1] if found.parts is not None else b""
    return text[: ciphers.SALT] or None


def open_(found: Found, opener: Opener, erased: str | None) -> bytes:
    """The message as it was before it was sealed; with a `$locked` in it that says why, where it cannot be.

    `erased`: when its session was, which the session's birth then says.
    """
    if found.key_id is None:
        return found.message
    if isinstance(found.parts, tuple):
        stored, value = found.parts
        return _open_session(stored, value, opener, erased)
    parts: _Sealed = found.parts
    claim = parts.value.claim
    try:
        text = opener(parts.value.sealed[1], _place(parts.type, parts.key, claim, parts.headers))
    except Closed as closed:
        value = {**({"claim": claim} if claim is not None else {}), LOCKED: closed.why}
        return _json(_Message(parts.type, parts.key, msgspec.Raw(_json(value)), parts.headers))
    if text[:1] == _WHOLE:
        return text[1:]
    rest = text[1:]
    if claim is not None:
        rest = b'{"claim":%d%b%b' % (claim, b"," if rest != b"{}" else b"", rest[1:])
    return _json(_Message(parts.type, parts.key, msgspec.Raw(rest), parts.headers))


def _open_session(parts: _Message, value: dict[str, Any], opener: Opener, erased: str | None) -> bytes:
    told, birth = value.pop(SEALED, None), is_birth(parts.key, value)
    if told is not None:
        try:
            message = opener(msgspec.convert(told[1], bytes), _place(parts.type, parts.key, None, parts.headers))[1:]
            if not birth:
                return message
            value = {**codec.loads(_message(message).value), "encrypted": value.get("encrypted")}
        except Closed as closed:
            value[LOCKED] = closed.why
        except _UNREADABLE:
            value[LOCKED] = {"reason": "changed"}
    if erased is not None and birth:
        value["erased"] = erased
    return _json(_Message(parts.type, parts.key, msgspec.Raw(_json(value)), parts.headers))


def _place(kind: str, key: str, claim: int | None, headers: msgspec.Raw) -> bytes:
    """What a sealed text is bound to: servers may rewrite numbers and add headers, so of those only what is ours."""
    try:
        told = _headers(headers)
    except _UNREADABLE:
        told = _Headers()
    return _json((kind, key, claim, told.operation, told.timestamp))


def _unplaced(data: Any, places: dict[str, str]) -> Any:
    """A stored form whose large content is called by its hash again, as it will be kept where it is imported."""
    if type(data) is list:
        return [_unplaced(part, places) for part in data]
    if type(data) is not dict:
        return data
    made = {name: _unplaced(part, places) for name, part in data.items()}
    ref = made.get(BLOB)
    if len(made) == 1 and type(ref) is dict and "at" in ref:
        places[str(ref.get("sha256"))] = ref.pop("at")
    return made


class Portable:
    """Gives messages as they go out of the store: opened, and without a word of keys. `session` is whose they are."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._erased: str | None = None
        self.places: dict[str, str] = {}
        """Where the large content of the messages so far is, by its SHA-256."""

    def __call__(self, message: bytes) -> bytes:
        """Raises Locked, Erased, and StoreError for a message that cannot be opened."""
        if LOCKED_MARK in message or _MARK in message:
            value = codec.loads(message).get("value")
            if isinstance(value, dict):
                check_open(value, f"session {self._session!r}")
        if BLOB_MARK in message and b'"at"' in message:
            message = codec.dumps(_unplaced(codec.loads(message), self.places))
        if b'"encrypted"' not in message and b'"keys"' not in message:
            return message
        parts = _message(message)
        value = codec.loads(parts.value)
        if parts.type != "session" or not is_birth(parts.key, value):
            return message
        self._erased = value.pop("erased", None)
        value.pop("encrypted", None)
        value.pop("keys", None)
        if isinstance(value.get("compacted"), dict):
            value["compacted"].pop("lives", None)
        return _json(_Message(parts.type, parts.key, msgspec.Raw(_json(value)), parts.headers))

    def check(self) -> None:
        """After the last message: raises Erased if the session's own birth said so."""
        if self._erased is not None:
            raise refusal({"reason": "erased", "at": self._erased}, f"session {self._session!r}")
