"""What streams are called: a path below the place that a client keeps streams in, or a whole URL there."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote, urlsplit


def path_of(address: object, root: str) -> str:
    """The path, percent-encoded, of the stream that a user calls `address`; `root` is the client's own address.

    A path is taken as it is written, a URL as URLs are. Raises TypeError or ValueError for what names no stream here.
    """
    if not isinstance(address, str):
        raise TypeError(f"a stream is named by a path or a URL, not {type(address).__name__}")
    if address.lower().startswith(("http://", "https://")):
        segments = [unquote(segment) for segment in _below(address, root).split("/")]
    else:
        segments = address.removeprefix("/").split("/")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ValueError(f"{address[:200]!r} names no stream: it has an empty, `.` or `..` segment")
        if any(unicodedata.category(char) in ("Cc", "Cs") for char in segment):
            raise ValueError(f"{address[:200]!r} names no stream: it holds a control character or a lone surrogate")
    if segments[0].startswith("~"):
        raise ValueError(f"{address[:200]!r}: a leading ~ is kept for the library's own streams")
    return "/".join(quote(segment, safe="") for segment in segments)


def _below(url: str, root: str) -> str:
    there, here = urlsplit(url), urlsplit(root)
    path, base = there.path, here.path.rstrip("/") + "/"
    same = (there.scheme.lower(), there.netloc.rpartition("@")[2].lower()) == (here.scheme.lower(), here.netloc.lower())
    if not same or not path.startswith(base) or there.query or there.fragment:
        raise ValueError(f"{url[:200]!r} is no stream of {root}; make a client for the place that it is in")
    return path[len(base) :]
