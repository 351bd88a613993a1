"""The tagged forms of single values: how each is written and read.

| form | value |
|---|---|
| `{"$int": "9007199254740993"}` | an integer beyond ±2^53 (in hexadecimal where Python refuses decimal) |
| `{"$float": "1.0"}` | an integral float, nan, inf |
| `{"$str": "\\\\ud800"}` | text with lone surrogates, in Python's escapes |
| `{"$bytes": "aGk="}` | bytes, bytearray, memoryview: base64; read as bytes |
| `{"$datetime": "2024-05-01T12:00:00+02:00[Europe/Berlin]"}` | ISO 8601, zone as in RFC 9557 |
| `{"$date": …}`, `{"$time": …}` | ISO 8601 |
| `{"$timedelta": "1500000"}` | microseconds |
| `{"$decimal": "1.50"}`, `{"$uuid": …}`, `{"$path": "a/b"}` | as `str` writes them |
| `{"$redacted": "password"}` | a value that was not recorded: the name of the rule that took it out |
| `{"$blob": {…}}` | an `Attachment`, and large values before they are read (`references.py`) |
| `{"$set": […]}` | set and frozenset, sorted by canonical text; read as a set |
| `{"$map": [[key, value], …]}` | a dict that is no JSON object; its entries in their order |

A reader gets the text inside a tag and returns None where it is malformed.
"""

from __future__ import annotations

import binascii
import inspect
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from agentstream.sessions.attachments import form_of
from agentstream.sessions.secrets import TAG, Redacted, marker

_DECIMAL_BITS = 13_000
"""Below the 4,300 digits up to which Python converts integers to decimal text."""

_ZONED = re.compile(r"([^\[\]]+)\[([A-Za-z0-9_+\-/]+)\]")


def is_text(value: str) -> bool:
    """Whether UTF-8, and so JSON, can hold this text: it has no lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_name(key: object) -> bool:
    """Whether a JSON object can have this key as it is."""
    return isinstance(key, str) and key[:1] != "$" and (key.isascii() or is_text(key))


def is_enum(value: object) -> bool:
    return isinstance(value, Enum)


def escaped(value: str) -> dict[str, str]:
    return {"$str": value.encode("unicode_escape").decode("ascii")}


def integer(value: int) -> dict[str, str]:
    return {"$int": str(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)}


def tagged(value: object) -> dict[str, Any] | None:
    """The tagged form of a single value, None for other kinds. Subclasses are written as their base."""
    if isinstance(value, Redacted):
        return marker(value.rule)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, Enum):  # an enum may inherit from any of the following; its value is what counts
        return None
    if isinstance(value, datetime):
        return {"$datetime": datetime.isoformat(value) + _zone(value)}
    if isinstance(value, date):
        return {"$date": date.isoformat(value)}
    if isinstance(value, time):
        return {"$time": time.isoformat(value) + _zone(value)}
    if isinstance(value, timedelta):
        return {"$timedelta": str(value // timedelta(microseconds=1))}
    if isinstance(value, Decimal):
        return {"$decimal": Decimal.__str__(value)}
    if isinstance(value, UUID):
        return {"$uuid": UUID.__str__(value)}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    return form_of(value)


def _zone(value: datetime | time) -> str:
    return f"[{value.tzinfo.key}]" if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key else ""


def hashable(value: Any) -> Any:
    """A decoded key or member, as it was before lists were made of tuples. Raises TypeError for dicts."""
    if type(value) is list:
        return tuple(map(hashable, value))
    if type(value) is set:
        return frozenset(value)
    hash(value)
    return value


def step(key: object) -> str:
    """One step of a path: `.customer`, or `[…]` for a key that is no identifier."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{_short(key)}]"


def _short(key: object) -> str:
    text = repr(key) if isinstance(key, (str, int, float, bool, bytes, type(None))) else f"<{type(key).__name__}>"
    return text if len(text) <= 40 else text[:39] + "…"


def refusal(value: object) -> str:
    if isinstance(value, type):
        return f"is the class {value.__module__}.{value.__qualname__}, which has no JSON form"
    if inspect.iscoroutine(value):
        return "is a coroutine that nobody awaited"
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return f"is of type {name}, which has no JSON form"


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def reader(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, ArithmeticError, LookupError, OSError):
            return None

    return reader


def _read_bytes(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return None


def _read_integer(text: str) -> int:
    return int(text, 16) if text.lstrip("-").startswith("0x") else int(text)


def _read_str(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape")


def _read_zoned(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads `time[Zone/Name]`; without that zone on this machine, or under other rules for it, the offset stands."""

    def read(text: str) -> Any:
        match = _ZONED.fullmatch(text)
        if match is None:
            return parse(text)
        fixed = parse(match[1])
        try:
            zoned = fixed.replace(tzinfo=ZoneInfo(match[2]))
        except (ValueError, LookupError, OSError):
            return fixed
        for fold in (0, 1):
            if zoned.replace(fold=fold).utcoffset() == fixed.utcoffset():
                return zoned.replace(fold=fold)
        return fixed

    return read


READERS: dict[str, Callable[[str], Any] | None] = {
    "$int": _reader(_read_integer),
    "$float": _reader(float),
    "$str": _reader(_read_str),
    "$bytes": _reader(_read_bytes),
    "$datetime": _reader(_read_zoned(datetime.fromisoformat)),
    "$date": _reader(date.fromisoformat),
    "$time": _reader(_read_zoned(time.fromisoformat)),
    "$timedelta": _reader(lambda text: timedelta(microseconds=int(text))),
    "$decimal": _reader(Decimal),
    "$uuid": _reader(UUID),
    "$path": _reader(Path),
    TAG: Redacted,
    "$blob": None,
    "$set": None,
    "$map": None,
}
"""How the text in each tag is read; None where the content is a list or an object, which the codec reads itself."""
