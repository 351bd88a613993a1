"""Session ids, and the paths of the streams that keep them.

An id is the user's: any text without control characters, without `.`, `..` or empty
segments, and without a leading `~`. Paths that begin with `~` are the library's own:
`~s/<incarnation>` holds an incarnation whose id's path cannot be used again,
`~at/<id>` points at it.
"""

from __future__ import annotations

import secrets
import string
import unicodedata
from urllib.parse import quote, unquote

LONGEST = 512


def checked_id(session_id: object) -> str:
    """The id itself if it can name a session; TypeError or ValueError says why it cannot."""
    if not isinstance(session_id, str):
        raise TypeError(f"a session id is text, not {type(session_id).__name__}: {session_id!r}")
    problem = _problem(session_id)
    if problem:
        raise ValueError(f"{session_id[:80]!r} cannot be a session id: {problem}")
    return session_id


def _problem(session_id: str) -> str | None:
    if not session_id:
        return "it is empty"
    if len(session_id.encode("utf-8", "surrogatepass")) > LONGEST:
        return f"it is longer than {LONGEST} bytes"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in session_id):
        return "it holds a control character or a lone surrogate"
    if session_id.startswith("~"):
        return "a leading ~ is kept for the library's own streams"
    if any(segment in ("", ".", "..") for segment in session_id.split("/")):
        return "it has an empty, `.` or `..` segment between slashes"
    return None


def path_of(session_id: str) -> str:
    """The stream that a session's first incarnation lives in."""
    return quote(session_id, safe="/")


def id_of(path: str) -> str:
    """The session id whose first incarnation lives at `path`."""
    return unquote(path)


def spare_path(incarnation: str) -> str:
    """Where an incarnation lives whose id's own path cannot be used again."""
    return f"~s/{incarnation}"


def pointer_path(session_id: str) -> str:
    """The stream whose last event names the path of such an incarnation."""
    return f"~at/{quote(session_id, safe='')}"


_LETTERS = string.digits + string.ascii_letters


def fresh_id() -> str:
    """A random id of 95 bits, letters and digits only: for incarnations, runs, nonces and keys."""
    number, text = secrets.randbits(95), ""
    for _ in range(16):
        number, digit = divmod(number, 62)
        text += _LETTERS[digit]
    return text


def old_id(session: str, incarnation: str) -> str:
    """The id under which a life of a session that was compacted can be read."""
    return f"{session}~{incarnation}"
