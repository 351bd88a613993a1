"""`Attachment`: a file or other large content beside a session, by its hash.

The value is small and travels in arguments, results and messages as any other; the bytes stay
in a stream of their own (`blobs.py`) and are read when they are asked for, piece by piece.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentstream.errors import AgentStreamError
from agentstream.sessions.references import ATTACHMENT, BLOB, Ref, read_ref

if TYPE_CHECKING:
    from agentstream.sessions.blobs import Blobs

_store: ContextVar[Blobs | None] = ContextVar("agentstream_attachments", default=None)
"""Where attachments that are decoded here and now read their bytes from."""


class Attachment:
    """Content with a media type and a name, known by its SHA-256. Equal to another of the same content, type and name.

    Made by `session.attach(…)`, or by `attach(…)` inside a run. `size` is in bytes.
    """

    __slots__ = ("_blobs", "_ref")

    def __init__(self, ref: Ref, blobs: Blobs | None = None) -> None:
        """Not for users: `session.attach` makes one."""
        self._ref = ref
        self._blobs = blobs if blobs is not None else _store.get()

    @property
    def sha256(self) -> str:
        return self._ref.sha256

    @property
    def size(self) -> int:
        return self._ref.size

    @property
    def media_type(self) -> str:
        return self._ref.type

    @property
    def name(self) -> str | None:
        return self._ref.name

    def chunks(self) -> Iterator[bytes]:
        """The content piece by piece, about a megabyte each. Raises BlobLost where it is gone or damaged.

        That all pieces together are what was attached is known, and said, only after the last one.
        """
        return self._store().pieces(self._ref)

    async def achunks(self) -> AsyncIterator[bytes]:
        """As `chunks`, without blocking the event loop: `async for piece in attachment.achunks()`."""
        async for piece in self._store().apieces(self._ref):
            yield piece

    def read(self) -> bytes:
        """All of the content, checked. Raises BlobLost where it is gone or damaged."""
        return b"".join(self.chunks())

    async def aread(self) -> bytes:
        """As `read`, without blocking the event loop."""
        return b"".join([piece async for piece in self.achunks()])

    def open(self) -> io.BufferedReader:
        """The content as a binary file that is read from its start to its end, a megabyte in memory at a time."""
        return io.BufferedReader(_Reader(self.chunks()), 1 << 16)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the content to a file, which is there only when it is whole. Raises BlobLost, OSError."""
        with _written(path) as file:
            for piece in self.chunks():
                file.write(piece)

    async def asave(self, path: str | os.PathLike[str]) -> None:
        """As `save`, reading without blocking the event loop."""
        with _written(path) as file:
            async for piece in self.achunks():
                file.write(piece)

    def _store(self) -> Blobs:
        blobs = self._blobs if self._blobs is not None else _store.get()
        if blobs is None:
            raise AgentStreamError(
                f"attachment {self._shown()} was made without its session, so where its bytes are is not known; "
                "take it from session.state(), session.attachments() or inside a run"
            )
        return blobs

    def _shown(self) -> str:
        return f"{self.name or 'without a name'} ({self.media_type}, {self.size} bytes, {self.sha256[:12]}…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attachment) and self._ref == other._ref

    def __hash__(self) -> int:
        return hash((self.sha256, self.media_type, self.name))

    def __repr__(self) -> str:
        return (
            f"Attachment(name={self.name!r}, media_type={self.media_type!r}, size={self.size}, sha256={self.sha256!r})"
        )

    def __copy__(self) -> Attachment:
        return self

    def __deepcopy__(self, memo: Any) -> Attachment:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """So that a pydantic model may have a field of this type."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


def form_of(value: object) -> dict[str, Any] | None:
    """The canonical form of an attachment, None for anything else."""
    return {BLOB: value._ref.stored()} if isinstance(value, Attachment) else None


def attachment_of(content: Any) -> Attachment | None:
    """The attachment that a `$blob` object's content stands for; None for another large value, or nonsense."""
    ref = read_ref(content)
    return Attachment(ref) if ref is not None and ref.encoding == ATTACHMENT else None


@contextlib.contextmanager
def attachments_from(blobs: Blobs | None) -> Iterator[None]:
    """Inside this block decoded attachments read from there (None: from wherever they did)."""
    if blobs is None:
        yield
        return
    token = _store.set(blobs)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a generator that was closed in another context: nothing to undo there
            _store.reset(token)


def described(path: str | os.PathLike[str] | None, media_type: str | None, name: str | None) -> tuple[str, str | None]:
    """Media type and name: what the user says, else what the file's name tells."""
    if name is None and path is not None:
        name = Path(path).name
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"name= is a text that is not empty, not {name!r}")
    if media_type is None:
        from mimetypes import guess_type

        media_type = (guess_type(name)[0] if name is not None else None) or "application/octet-stream"
    if not isinstance(media_type, str) or "/" not in media_type or not media_type.isascii() or " " in media_type[:1]:
        raise ValueError(f"media_type= is one like application/pdf, not {media_type!r}")
    return media_type, name


class _Reader(io.RawIOBase):
    """Pieces as a raw file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


@contextlib.contextmanager
def _written(path: str | os.PathLike[str]) -> Iterator[io.BufferedWriter]:
    """A file beside the one to write, which takes its place when it is whole."""
    import tempfile  # dear to load, and most programs write none

    target = Path(path).resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            yield file
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
