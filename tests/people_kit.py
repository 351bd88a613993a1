"""What the tests of people and time share: stores of each kind, and answers as another language would write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agentstream import AsyncSession, Client, RunWaiting
from agentstream.backends.base import Backend
from agentstream.protocol.operations import Append
from agentstream.sessions.events import timestamp
from agentstream.sessions.ids import path_of


def waiting(call: Callable[[], Any]) -> RunWaiting:
    """What a call raises that has to wait."""
    with pytest.raises(RunWaiting) as caught:
        call()
    return caught.value


def append_plain(backend: Backend, session: str, type: str, value: Any, *, key: str, at: str | None = None) -> None:
    """An event as any client of the State Protocol writes it: one JSON message, no producer, no claim."""
    event = {
        "type": type,
        "key": key,
        "value": value,
        "headers": {"operation": "insert", "timestamp": at or timestamp()},
    }
    backend.execute(Append(path_of(session), (json.dumps(event).encode(),)))


def answer_plain(
    backend: Backend, session: str, question: str, value: Any, *, key: str = "a1", at: str | None = None
) -> None:
    append_plain(backend, session, "answer", {"question": question, "value": value, "by": "elsewhere"}, key=key, at=at)


def reasons(client: Client, session: str, question: str) -> list[str | None]:
    """What became of each answer to a question, None for the one that counts."""
    return [answer.reason for answer in client.session(session).state().questions[question].answers]


def kinds(client: Client, session: str) -> list[str]:
    return [event.type for event in client.session(session).events()]


async def asked(session: AsyncSession) -> str:
    """The key of the first question that is asked in a session, as soon as it is. The session is there already."""
    async for event in session.follow():
        if event.type == "question":
            return event.key
    raise AssertionError("the session ended without a question")
