"""What an event says (`sessions/views/values.py`), and values as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentstream.cli.failures import UsageError
from agentstream.sessions.views.values import compact as compact
from agentstream.sessions.views.values import content_text as content_text
from agentstream.sessions.views.values import message_text as message_text
from agentstream.sessions.views.values import plain as plain
from agentstream.sessions.views.values import resolved_value as resolved_value
from agentstream.sessions.views.values import size_text as size_text
from agentstream.sessions.views.values import stored_value as stored_value
from agentstream.sessions.views.values import to_json as to_json
from agentstream.sessions.views.values import value_text as value_text
from agentstream.sessions.views.values import with_content_named as with_content_named


def typed_text(text: str, where: str) -> str:
    """A text as it is typed, or the file that `@FILE` names. A UsageError that says `where` if it cannot be read."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: the file cannot be read: {error}") from error


def typed_json(text: str, where: str) -> Any:
    """JSON as it is typed, or in the file that `@FILE` names. A UsageError that says `where` if it is none."""
    content = typed_text(text, where)
    if text.startswith("@"):
        where = f"{where}: {text[1:]}"
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}", hint="a text needs its quotes: '\"like this\"'") from error
