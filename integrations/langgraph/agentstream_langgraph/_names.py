"""Threads and the ids of their sessions."""

from __future__ import annotations

import re
from urllib.parse import unquote

_PLAIN = re.compile(r"[^%/\x00-\x1f\x7f-\x9f]+")


def session_of(prefix: str, thread_id: str) -> str:
    """`<prefix>/<thread>`: the thread's id as it is, what no session id can hold percent-encoded. ValueError for an
    empty prefix."""
    if not prefix:
        raise ValueError("a saver's prefix cannot be empty: it tells its threads from other sessions")
    if thread_id in ("", ".", ".."):
        return f"{prefix}/" + "".join(f"%{ord(char):02X}" for char in thread_id) + "%"
    return f"{prefix}/" + "".join(char if _PLAIN.fullmatch(char) else _escaped(char) for char in thread_id)


def thread_of(prefix: str, session: str) -> str | None:
    """The thread that a session keeps; None where it is no thread of this prefix."""
    name = session[len(prefix) + 1 :]
    return None if "/" in name else unquote(name.removesuffix("%"))


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
