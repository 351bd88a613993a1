"""What the tests of large values share: what a store holds of them, and damage to it."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentstream import Client
from agentstream.backends.driving import drive
from agentstream.protocol.errors import StreamNotFound
from agentstream.protocol.operations import START, Append, Create, Delete, Read
from agentstream.sessions.blobs import BLOBS, BYTES
from agentstream.sessions.large import LIMIT
from agentstream.sessions.patience import asked
from agentstream.sessions.references import Ref, refs_in

OVER = LIMIT + 1


def digest_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def refs_of_session(backend: Any, session: str = "s") -> list[Ref]:
    """Every reference in the stored events of a session."""
    return [ref for event in Client(backend).session(session).events() for ref in refs_in(event.raw)]


def stored(backend: Any, digest: str) -> tuple[bytes, bool] | None:
    """The bytes of a blob's stream as they are, and whether it is closed; None where there is none."""

    def read() -> Any:
        parts: list[bytes] = []
        offset = START
        while True:
            page = yield from asked(Read(BLOBS + digest, offset))
            parts += page.messages
            if page.up_to_date or page.closed:
                return b"".join(parts), page.closed
            offset = page.offset

    try:
        return drive(read(), backend)
    except StreamNotFound:
        return None


def is_whole(backend: Any, ref: Ref) -> bool:
    found = stored(backend, ref.sha256)
    return found is not None and found[1] and digest_of(found[0]) == ref.sha256


def replace_blob(backend: Any, digest: str, content: bytes | None, *, closed: bool = True) -> None:
    """Damages a blob: other bytes, half of them, or none at all."""
    with suppress(StreamNotFound):
        backend.execute(Delete(BLOBS + digest))
    if content is not None:
        backend.execute(Create(BLOBS + digest, (content,), BYTES, closed=closed))


def torn(backend: Any, digest: str, content: bytes, chunk: int) -> None:
    """A blob as a crash leaves it after its first chunk."""
    backend.execute(Create(BLOBS + digest, (), BYTES))
    backend.execute(Append(BLOBS + digest, (content[:chunk],), BYTES, seq="00000000"))


def blob_streams(folder: Path) -> list[str]:
    """The paths of the blobs in an embedded store's file."""
    with sqlite3.connect(f"file:{folder / 'streams.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT path FROM streams WHERE path LIKE '~b/%' AND NOT deleted").fetchall()
    return [path for (path,) in rows]
