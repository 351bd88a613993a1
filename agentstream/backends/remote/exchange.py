"""Asking a server: one operation as requests, repeated while that is safe. Generators over HTTP, no I/O.

What may be asked again after a lost answer: whatever only reads, a create, a delete, a
closing without data, and every append under a producer. A plain append is asked again only
where it was surely not written: no connection, or a server that said to come later (429, 503).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from agentstream.backends.driving import Sleep
from agentstream.errors import Unavailable
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.http import RETRY_AFTER, HttpRequest, HttpResponse
from agentstream.protocol.operations import Append, Appended, Delete, Operation
from agentstream.protocol.problems import RETRIED
from agentstream.protocol.requests import request_of, result_of

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps

REFUSED_UNREAD = frozenset({429, 503})
"""Statuses with which a server says that it did not take the request."""

LONGEST_PAUSE = 60.0
"""Seconds that a server's Retry-After can make a client wait before it is asked again all the same."""


class NotSent(Unavailable):
    """The server was not reached; nothing can have been written."""


class NoAnswer(Unavailable):
    """The request may have been received and applied; `timed_out`: nothing came in time."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class Send(msgspec.Struct, frozen=True):
    """An effect: send this request, be sent its response. `patience`: seconds to wait for it (None: the usual)."""

    request: HttpRequest
    patience: float | None = None


class Backoff(msgspec.Struct, frozen=True):
    """How often and when a request is repeated: `tries` in all, pauses in seconds that grow by `factor` to `longest`.

    Raises ValueError for what is no such thing.
    """

    tries: int = 6
    first: float = 0.1
    longest: float = 5.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        for name, given, right, wanted in (
            ("tries", self.tries, self.tries >= 1, "1 or more"),
            ("first", self.first, self.first > 0, "more than 0"),
            ("longest", self.longest, self.longest >= self.first, "no less than first="),
            ("factor", self.factor, self.factor >= 1, "1 or more"),
        ):
            if not right:
                raise ValueError(f"{name}= is {wanted}, not {given!r}")

    def pauses(self) -> Iterator[float]:
        """The pause after each failed try but the last; random between half and all of it, so that many spread."""
        pause = self.first
        for _ in range(self.tries - 1):
            yield min(self.longest, pause) * random.uniform(0.5, 1.0)
            pause = min(self.longest, pause * self.factor)


def answered(operation: Operation, root: str, backoff: Backoff, patience: float | None = None) -> Steps[Any]:
    """The result of an operation, as `result_of` tells it; see `told` for an answer to a repeated one."""
    result, _ = yield from told(operation, root, backoff, patience)
    return result


def told(operation: Operation, root: str, backoff: Backoff, patience: float | None = None) -> Steps[tuple[Any, bool]]:
    """As `answered`, and whether an earlier try may have been the one that was applied."""
    send = Send(request_of(operation, root), patience)
    response, doubtful = yield from exchanged(send, backoff, again=_repeatable(operation))
    if doubtful and isinstance(operation, Delete) and response.status in (404, 410):
        return None, True
    try:
        result: Any = result_of(operation, response)
    except ProtocolError as error:
        error.repeated = doubtful
        raise
    if doubtful and isinstance(result, Appended):
        result = replace(result, duplicate=False, repeated=True)
    return result, doubtful


def _repeatable(operation: Operation) -> bool:
    if not isinstance(operation, Append):
        return True
    return operation.producer is not None or (operation.close and not operation.body)


def exchanged(send: Send, backoff: Backoff, *, again: bool) -> Steps[tuple[HttpResponse, bool]]:
    """The response, and whether an earlier try may have been applied. Raises Unavailable where there is none.

    `again`: whether it may be sent again after a lost answer.
    """
    doubtful = False
    for pause in backoff.pauses():
        try:
            response: HttpResponse = yield send
        except NotSent:
            pass
        except NoAnswer as error:
            if not again or (error.timed_out and send.patience is not None):
                raise  # who waits only so long is not made to wait again
            doubtful = True
        else:
            if response.status not in RETRIED or (not again and response.status not in REFUSED_UNREAD):
                return response, doubtful
            doubtful = doubtful or response.status not in REFUSED_UNREAD
            pause = max(pause, min(retry_after(response), LONGEST_PAUSE))
        yield Sleep(pause)
    return (yield send), doubtful


def retry_after(response: HttpResponse) -> float:
    """Seconds that the server asks to wait (§ RFC 9110, 10.2.3: a number of them, or a date); 0 where it does not."""
    said = response.headers.get(RETRY_AFTER, "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())
