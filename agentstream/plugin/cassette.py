"""A cassette's bytes: the sessions of a test as our export, with what chance and clock gave made the same each time.

Ids that the library draws are replaced by ones that the file's name and their order give, times by a count of
milliseconds, and the codes by which redacted inputs are compared are left out: such inputs then match any.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any

import msgspec

from agentstream.sessions import codec
from agentstream.sessions.exported import BlobHeader, Header, Tally, line_of, message_of

if TYPE_CHECKING:
    from agentstream.session import Session

_BEGAN = datetime(2000, 1, 1, tzinfo=timezone.utc)
_FRESH = re.compile(rb"(?<![0-9A-Za-z_-])[0-9A-Za-z]{16}(?![0-9A-Za-z_-])")
_NO_CODE = ".-.-"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def written(sessions: Iterable[Session], name: str) -> bytes:
    """The cassette `name` of these sessions."""
    parts: list[bytes | tuple[Header, list[bytes]]] = []
    for session in sessions:
        file = io.BytesIO()
        session.export(file)
        file.seek(0)
        parts += _parts(file)
    ids = _Ids(name)
    for part in parts:
        if isinstance(part, tuple):
            for message in part[1]:
                ids.learn(message)
    clock = iter(range(1 << 60))
    return b"".join(part if isinstance(part, bytes) else _section(*part, ids, clock) for part in parts)


def _parts(file: IO[bytes]) -> Iterator[bytes | tuple[Header, list[bytes]]]:
    """Large content as it is, and of each session its header and messages."""
    while line := file.readline():
        if line.startswith(b'{"agentstream":"blob/'):
            blob = msgspec.json.decode(line, type=BlobHeader)
            yield line + b"".join(file.readline() for _ in range(blob.lines))
        else:
            header = msgspec.json.decode(line, type=Header)
            yield header, [message_of(file.readline().removesuffix(b"\n")) for _ in range(header.lines)]


class _Ids:
    """The ids that the library drew, and what stands for them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._given: dict[bytes, bytes] = {}

    def learn(self, message: bytes) -> None:
        """Ids stand in keys, and where a birth or a claim says them: what looks like one elsewhere is a user's."""
        change = codec.loads(message)
        value = change.get("value")
        said = [change.get("key")]
        if isinstance(value, dict):
            said += [value.get(name) for name in ("incarnation", "nonce", "idempotency_key")]
            lineage = value.get("lineage")
            said += [lineage.get("incarnation")] if isinstance(lineage, dict) else []
        for text in said:
            if isinstance(text, str):
                for found in _FRESH.findall(text.encode()):
                    self._given.setdefault(found, self._next())
        key = value.get("idempotency_key") if isinstance(value, dict) else None
        if isinstance(key, str):
            self._given.setdefault(key.encode(), self._next(len(key)))

    def replaced(self, message: bytes) -> bytes:
        for found, given in self._given.items():
            message = message.replace(found, given)
        return message

    def _next(self, length: int = 16) -> bytes:
        number, text = int.from_bytes(sha256(f"{self._name}/{len(self._given)}".encode()).digest(), "big"), ""
        for _ in range(length):
            number, digit = divmod(number, len(_DIGITS))
            text += _DIGITS[digit]
        return text.encode()


def _section(header: Header, messages: list[bytes], ids: _Ids, clock: Iterator[int]) -> bytes:
    tally, lines = Tally(), list[bytes]()
    for message in messages:
        same = _same(ids.replaced(message), next(clock))
        tally.add(same)
        lines.append(line_of(same))
    told = msgspec.structs.replace(header, incarnation=tally.incarnation, sha256=tally.sha256)
    return b"".join([told.line(), *lines])


def _same(message: bytes, number: int) -> bytes:
    change: dict[str, Any] = codec.loads(message)
    moment = _BEGAN + timedelta(milliseconds=number)
    change["headers"]["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    value = change.get("value")
    fingerprint = value.get("fingerprint") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(fingerprint, str) and "." in fingerprint:
        value["fingerprint"] = fingerprint.partition(".")[0] + _NO_CODE
    return codec.dumps(change)
