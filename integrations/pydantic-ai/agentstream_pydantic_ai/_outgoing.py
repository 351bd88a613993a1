"""What stands in recorded streams, for a session that leaves its store under rules (`session.export(redact=…)`)."""

from __future__ import annotations

import zlib
from typing import Any

from agentstream.adapters import Looked, Opener


def without(value: Any, looked: Looked) -> Any:
    """A streamed answer after the rules: as under a client with rules without its pieces, where anything is taken out.

    The value itself where nothing is; None for what is no such answer.
    """
    if not isinstance(value, dict) or "response" not in value or not isinstance(value.get("events"), bytes):
        return None
    rest = {name: part for name, part in value.items() if name != "events"}
    try:
        pieces = zlib.decompress(value["events"]).decode()
    except (zlib.error, UnicodeDecodeError):
        return looked.redacted(rest)
    made = looked.redacted(rest)
    return value if made == rest and looked.redacted(pieces) == pieces else made


OPENER = Opener(result=without)
