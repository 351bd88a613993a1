"""The one form in which values are recorded: plain JSON, with a tag where JSON alone would lose something.

`encode` turns a Python value into its *canonical form*: dicts, lists, strings, numbers, booleans and None,
where what JSON cannot say, or a server that rewrites numbers could change, is an object of one key that begins
with `$` (`_forms.py` lists them). `decode` turns it back. A dict of the user's whose keys begin with `$` is
written as a `$map`, so a tag in a record is always ours.

Recorded data is untrusted: `decode` accepts any JSON, imports nothing and leaves what it does not know as it is.
Class instances are flattened to what they hold; `agentstream.sessions.rebuild` makes them again from an annotation.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.errors import NotSerializable
from agentstream.sessions import _forms
from agentstream.sessions._flatten import flatten
from agentstream.sessions.attachments import attachment_of
from agentstream.sessions.rebuild import annotation_of_return, annotations_of_parameters, rebuild
from agentstream.sessions.references import MARK, without_places
from agentstream.sessions.secrets import Hidden, replaced, secret_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "DEEPEST",
    "Encoded",
    "annotation_of_return",
    "annotations_of_parameters",
    "canonical",
    "decode",
    "dumps",
    "encode",
    "fingerprint",
    "loads",
    "rebuild",
]

DEEPEST = 200
"""Levels of JSON that a form may have: far more than real values have, and few enough for every reader's stack."""

_SAFE = 2**53
"""Integers up to here are the same in every JSON reader (RFC 8259, section 6)."""

_WAY_OUT = "Use a plain value (dict, list, str, number, bytes, datetime, dataclass, pydantic model)"


class Encoded(msgspec.Struct, frozen=True):
    """A value's canonical form; `typed`: a class instance was flattened, and only an annotation can rebuild it.

    `marked`: where something of it is secret, the form that still holds it (`secrets.Hidden`), to be compared by.
    """

    data: Any
    typed: bool
    marked: Any = None

    def within(self, around: Callable[[Any], Any]) -> Encoded:
        """The form with something around it."""
        return Encoded(around(self.data), self.typed, around(self.marked) if self.marked is not None else None)


def encode(value: object, *, where: str = "value") -> Encoded:
    """The canonical form of `value`. Tuples become lists; `where` names the value in errors (`arguments`, `result`).

    Raises `NotSerializable` with the path of what has no form, also for a value that is nested more than
    `DEEPEST` levels deep or contains itself, and when reading an object's fields raises.
    """
    encoder = _Encoder()
    try:
        data = encoder.form(value, 0)
    except _NoForm as error:
        raise NotSerializable(f"{error.path(where)} {error.reason}. {_way_out(where)}") from error.__cause__
    except RecursionError:
        raise NotSerializable(f"{where} is nested too deeply to be recorded. {_way_out(where)}") from None
    except Exception as error:  # properties, serializers and `items()` of the user's classes run in there
        raise NotSerializable(f"{where} cannot be read: {type(error).__name__}: {error}. {_way_out(where)}") from error
    return Encoded(replaced(data, "stored"), encoder.typed, data) if encoder.hides else Encoded(data, encoder.typed)


def _way_out(where: str) -> str:
    return f"{_WAY_OUT}, or give the step key=…" if where.startswith("input of ") else _WAY_OUT


def decode(data: object) -> Any:
    """The value of a canonical form, made afresh (nothing is shared with `data`). Accepts any JSON.

    An unknown or malformed tagged object stays an object. An untagged integral float is an integer that a server
    wrote as `5.0`. What lies deeper than any form `encode` makes is left as it is.
    """
    return _value(data, 0)


def canonical(data: object) -> bytes:
    """The one text of a canonical form: keys and `$map` entries sorted, no spaces, UTF-8, floats as `repr` writes them.

    As the standard library writes it, because this text is hashed into records: it may never change with a dependency.
    """
    try:
        text = _quick_text(data) or _canonical_text(data).encode("utf-8", "surrogatepass")
        if b'{"$map":[' in text:  # rare; a quote inside a string is escaped, so this cannot be a user's text
            text = _canonical_text(_sort_maps(data)).encode("utf-8", "surrogatepass")
    except RecursionError:
        raise NotSerializable("the value is nested too deeply to be compared") from None
    return text


def fingerprint(data: object, text: bytes | None = None) -> str:
    """128 bits of SHA-256 over the canonical text, as 22 characters of base64url; equal for equal forms, everywhere.

    Where large content is kept is no part of it: that changes with the store. `text` is the canonical text, where it is
    known.
    """
    text = canonical(data) if text is None else text
    if MARK in text:
        text = canonical(without_places(data))
    return urlsafe_b64encode(sha256(text).digest()[:16]).decode("ascii")[:22]


def dumps(data: object) -> bytes:
    """JSON text of a canonical form (or of a model built from forms), keys in the order they have."""
    return _encode_json(data)


def loads(text: bytes | bytearray | memoryview | str) -> Any:
    """The JSON value of `text`. Raises `ValueError` where it is not JSON, or deeper than can be read."""
    try:
        return _decode_json(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not JSON that can be read: {error}") from error


_canonical_text = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False
).encode
_sorted_json = msgspec.json.Encoder(order="sorted").encode
_SMALL = re.compile(rb"e-(?<=[0-9]e-)[0-9]")
"""A float as small as this (or `0.0000…`) the two encoders write differently; of others they write the same."""

_PROBE = {"b": [1, -(2**53), 0.1, 1e15 + 0.5, True, None], "a": "".join(map(chr, range(0x180))) + "\u2028\U0001f600"}
_ALIKE = _sorted_json(_PROBE) == _canonical_text(_PROBE).encode()


def _quick_text(data: object) -> bytes | None:
    """The canonical text (but for the order in a `$map`) twelve times as fast; None where it might be another."""
    try:
        text = _sorted_json(data) if _ALIKE else b""
    except (TypeError, ValueError, OverflowError):  # no canonical form; the standard library says what it makes of it
        return None
    return None if not text or b"0.0000" in text or (b"e-" in text and _SMALL.search(text)) else text


_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


class _NoForm(Exception):
    """Something inside has no form; each container on the way out adds its step, so success pays nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []

    def path(self, root: str) -> str:
        steps = self.steps[::-1]
        return root + ("".join(steps) if len(steps) <= 20 else "".join(steps[:6]) + "…")


class _Encoder:
    """One call of `encode`: remembers whether a class instance was flattened on the way, and a secret met."""

    __slots__ = ("hides", "typed")

    def __init__(self) -> None:
        self.typed = False
        self.hides = False

    def form(self, value: Any, depth: int) -> Any:
        """The form of anything. The common types are inlined: one call and one stack frame a level."""
        kind = type(value)
        if kind is str:
            return value if value.isascii() or _forms.is_text(value) else _forms.escaped(value)
        if kind is int:
            return value if -_SAFE <= value <= _SAFE else _forms.integer(value)
        if value is None or kind is bool:
            return value
        if kind is float:
            return value if not value.is_integer() and value - value == 0.0 else {"$float": repr(value)}
        if depth >= DEEPEST:
            raise _NoForm(f"is nested more than {DEEPEST} levels deep, or contains itself")
        if kind is dict:
            return self.mapping(value, depth)
        if kind is list or kind is tuple:
            return self.sequence(value, depth)
        return self.other(value, depth)

    def sequence(self, value: Iterable[Any], depth: int) -> list[Any]:
        made: list[Any] = []
        try:
            for item in tuple(value):  # a copy: another thread may be appending
                made.append(self.form(item, depth + 1))
        except _NoForm as error:
            error.steps.append(f"[{len(made)}]")
            raise
        return made

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        items = tuple(value.items())
        if not all(map(_forms.is_name, value)):  # looked at first: no value is ever encoded twice
            return self.pairs(items, depth)
        made: dict[str, Any] = {}
        key: Any = None
        try:
            for key, item in items:
                if type(key) is not str:
                    self.typed = self.typed or _forms.is_enum(key)
                    key = str.__str__(key)
                made[key] = self.form(item, depth + 1)
        except _NoForm as error:
            error.steps.append(_forms.step(key))
            raise
        if len(made) != len(items):
            raise _NoForm("has keys that become one and the same in JSON")
        return made

    def pairs(self, items: tuple[tuple[Any, Any], ...], depth: int) -> dict[str, Any]:
        """A dict that is no JSON object: a list of its entries in their order."""
        made: list[Any] = []
        key: Any = None
        try:
            for key, item in items:
                made.append([self.form(key, depth + 3), self.form(item, depth + 3)])  # as deep as they are in the JSON
        except _NoForm as error:
            error.steps.append(_forms.step(key))
            raise
        try:
            keys = {_forms.hashable(_value(entry[0], depth + 1)) for entry in made}
        except TypeError:
            raise _NoForm("has keys that are class instances, which are no keys in JSON") from None
        if len(keys) != len(items):
            raise _NoForm("has keys that become one and the same in JSON")
        return {"$map": made}

    def collection(self, value: Any, depth: int) -> Any:
        """A set; a list where its members are objects (flattened, they are dicts, and no set can hold those)."""
        made = sorted(self.sequence(value, depth + 1), key=_canonical_part)
        form = {"$set": made}
        back = _value(form, depth)
        if type(back) is not set:
            return made
        if len(back) != len(made):
            raise _NoForm("has members that become one and the same in JSON")
        return form

    def other(self, value: Any, depth: int) -> Any:
        hidden = value if type(value) is Hidden else secret_value(value)
        if hidden is not None:
            self.hides = True
            return Hidden(hidden.name, self.form(hidden.form, depth + 1))
        tagged = _forms.tagged(value)
        if tagged is not None:
            return tagged
        plain = flatten(value)
        if plain is None:
            raise _NoForm(_forms.refusal(value))
        self.typed = self.typed or plain.typed
        if plain.unordered:
            return self.collection(plain.value, depth)
        return self.form(plain.value, depth)


def _value(data: Any, depth: int) -> Any:
    kind = type(data)
    if kind is dict:
        if depth >= DEEPEST:
            return data
        if len(data) == 1:
            (tag,) = data
            if tag in _forms.READERS:
                return _tagged_value(tag, data[tag], depth)
        made: dict[str, Any] = {}
        for key, item in data.items():
            made[key] = _value(item, depth + 1)
        return made
    if kind is list:
        if depth >= DEEPEST:
            return data
        items: list[Any] = []
        for item in data:
            items.append(_value(item, depth + 1))
        return items
    if kind is float and data.is_integer() and -_SAFE <= data <= _SAFE:
        return int(data)
    return data


def _tagged_value(tag: str, content: Any, depth: int) -> Any:
    reader = _forms.READERS[tag]
    if reader is not None:
        made = reader(content) if type(content) is str else None
        return {tag: _value(content, depth + 1)} if made is None else made
    if tag == "$blob":
        return attachment_of(content) or {tag: _value(content, depth + 1)}
    parts = _value(content, depth)  # each part is decoded once, well-formed or not: no blow-up in nested malformed ones
    try:
        if tag == "$set" and type(content) is list:
            return {_forms.hashable(part) for part in parts}
        if tag == "$map" and type(content) is list and all(type(pair) is list and len(pair) == 2 for pair in content):
            return {_forms.hashable(key): item for key, item in parts}
    except TypeError:  # a member that cannot be hashed: not written by us
        pass
    return {tag: parts}


def _canonical_part(data: Any) -> bytes:
    return canonical(replaced(data, "form"))


def _sort_maps(data: Any) -> Any:
    """The same form with the entries of every `$map` in the order of their canonical text."""
    if type(data) is list:
        return [_sort_maps(item) for item in data]
    if type(data) is not dict:
        return data
    made = {key: _sort_maps(item) for key, item in data.items()}
    entries = made.get("$map")
    if len(made) == 1 and type(entries) is list:
        made["$map"] = sorted(entries, key=_canonical_text)  # the entries are sorted inside already
    return made
