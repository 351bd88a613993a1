"""What was said in a session of any SDK, as the lines of a Claude Code transcript.

A line for each message, each the child of the one before it; an assistant's message has the id that the API would have
given it. What the CLI adds for the model alone (its environment, the date) it writes itself when the session goes on.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentstream import Messages

MODEL = "claude"
"""What stands for a model that is not known: the CLI wants a name there, and asks the model of its own options."""


def lines_of(messages: Messages, session_id: str, directory: str, model: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a transcript that says what the messages say. Raises BlobLost where an attachment is gone.

    `model` is the one that signed the thoughts: the CLI gives them to no other.
    """
    model = model or _signer(messages) or MODEL
    parent: str | None = None
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for said in messages.as_anthropic()["messages"]:
        uuid = str(uuid4())
        yield {
            "parentUuid": parent,
            "isSidechain": False,
            "type": said["role"],
            "message": _answer(said, model) if said["role"] == "assistant" else said,
            "uuid": uuid,
            "timestamp": now,
            "userType": "external",
            "cwd": directory,
            "sessionId": session_id,
        }
        parent = uuid


def _answer(said: dict[str, Any], model: str) -> dict[str, Any]:
    calls = any(block["type"] == "tool_use" for block in said["content"])
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "model": model,
        **said,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
    }


def _signer(messages: Messages) -> str | None:
    """The last of Anthropic's models that the messages name."""
    named = (said.get("model") for said in reversed(messages.whole))
    return next((name for name in named if isinstance(name, str) and name.startswith("claude")), None)
