"""SQLite's failures as `StoreError`s that say where it happened and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from agentstream.errors import StoreError, Unavailable

BUSY_SECONDS = 30.0
"""How long a write waits for another process before it is given up as `Unavailable`."""

_FULL = "the disk is full: free some space and try again; nothing acknowledged is lost"
_READ_ONLY = "the store cannot be written: check the permissions of the folder and of the file system"
_NO_FOLDER = "the store's place is no folder: give the path of a folder, or of one to be made"

# Marks in the text, lower case: error codes came to sqlite3 only with Python 3.11.
_ADVICE = (
    ("database or disk is full", _FULL),
    ("no space left", _FULL),
    ("readonly database", _READ_ONLY),
    ("permission denied", _READ_ONLY),
    ("read-only file system", _READ_ONLY),
    ("file exists", _NO_FOLDER),
    ("not a directory", _NO_FOLDER),
    ("unable to open", "the store cannot be opened: check that the folder exists and can be written"),
    ("not a database", "the file is damaged or no store: put a copy back, or move it away to begin anew"),
    ("malformed", "the file is damaged: put a copy back, or try SQLite's `.recover` on it"),
    ("disk i/o error", "the disk failed or a limit was reached: check the disk and its free space, then try again"),
    ("no such table", "the file is damaged: a table of the store is missing; put a copy back"),
)


class Damaged(sqlite3.DatabaseError):
    """The record contradicts itself; found by us where SQLite sees nothing wrong."""


FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What the store's file makes SQLite raise; anything else is a mistake of ours."""


def store_error(error: Exception, name: str) -> StoreError:
    """What `error`, raised by SQLite or the operating system for the store `name`, is to a caller."""
    if isinstance(error, (Damaged, UnicodeDecodeError)):
        return StoreError(f"{name}: the file is damaged: {error}; put a copy back")
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
    except FAILURES as error:
        raise store_error(error, name) from error
