"""`attach`: a file or other content into the session, read and written piece by piece.

The bytes go into a blob (`sessions/blobs.py`) and the code gets an `Attachment`. In a run this is
a step: a file is outside, so on resume and replay what was attached is served, and the file need
not be there any more. Inside another step it is part of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any

from agentstream.agents.context import lane_here
from agentstream.agents.opening import backend_here, lane_recorded, opening
from agentstream.backends.driving import Call, adrive, drive
from agentstream.errors import AgentStreamError
from agentstream.sessions.attachments import Attachment, described
from agentstream.sessions.blobs import CHUNK
from agentstream.sessions.references import ATTACHMENT, Ref
from agentstream.sessions.writing import open_or_create

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.blobs import Address
    from agentstream.sessions.core import Core

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

SPOOLED = 16 << 20
"""Bytes of a source that can be read only once which are kept in memory; more go to a temporary file."""


def attach(source: Source, *, media_type: str | None = None, name: str | None = None) -> Attachment:
    """Keeps a file's or other content beside the session and returns what stands for it in values; durable then.

    - `source`: a path, bytes, or a binary file, which is read from its present place to its end, a
      megabyte in memory at a time.
    - `media_type`: by default what the name's ending tells, else application/octet-stream.
    - `name`: by default the last part of the path. In a run it is what the step is matched by.

    The `Attachment` may stand in arguments, results and messages of any session of the same store.
    In a run this is a step. Outside one use `session.attach(…)`. Raises OSError for a source that
    cannot be read, ValueError for one that changes meanwhile, StoreError, the run's stop signals.
    """
    return drive(_attaching(source, media_type, name, in_loop=False), backend_here())


async def aattach(source: Source, *, media_type: str | None = None, name: str | None = None) -> Attachment:
    """As `attach`, without blocking the event loop."""
    return await adrive(_attaching(source, media_type, name, in_loop=True), backend_here())


def _attaching(source: Source, media_type: str | None, name: str | None, *, in_loop: bool) -> Steps[Attachment]:
    lane = lane_here()
    if lane is None:
        raise AgentStreamError("attach() is for code inside a run; outside one it is session.attach(…)")
    return attaching(lane.worker.core, lane.worker.session, source, media_type, name, in_loop=in_loop)


def attaching(
    core: Core, session: str, source: Source, media_type: str | None, name: str | None, *, in_loop: bool
) -> Steps[Attachment]:
    """`attach` and `session.attach`: a step where the calling code records any."""
    _check(source)
    media_type, name = described(_path(source), media_type, name)
    if lane_recorded() is None:
        address = yield from _address(core, session)
        return (yield from _kept(core, address, source, media_type, name, in_loop))
    told: dict[str, Any] = {"media_type": media_type, "name": name}
    if isinstance(source, (bytes, bytearray, memoryview)):
        told["sha256"] = sha256(source).hexdigest()  # what is here already is part of what is asked
    call = yield from opening("attach", name or "content", told, in_loop=in_loop)
    if call.served is not None:
        return call.served.value()
    try:
        address = yield from _address(core, session)
        made = yield from _kept(core, address, source, media_type, name, in_loop)
    except asyncio.CancelledError:
        call.cancel()
        raise
    except Exception as error:
        yield from call.failing(error, in_loop=in_loop)
        raise
    except BaseException:
        call.abandon()
        raise
    return (yield from call.finishing(made, in_loop=in_loop))


def _address(core: Core, session: str) -> Steps[Address | None]:
    """Where the session keeps content; a session that is encrypted must be there to say so."""
    if not hasattr(core.backend, "address"):
        return None
    return core.blobs.addresses((yield from open_or_create(core, session)).births)


def _kept(
    core: Core, address: Address | None, source: Source, media_type: str, name: str | None, in_loop: bool
) -> Steps[Attachment]:
    with _readable(source) as file:
        start = file.tell()

        def read(place: int, size: int) -> bytes:
            file.seek(start + place)
            return _read(file, size)

        def call(place: int, size: int) -> Any:
            return asyncio.to_thread(read, place, size) if in_loop else read(place, size)

        digest, size = sha256(), 0
        while piece := (yield Call(partial(call, size, CHUNK))):
            digest.update(piece)
            size += len(piece)
        told = digest.hexdigest()
        ref = Ref(told, size, media_type, ATTACHMENT, name, at=address(told) if address is not None else None)
        yield from core.blobs.save(ref, call)
    return Attachment(ref, core.blobs)


def _read(file: IO[bytes], size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    parts: list[bytes] = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _check(source: Any) -> None:
    if isinstance(source, io.TextIOBase):
        raise TypeError("an attachment is bytes: open the file with 'rb', or give its path")
    if not isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)) and not hasattr(source, "read"):
        raise TypeError(f"attach() takes a path, bytes or a binary file, not {type(source).__name__}")


def _path(source: Source) -> str | None:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return None


@contextlib.contextmanager
def _readable(source: Source) -> Iterator[IO[bytes]]:
    """The source as a file that can be read twice."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield file
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif source.seekable():
        yield source
    else:
        with tempfile.SpooledTemporaryFile(SPOOLED) as spool:
            while piece := source.read(CHUNK):
                spool.write(piece)
            spool.seek(0)
            yield spool
