"""Refusals on the wire: each `ProtocolError` as a JSON problem (RFC 9457) with a stable code, and back.

Other servers answer in words of their own, so reading goes by status and headers first, as
the protocol says; the code only decides between refusals that these do not tell apart.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentstream.errors import AgentStreamError, StoreError, Unauthorized, Unavailable
from agentstream.protocol import errors
from agentstream.protocol.http import (
    CLOSED,
    CONTENT_TYPE,
    EXPECTED_SEQ,
    NEXT_OFFSET,
    PRODUCER_EPOCH,
    RECEIVED_SEQ,
    TRUE,
    Headers,
    HttpResponse,
    is_true,
    media_type,
    number_in,
)

PROBLEM = "application/problem+json"

CODES: dict[type[errors.ProtocolError], str] = {
    errors.InvalidRequest: "invalid_request",
    errors.StaleEpoch: "stale_epoch",
    errors.StreamNotFound: "stream_not_found",
    errors.StreamConflict: "stream_conflict",
    errors.StreamClosed: "stream_closed",
    errors.SequenceGap: "sequence_gap",
    errors.SequenceConflict: "sequence_conflict",
    errors.StreamGone: "stream_gone",
}
"""The `code` of each refusal; they never change."""

_BY_CODE = {code: kind for kind, code in CODES.items()}


def problem(status: int, code: str, detail: str, headers: Headers | None = None) -> HttpResponse:
    """A refusal as a response: `code` is for programs, `detail` for people."""
    body = msgspec.json.encode({"type": "about:blank", "status": status, "code": code, "detail": detail})
    return HttpResponse(status, {CONTENT_TYPE: PROBLEM, **(headers or {})}, body)


def problem_of(error: AgentStreamError) -> HttpResponse:
    """The response that says what a backend refused, or could not do."""
    if isinstance(error, errors.ProtocolError):
        return problem(error.status, CODES.get(type(error), "invalid_request"), str(error), _told(error))
    if isinstance(error, Unavailable):
        return problem(503, "unavailable", "the store cannot be reached just now; try again")
    return problem(500, "store_error", "the store failed")


def _told(error: errors.ProtocolError) -> Headers:
    if isinstance(error, errors.StaleEpoch):
        return {PRODUCER_EPOCH: str(error.epoch), **({CLOSED: TRUE} if error.closed else {})}
    if isinstance(error, errors.SequenceGap):
        return {EXPECTED_SEQ: str(error.expected), RECEIVED_SEQ: str(error.received)}
    if isinstance(error, errors.StreamClosed):
        return {CLOSED: TRUE, NEXT_OFFSET: error.offset}
    return {}


def error_of(response: HttpResponse, where: str, *, sequenced: bool = False) -> AgentStreamError:
    """The error that a refusing response means; `where` names the stream in its message.

    `sequenced`: the request carried `Stream-Seq`, so a bare 409 speaks of that.
    """
    status, headers = response.status, response.headers
    code, said = _said(response)
    message = f"{where}: {said or 'no reason given'} (HTTP {status})"
    if status == 403 and (epoch := number_in(headers.get(PRODUCER_EPOCH))) is not None:
        return errors.StaleEpoch(message, epoch=epoch, closed=is_true(headers.get(CLOSED)))
    if status == 409 and is_true(headers.get(CLOSED)):
        return errors.StreamClosed(message, offset=headers.get(NEXT_OFFSET, ""))
    if status == 409 and (expected := number_in(headers.get(EXPECTED_SEQ))) is not None:
        return errors.SequenceGap(message, expected=expected, received=number_in(headers.get(RECEIVED_SEQ)) or 0)
    if status == 409:
        conflict = code == "sequence_conflict" if code in _BY_CODE else sequenced
        return (errors.SequenceConflict if conflict else errors.StreamConflict)(message)
    if status in _PLAIN:
        return _PLAIN[status](message)
    if status in (401, 403):
        return Unauthorized(f"{message}: the server did not accept who asks; look at the headers= of the client")
    if status in RETRIED:
        return Unavailable(message)
    return StoreError(message)


_PLAIN: dict[int, type[errors.ProtocolError]] = {
    400: errors.InvalidRequest,
    404: errors.StreamNotFound,
    410: errors.StreamGone,
}

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing about the request itself: another try may be answered."""


def _said(response: HttpResponse) -> tuple[str | None, str]:
    """The stable code, where there is one, and the words."""
    text = response.body[:2000].decode("utf-8", "replace").strip()
    if media_type(response.headers.get(CONTENT_TYPE)) in (PROBLEM, "application/json"):
        try:
            found: Any = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None, text
        if isinstance(found, dict):
            code, detail = found.get("code"), found.get("detail") or found.get("error") or found.get("message")
            return (code if isinstance(code, str) else None), (detail if isinstance(detail, str) else text)
    return None, text
