"""What a keeper of streams refuses, said to users of streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from agentstream.errors import NotFound
from agentstream.protocol.errors import StreamGone, StreamNotFound

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

T = TypeVar("T")


def told(error: Exception) -> Exception:
    """A stream that is not there, or not any more, is NotFound; other refusals say themselves what they are."""
    if isinstance(error, (StreamNotFound, StreamGone)):
        found = NotFound(str(error))
        found.__cause__ = error
        return found
    return error


@contextmanager
def telling() -> Iterator[None]:
    """Says so what is raised within."""
    try:
        yield
    except (StreamNotFound, StreamGone) as error:
        raise told(error) from error


def said(steps: Steps[T]) -> Steps[T]:
    """The same steps, with refusals as users know them."""
    try:
        return (yield from steps)
    except (StreamNotFound, StreamGone) as error:
        raise told(error) from error
