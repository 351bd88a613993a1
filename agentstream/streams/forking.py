"""Forking a stream at any position: by the server where it does so exactly, else as a copy of what is before the cut.

Servers answer 201 to forks that they did not make as asked, and not every cut has an offset;
so what was made is looked at before it is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstream.errors import StoreError
from agentstream.protocol.errors import BadReply, InvalidRequest, StreamConflict
from agentstream.protocol.http import is_json
from agentstream.protocol.operations import NOW, START, Create, Created, Delete, ForkPoint, Head
from agentstream.streams.locating import taken
from agentstream.streams.values import StreamPosition

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

LOOKS = 5
"""How often a source that grows meanwhile is read before that is taken for trouble."""


def fork(source: str, path: str, at: StreamPosition | None, content_type: str) -> Steps[None]:
    """Makes `path` a fork of `source` at a position (None: its tail).

    Raises StreamConflict where `path` is there already, InvalidRequest for a position that the source does not have.
    """
    if at is None or at.offset == NOW:
        at = StreamPosition((yield Head(source)).offset)
    try:
        made: Created = yield Create(path, (), content_type, fork=ForkPoint(source, at.offset, at.skip))
    except InvalidRequest:
        yield from _copy(source, path, at, content_type)
        return
    if (yield from _is_exact(source, path, at, made, content_type)):
        return
    if not made.new:
        raise StreamConflict(f"stream {path!r} is there already, and has gone on since it was forked")
    yield Delete(path)
    yield from _copy(source, path, at, content_type)


def _is_exact(source: str, path: str, at: StreamPosition, made: Created, content_type: str) -> Steps[bool]:
    """Whether the fork holds what is before the cut and nothing else: a fork has its source's offsets up to there."""
    if not at.skip and at.offset != START:
        return made.offset == at.offset
    try:
        there, _ = yield from taken(path, at.offset, at.skip + 1, content_type)
    except (InvalidRequest, BadReply):  # some servers cut between bytes, within a message
        return False
    here, _ = yield from taken(source, at.offset, at.skip, content_type)
    return there == here


def _copy(source: str, path: str, at: StreamPosition, content_type: str) -> Steps[None]:
    """The same as a stream of its own, made in one request."""
    body = yield from _before(source, at, content_type)
    made: Created = yield Create(path, body, content_type)
    if not made.new:
        there, _ = yield from taken(path, START, None, content_type)
        if there != body:
            raise StreamConflict(f"stream {path!r} is there already")


def _before(source: str, at: StreamPosition, content_type: str) -> Steps[tuple[bytes, ...]]:
    """What is before a cut. Only whole answers have an offset, so what is after it is read too and left out."""
    json = is_json(content_type)
    for _ in range(LOOKS):
        everything, tail = yield from taken(source, START, None, content_type)
        after, end = yield from taken(source, at.offset, None, content_type)
        if end == tail:
            break
    else:
        raise StoreError(f"stream {source!r} grows too fast to be copied; fork it at its tail, or later")
    if json:
        kept = everything[: len(everything) - len(after) + at.skip]
        beyond = at.skip > len(after)
    else:
        whole, rest = b"".join(everything), b"".join(after)
        kept = tuple(part for part in (whole[: len(whole) - len(rest) + at.skip],) if part)
        beyond = at.skip > len(rest)
    if beyond:
        raise InvalidRequest(f"stream {source!r}: {at} is beyond its tail")
    return kept
