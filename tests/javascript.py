"""What becomes of JSON in a server that keeps it as JavaScript does."""

from __future__ import annotations

import json
from typing import Any


def as_javascript(message: bytes) -> bytes:
    """The message parsed and written again, every number a double. `ValueError` for what is no JSON."""
    return _dumps(_rewritten(json.loads(message, parse_constant=_refuse)))


def stamped(message: bytes, offset: str) -> bytes:
    """A change message with `headers.offset` added; any other message as it is."""
    if not message.startswith(b"{") or b'"headers"' not in message:
        return message
    value = json.loads(message)
    if not isinstance(value.get("headers"), dict):
        return message
    value["headers"]["offset"] = offset
    return _dumps(value)


def _rewritten(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rewritten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 1e21 else number
    return value


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
