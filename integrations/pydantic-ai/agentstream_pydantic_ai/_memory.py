"""A conversation as a fold of its session: what each run of an agent added to it."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelMessage, ModelRequest

from agentstream.adapters import aopen_step, recording
from agentstream_pydantic_ai._messages import messages_of, told

if TYPE_CHECKING:
    from agentstream import State

KIND = "memory"

inside_run: ContextVar[bool] = ContextVar("agentstream_pydantic_ai_run", default=False)
"""Whether an agent's run is about already: what one agent says to another is no part of the conversation."""


def history(state: State, agent: str | None = None) -> list[ModelMessage]:
    """What was said in a session until now, for `message_history=`: all runs of agents that came to their end.

        history(session.state())

    `agent`: only what was said with the agent of this name. Of a fork it is what the shared part holds.
    """
    found: list[ModelMessage] = []
    for step in state.steps:
        if step.kind == KIND and (agent is None or step.name == agent) and isinstance(step.result, dict):
            found += _read(step.result)
    return found


async def remember(agent: str, messages: list[ModelMessage]) -> None:
    """Adds what a run said. The messages are stored already, as what the model was asked and answered."""
    if recording():
        call = await aopen_step(KIND, agent, None, effect="pure")
        if call.served is None:
            times = [message.timestamp.isoformat() if message.timestamp else None for message in messages]
            await call.afinish({"messages": told(messages), "times": times})


def _read(recorded: dict[str, Any]) -> list[ModelMessage]:
    messages = messages_of(recorded["messages"])
    for message, time in zip(messages, recorded["times"], strict=True):
        if isinstance(message, ModelRequest) and time is not None:
            message.timestamp = datetime.fromisoformat(time)
            for part in message.parts:
                if hasattr(part, "timestamp"):
                    part.timestamp = message.timestamp  # type: ignore[union-attr]
    return messages
