"""What goes wrong, as the page is told it: a status, a stable code, what happened, and what to do."""

from __future__ import annotations

import logging
from typing import Any

from agentstream import errors
from agentstream.inspector.access import Denied
from agentstream.inspector.requests import Failed
from agentstream.protocol.errors import ProtocolError, StreamClosed, StreamConflict, StreamGone, StreamNotFound
from agentstream.server.access import Refused
from agentstream.sessions.edits import Misfit

_log = logging.getLogger("agentstream.inspector")

_TABLE: tuple[tuple[type[BaseException], int, str], ...] = (
    (errors.NotFound, 404, "not_found"),
    (StreamNotFound, 404, "not_found"),
    (StreamGone, 410, "gone"),
    (errors.Erased, 410, "erased"),
    (errors.SessionExists, 409, "session_exists"),
    (errors.SessionBusy, 409, "session_busy"),
    (StreamConflict, 409, "conflict"),
    (StreamClosed, 409, "sealed"),
    (errors.Locked, 423, "locked"),
    (errors.NotSerializable, 400, "invalid"),
    (errors.Unavailable, 503, "unavailable"),
    (errors.StoreError, 502, "store"),
    (errors.AgentStreamError, 409, "failed"),
    (ProtocolError, 502, "store"),
)


def failure(error: Exception) -> tuple[int, dict[str, Any]]:
    """The status and body that say what an error is."""
    if isinstance(error, (Failed, Denied)):
        return error.status, _body(error.code, str(error), getattr(error, "hint", None))
    if isinstance(error, Refused):  # of a body that is too large or too slow
        return error.response.status, _body("refused", f"the request was refused ({error.response.status})", None)
    if isinstance(error, errors.AnswerRefused):
        return (422 if error.reason == "invalid" else 409), _body(f"answer_{error.reason}", str(error), None)
    if isinstance(error, Misfit):
        return 422, _body("misfit", str(error), error.hint)
    for kind, status, code in _TABLE:
        if isinstance(error, kind):
            return status, _body(code, str(error), getattr(error, "hint", None))
    if isinstance(error, (ValueError, TypeError)):
        return 400, _body("invalid", str(error), None)
    _log.error("the inspector failed", exc_info=error)
    return 500, _body("internal", f"this is a mistake in agentstream: {type(error).__name__}: {error}", None)


def _body(code: str, message: str, hint: str | None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}
