"""What a Durable Streams server can refuse, told apart as the protocol tells it apart (status and headers)."""

from __future__ import annotations

from agentstream.errors import AgentStreamError, StoreError


class ProtocolError(AgentStreamError):
    """A refusal by the stream's keeper; `status` is the HTTP status that means it."""

    status = 400
    repeated = False
    """Whether the request was sent more than once, so that an earlier try may have been applied all the same."""


class InvalidRequest(ProtocolError):
    """400: a malformed offset, header or body, or a fork beyond the tail."""


class StaleEpoch(ProtocolError):
    """403: the producer's epoch was superseded; `epoch` is the current one. `closed`: the stream is, as far as told."""

    status = 403

    def __init__(self, message: str, *, epoch: int, closed: bool = False) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.closed = closed


class StreamNotFound(ProtocolError):
    """404: no such stream, or it expired."""

    status = 404


class StreamConflict(ProtocolError):
    """409: the stream is there with another configuration, or its path is soft-deleted."""

    status = 409


class StreamClosed(ProtocolError):
    """409 with `Stream-Closed`: nothing can be appended any more; `offset` is the final one."""

    status = 409

    def __init__(self, message: str, *, offset: str) -> None:
        super().__init__(message)
        self.offset = offset


class SequenceGap(ProtocolError):
    """409 with `Producer-Expected-Seq`: the producer skipped a request."""

    status = 409

    def __init__(self, message: str, *, expected: int, received: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.received = received


class SequenceConflict(ProtocolError):
    """409: `Stream-Seq` did not increase."""

    status = 409


class StreamGone(ProtocolError):
    """410: deleted while forks of it live (its path cannot be used again until they are gone)."""

    status = 410


class BadReply(StoreError):
    """The server's answer is none that the protocol knows: a body cut short or changed, or another kind of server."""
