"""The stored format, version 1: one SQLite file, told here once.

`frames` is the log of every stream and the one clock of the store. Its ids only rise, so
"what is new" is always `id > last`, for this process and for others. One append is one
frame (a very large one is several, of at most `FRAME` bytes, in one transaction):

- `start` is the position of its first message, `count` its messages (bytes, where the
  stream is not JSON), `at` milliseconds since the epoch;
- `body` is JSON messages joined by "," exactly as sent, or the bytes of the append;
- `crc` covers stream, start, count and body, less 2^31 so that it fits four bytes. The other
  tables have one too, over what decides: a flipped bit is an error, never other data.

A frame may be cut into two rows so that pages are full (`packing.py`): the first has a null
`count`, the last carries `count`, `at` and `crc` of the whole. A frame with count 0 is a mark:
the stream was created or closed there. A frame of stream 0 is a tombstone: its body is the
path of a stream that was deleted.

A fork is a row of `streams` with a `parent`: positions before `fork_at` are its parent's.
A deleted stream that forks still read keeps its rows with `deleted` set; `forks` counts them.
"""

from __future__ import annotations

VERSION = 1
APPLICATION = 0x41677374
"""`PRAGMA application_id` of a store ("Agst"): tells it from any other SQLite file."""

PAGE = 4096
FRAME = 256 * 1024
TOMBSTONES = 0

TABLES = """
CREATE TABLE streams(
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    content_type TEXT NOT NULL,
    parent INTEGER,
    fork_at INTEGER NOT NULL DEFAULT 0,
    fork_source TEXT,
    forks INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    ttl INTEGER,
    expires_at TEXT,
    touched REAL,
    seq TEXT,
    created REAL NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE frames(
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER,
    at INTEGER,
    crc INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX frames_of ON frames(stream, start);
CREATE TABLE producers(
    stream INTEGER NOT NULL,
    id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY(stream, id)
) WITHOUT ROWID
"""
"""Statement by statement what SQLite keeps as its own description of the file; not a letter may change."""

STATEMENTS = tuple(statement.strip() for statement in TABLES.split(";"))
MARKS = (f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {VERSION}")
