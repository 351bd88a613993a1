"""SQLite's failures as `StoreError`s that say where it happened and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from agentstream.errors import StoreError, Unavailable

BUSY_SECONDS = 30.0
"""How long a write waits for another process before it is given up as `Unavailable`."""

_ADVICE = (
    ("database or disk is full", "the disk is full: free some space and try again; nothing acknowledged is lost"),
    ("readonly database", "the store cannot be written: check the permissions of the folder and of the file system"),
    ("unable to open", "the store cannot be opened: check that the folder exists, can be written and is no file"),
    ("not a database", "the file is damaged or no store: put a copy back, or move it away to begin anew"),
    ("malformed", "the file is damaged: put a copy back, or try SQLite's `.recover` on it"),
    ("disk i/o error", "the disk failed or a limit was reached: check the disk and its free space, then try again"),
    ("no such table", "the file is damaged: a table of the store is missing; put a copy back"),
)


def store_error(error: Exception, name: str) -> StoreError:
    """What `error`, raised by SQLite or the operating system for the store `name`, is to a caller."""
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        held = f"another process has held it for more than {BUSY_SECONDS:g} s"
        return Unavailable(f"{name}: the store is locked: {held}; nothing was written, try again")
    for mark, advice in _ADVICE:
        if mark in text:
            return StoreError(f"{name}: {advice} ({error})")
    return StoreError(f"{name}: the store failed: {error}")


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raises what SQLite or the operating system raises inside as a `StoreError` that names `name`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise store_error(error, name) from error


def damaged(name: str, path: str, what: str) -> StoreError:
    """A stream's record contradicts itself."""
    return StoreError(f"{name}: the record of stream {path!r} is damaged: {what}; put a copy of the file back")
