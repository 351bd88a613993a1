"""What a subscription request is refused with: the protocol's codes (§6, §7), in a JSON problem."""

from __future__ import annotations

from typing import Any

import msgspec

from agentstream.protocol.http import CONTENT_TYPE, HttpResponse
from agentstream.protocol.problems import PROBLEM

STATUS = {
    "INVALID_REQUEST": 400,
    "WEBHOOK_URL_REJECTED": 400,
    "TOKEN_INVALID": 401,
    "TOKEN_EXPIRED": 401,
    "SUBSCRIPTION_NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "SUBSCRIPTION_ALREADY_EXISTS": 409,
    "FENCED": 409,
    "ALREADY_CLAIMED": 409,
    "NO_PENDING_WORK": 409,
    "INVALID_OFFSET": 409,
    "NOT_SUPPORTED": 501,
}


class Refusal(Exception):
    """A request that cannot be met; `more` is what its code says besides."""

    def __init__(self, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.more = more

    def response(self) -> HttpResponse:
        status, message = STATUS[self.code], str(self)
        error = {"code": self.code, "message": message, **self.more}
        body = {"type": "about:blank", "status": status, "code": self.code.lower(), "detail": message, "error": error}
        headers = {CONTENT_TYPE: PROBLEM}
        if status == 401:
            headers["www-authenticate"] = 'Bearer realm="agentstream"'
        return HttpResponse(status, headers, msgspec.json.encode(body))


def not_found(id: str) -> Refusal:
    return Refusal("SUBSCRIPTION_NOT_FOUND", f"there is no subscription {id!r}")
