"""The form of an export: sessions as lines of JSON, each message byte for byte.

A section is a header line and then one line for each message:

    {"agentstream":"export/1","session":"a","incarnation":"…","events":3,"sealed":false,"sha256":"…"}

(and `"redacted":"keys"` where something was taken out on the way, by the rules of that name).

`events` counts the whole session. Where the header has `"shares":{"session":"…","events":n}` the
first n messages are those of that earlier section, and only the rest is here. `sha256` is over
the messages that are here, each followed by a line feed, so that a torn or edited file is known.
A message that would not come back from a line of its own (one with a line break inside) is
written as `{"$raw":"<base64>"}`.

Before the first section that refers to large content (`references.py`) stands that content, once:

    {"agentstream":"blob/1","sha256":"…","size":1200000,"lines":2}

and so many lines of at most a megabyte, each a JSON string of base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import msgspec

from agentstream.errors import InvalidExport
from agentstream.sessions.births import birth_of, declared_birth
from agentstream.sessions.events import read_event
from agentstream.sessions.ids import checked_id
from agentstream.sessions.references import Ref, refs_in

FORM = "export/1"
LONGEST_LINE = 1 << 30
"""Bytes of a line: more is no export of ours, and is not read into memory."""

BLOB_FORM = "blob/1"
_BLOB = b'{"agentstream":"blob/'
PIECE = 750_000
"""Bytes of content in a line; divisible by three, so that all lines but the last have one length."""
_PIECE_LINE = PIECE // 3 * 4 + 3

_RAW, _RAW_END = b'{"$raw":"', b'"}'


class Shares(msgspec.Struct, frozen=True):
    """What a section shares with an earlier one: its first `events`, all before its own birth."""

    session: str
    events: int


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a section."""

    agentstream: str
    session: str
    incarnation: str
    events: int
    sealed: bool
    sha256: str
    shares: Shares | None = None
    redacted: str | None = None
    """The rules by which it was redacted when it left the store that it was recorded in."""

    @property
    def shared(self) -> int:
        return self.shares.events if self.shares is not None else 0

    @property
    def lines(self) -> int:
        """How many messages follow in the file."""
        return self.events - self.shared

    def line(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


class BlobHeader(msgspec.Struct, frozen=True):
    """The line before large content."""

    agentstream: str
    sha256: str
    size: int
    lines: int

    @classmethod
    def of(cls, ref: Ref) -> BlobHeader:
        return cls(BLOB_FORM, ref.sha256, ref.size, -(-ref.size // PIECE))

    def line(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


@dataclass(slots=True)
class Tally:
    """What is learnt of a session's messages as they go by, from its message number `start` on."""

    start: int = 0
    events: int = -1
    incarnation: str = ""
    births: list[tuple[int, str]] = field(default_factory=list)
    """Where each incarnation begins, and its name."""
    redacted: str | None = None
    """The rules that the first birth names which names any."""
    refs: dict[str, tuple[Ref, int]] = field(default_factory=dict)
    """The large content that is referred to, by its SHA-256, and the first event that does."""
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.events = self.start

    def add(self, message: bytes) -> None:
        if b'"session"' in message:
            birth = birth_of(read_event(message, self.events))
            if birth is not None:
                self.incarnation = birth.incarnation
                self.redacted = self.redacted or birth.redacted
                self.births.append((self.events, birth.incarnation))
        for ref in refs_in(message):
            self.refs.setdefault(ref.sha256, (ref, self.events))
        self._digest.update(message)
        self._digest.update(b"\n")
        self.events += 1

    def header(self, session: str, sealed: bool, shares: Shares | None) -> Header:
        """The header of a section with these messages."""
        return Header(FORM, session, self.incarnation, self.events, sealed, self.sha256, shares, self.redacted)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Section:
    """One session in a file: its header, and where in the file its messages are."""

    header: Header
    offset: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds: its sections, and of each large content its header and where its lines begin."""

    sections: list[Section]
    blobs: dict[str, tuple[BlobHeader, int]]


def piece_line(piece: bytes) -> bytes:
    """A line of large content: at most `PIECE` bytes of it."""
    return b'"' + base64.b64encode(piece) + b'"\n'


def content(file: IO[bytes], start: int, place: int, size: int) -> bytes:
    """So many bytes of large content whose lines begin at `start`, from its byte `place` on."""
    number, skip = divmod(place, PIECE)
    parts: list[bytes] = []
    while size > 0:
        file.seek(start + number * _PIECE_LINE)
        part = _piece(file.readline().removesuffix(b"\n"))[skip : skip + size]
        parts.append(part)
        size -= len(part)
        number, skip = number + 1, 0
        if not part:
            break
    return b"".join(parts)


def _piece(line: bytes) -> bytes:
    if line[:1] != b'"' or line[-1:] != b'"' or len(line) < 2:
        raise binascii.Error("no JSON string")
    return base64.b64decode(line[1:-1], validate=True)


def line_of(message: bytes) -> bytes:
    """The line that `message_of` reads back as `message`."""
    if b"\n" in message or b"\r" in message or message.startswith(_RAW) or not _is_text(message):
        message = _RAW + base64.b64encode(message) + _RAW_END
    return message + b"\n"


def message_of(line: bytes) -> bytes:
    """The message that a line (without its line feed) stands for. ValueError for a damaged one."""
    if line.startswith(_RAW) and line.endswith(_RAW_END):
        return base64.b64decode(line[len(_RAW) : -len(_RAW_END)], validate=True)
    return line


def check(file: IO[bytes], name: str) -> Contents:
    """Reads an export from its present place to its end. InvalidExport says what is wrong with it, and where."""
    reader = _Reader(file, name)
    sections: dict[str, Section] = {}
    blobs: dict[str, tuple[BlobHeader, int]] = {}
    while (line := reader.next()) is not None:
        if line.startswith(_BLOB):
            blob = reader.blob_header(line)
            blobs[blob.sha256] = (blob, file.tell())
            reader.check_content(blob)
            continue
        header = reader.header(line)
        source = sections.get(header.shares.session) if header.shares is not None else None
        if header.shares is not None and (source is None or source.header.events < header.shared):
            raise reader.wrong(f"session {header.session!r} shares events that do not come before it")
        if header.session in sections:
            raise reader.wrong(f"session {header.session!r} is in this file twice")
        sections[header.session] = Section(header, file.tell())
        reader.check_messages(header, blobs)
    if not sections:
        raise InvalidExport(f"{name} is empty; an export begins with a header line. Nothing was imported")
    return Contents(list(sections.values()), blobs)


def messages(file: IO[bytes], section: Section) -> Iterator[bytes]:
    """The messages of a section that `check` has accepted."""
    file.seek(section.offset)
    for _ in range(section.header.lines):
        yield message_of(file.readline().removesuffix(b"\n"))


class _Reader:
    """Lines of a file, and what is wrong with them."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name, self._line = file, name, 0

    def wrong(self, what: str) -> InvalidExport:
        return InvalidExport(f"{self._name}, line {self._line}: {what}. Nothing was imported")

    def next(self) -> bytes | None:
        line = self._file.readline(LONGEST_LINE + 1)
        if not line:
            return None
        self._line += 1
        if len(line) > LONGEST_LINE:
            raise self.wrong(f"it is longer than {LONGEST_LINE} bytes")
        return line.removesuffix(b"\n")

    def header(self, line: bytes) -> Header:
        try:
            header = msgspec.json.decode(line, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.wrong(f"this is no header of an export ({error})") from None
        if header.agentstream != FORM:
            raise self.wrong(f"it says {header.agentstream!r}; this version reads {FORM!r}")
        try:
            checked_id(header.session)
        except ValueError as error:
            raise self.wrong(str(error)) from None
        if not 0 <= header.shared <= header.events:
            raise self.wrong(f"it says that {header.shared} of {header.events} events are shared")
        return header

    def blob_header(self, line: bytes) -> BlobHeader:
        try:
            header = msgspec.json.decode(line, type=BlobHeader)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.wrong(f"this is no header of large content ({error})") from None
        if header.agentstream != BLOB_FORM:
            raise self.wrong(f"it says {header.agentstream!r}; this version reads {BLOB_FORM!r}")
        if header.size < 0 or header.lines != -(-header.size // PIECE):
            raise self.wrong(f"it says that {header.size} bytes are {header.lines} lines")
        return header

    def check_content(self, header: BlobHeader) -> None:
        digest, left = hashlib.sha256(), header.size
        for _ in range(header.lines):
            line = self.next()
            if line is None:
                raise self.wrong(f"it is torn: {left} bytes of content {header.sha256[:12]}… are missing")
            try:
                piece = _piece(line)
            except (binascii.Error, ValueError):
                raise self.wrong("this is no line of large content") from None
            if len(piece) != min(PIECE, left):
                raise self.wrong(f"a line of large content holds {len(piece)} bytes, and not {min(PIECE, left)}")
            digest.update(piece)
            left -= len(piece)
        if digest.hexdigest() != header.sha256:
            raise self.wrong(f"the large content up to here is not what was exported (sha256 {header.sha256[:12]}…)")

    def check_messages(self, header: Header, blobs: dict[str, tuple[BlobHeader, int]]) -> None:
        tally = Tally(header.shared)
        for n in range(header.shared, header.events):
            line = self.next()
            if line is None:
                raise self.wrong(
                    f"it is torn: here {n} of {header.events} events of session {header.session!r} are over"
                )
            message = self._message(line)
            if n == 0 and _stitched(message):
                raise self.wrong(f"session {header.session!r} begins with a fork's lineage, without what it shares")
            tally.add(message)
        for ref, index in tally.refs.values():
            if ref.sha256 not in blobs:
                raise self.wrong(
                    f"event {index} of session {header.session!r} refers to content {ref.sha256[:12]}…, "
                    "which is not in the file before it"
                )
        if tally.sha256 != header.sha256:
            raise self.wrong(
                f"the events of session {header.session!r} up to here are not those that were exported (sha256 differs)"
            )
        if tally.incarnation != header.incarnation:
            raise self.wrong(
                f"session {header.session!r} is of incarnation {tally.incarnation!r}, "
                f"and its header says {header.incarnation!r}"
            )
        if tally.start == 0 and tally.redacted != header.redacted:
            raise self.wrong(
                f"session {header.session!r} was redacted by the rules {tally.redacted!r}, "
                f"and its header says {header.redacted!r}"
            )

    def _message(self, line: bytes) -> bytes:
        try:
            message = message_of(line)
            message.decode()
            msgspec.json.decode(message, type=msgspec.Raw)
        except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.wrong(f"this is no message in JSON ({error})") from None
        return message


def _stitched(message: bytes) -> bool:
    """Whether a first message says that what comes before it is to be read elsewhere."""
    birth = declared_birth(read_event(message, 0))
    return birth is not None and birth.lineage is not None and birth.lineage.count > 0


def _is_text(message: bytes) -> bool:
    try:
        return message.isascii() or bool(message.decode())
    except UnicodeDecodeError:
        return False
