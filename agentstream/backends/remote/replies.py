"""One HTTP/1.1 exchange as bytes (RFC 9112): a request written, a reply read wherever its bytes are cut. No I/O."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

from agentstream.protocol.http import HttpResponse

MOST_HEAD = 65_536
"""Bytes of a reply's status line and headers, or of one line between its chunks."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?", re.DOTALL)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_FRAMING = ("content-length", "transfer-encoding")
"""Headers that are nobody's to set but whose who writes the body."""
_UNSENDABLE = re.compile(r"[^\x20-\x7e]")


class BadHttp(Exception):
    """What came is no reply of HTTP/1.1, or ended before it was whole."""


def request_head(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request up to its body. ValueError for a header that could end or forge another."""
    if " " in target:
        raise ValueError(f"{target[:80]!r} is no path; a path is percent-encoded")
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in headers:
        lines.append(f"host: {host}")
    lines += [f"{name}: {value}" for name, value in headers.items() if name not in _FRAMING]
    if body or method in ("POST", "PUT"):
        lines.append(f"content-length: {len(body)}")
    if _UNSENDABLE.search("".join(lines)):
        name, value = next(((name, value) for name, value in headers.items() if _UNSENDABLE.search(value)), ("", ""))
        raise ValueError(f"header {name!r} is {value[:80]!r}; a header is printable ASCII")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class Reply:
    """A reply to one request of `method`, from the bytes of its connection in pieces of any size.

    `head` is there as soon as its headers are; `done` when its body is. `keeps`: the connection can be used again.
    """

    def __init__(self, method: str) -> None:
        self.head: HttpResponse | None = None
        self.done = False
        self.keeps = False
        self._bodiless = method == "HEAD"
        self._held = b""
        """What came of a head, or of a line between chunks, that has not ended."""
        self._left: int | None = None
        """Bytes of the body, or of its chunk, that are to come; None where the end of the connection ends it."""
        self._chunked = False
        self._between = False
        self._trailers = False
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        """What of the body came with these bytes. Raises BadHttp."""
        while self.head is None:
            data, self._held = self._held + data, b""
            end = _HEAD_END.search(data)
            if end is None:
                self._hold(data)
                return b""
            self._begin(data[: end.start()].decode("latin-1"))
            data = data[end.end() :]
        if self._chunked:
            body = self._unchunked(data)
        elif self._left is None:
            body = data
        else:
            body = data[: self._left]
            if len(data) > len(body):
                self.keeps = False  # something that nobody asked for
            self._left -= len(body)
            self.done = not self._left
        return body if self._inflate is None else self._inflated(body)

    def end(self) -> None:
        """The connection ended. Raises BadHttp if that is before the reply's end."""
        if self.head is None:
            raise BadHttp("the connection ended before an answer")
        if not self.done and (self._chunked or self._left is not None):
            raise BadHttp("the connection ended within an answer")
        self.done, self.keeps = True, False
        if self._inflate is not None:
            self._inflated(b"")

    # --- the head ----------------------------------------------------------------------------------------------------

    def _begin(self, text: str) -> None:
        line, *lines = text.replace("\r\n", "\n").split("\n")
        said = _STATUS.fullmatch(line)
        if said is None:
            raise BadHttp(f"an answer began with {line[:80]!r}; is this a server of HTTP/1.1?")
        status = int(said[2])
        if status < 200:
            if status == 101:
                raise BadHttp("the server changed to another protocol")
            return  # the answer itself is still to come
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or _NAME.fullmatch(name) is None or "\r" in value or "\0" in value:
                raise BadHttp(f"an answer has a header line {line[:80]!r}")
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.head = HttpResponse(status, headers)
        options = _options(headers.get("connection"))
        self.keeps = "close" not in options if said[1] == "1" else "keep-alive" in options
        self._framing(status, headers)

    def _framing(self, status: int, headers: Mapping[str, str]) -> None:
        """How the body ends (RFC 9112, 6.3)."""
        encodings, length = _options(headers.get("transfer-encoding")), headers.get("content-length")
        if self._bodiless or status in (204, 304):
            self._left, self.done = 0, True
            return
        if encodings:
            if encodings != ["chunked"]:
                raise BadHttp(f"an answer comes in an encoding that was not asked for: {', '.join(encodings)[:80]}")
            self._chunked, self._left = True, 0
            self.keeps = self.keeps and length is None
        elif length is not None:
            lengths = set(_options(length))
            number = lengths.pop() if len(lengths) == 1 else ""
            if not (number.isascii() and number.isdigit()):
                raise BadHttp(f"an answer has Content-Length {length[:80]!r}")
            self._left = int(number)
            self.done = not self._left
        else:
            self.keeps = False
        coding = headers.get("content-encoding", "identity").lower()
        if coding in ("gzip", "x-gzip", "deflate"):
            self._inflate = None if self.done else zlib.decompressobj(47 if coding != "deflate" else 15)
        elif coding != "identity":
            raise BadHttp(f"an answer comes in an encoding that was not asked for: {coding[:80]}")

    # --- the body ----------------------------------------------------------------------------------------------------

    def _unchunked(self, data: bytes) -> bytes:
        data, self._held = self._held + data if self._held else data, b""
        found: list[bytes] = []
        at = 0
        while not self.done:
            if self._left:
                piece = data[at : at + self._left]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
            end = data.find(b"\n", at)
            if end < 0:
                self._hold(data[at:])
                return b"".join(found)
            self._line(data[at:end].removesuffix(b"\r"))
            at = end + 1
        if self.done and at < len(data):
            self.keeps = False
        return found[0] if len(found) == 1 else b"".join(found)

    def _line(self, line: bytes) -> None:
        """A line between chunks: the end of one, the size of the next, or one after the last."""
        if self._trailers:
            self.done = not line
        elif self._between:
            if line:
                raise BadHttp("a chunk of an answer is longer than it said")
            self._between = False
        else:
            size = line.partition(b";")[0].strip(b" \t")
            if _SIZE.fullmatch(size) is None:
                raise BadHttp(f"a chunk of an answer has the size {line[:80]!r}")
            self._left = int(size, 16)
            self._between = self._left > 0
            self._trailers = not self._left

    def _hold(self, data: bytes) -> None:
        if len(data) > MOST_HEAD:
            raise BadHttp(f"the headers of an answer are longer than {MOST_HEAD} bytes")
        self._held = data

    def _inflated(self, data: bytes) -> bytes:
        inflate = self._inflate
        assert inflate is not None
        try:
            found = inflate.decompress(data)
        except zlib.error as error:
            raise BadHttp(f"an answer's compression is broken: {error}") from error
        if self.done and not inflate.eof:
            raise BadHttp("an answer's compression was cut short")
        return found


def _options(value: str | None) -> list[str]:
    """The parts of a list in a header, in lower case."""
    return [part.strip().lower() for part in value.split(",") if part.strip()] if value else []
