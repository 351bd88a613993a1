"""What a waiting run waits for, as its `status` event says, and whether that has come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from agentstream.errors import RunWaiting
from agentstream.sessions import moments
from agentstream.sessions.events import Event
from agentstream.sessions.questions import Questions, questions_of
from agentstream.sessions.state import Run, State


class Waits(msgspec.Struct, frozen=True):
    """The questions (by key), the moment, the inbox (messages from this index on) and the children (by session) that
    end the waiting.

    Any one of them is enough.
    """

    questions: tuple[str, ...] = ()
    until: datetime | None = None
    inbox: int | None = None
    children: tuple[str, ...] = ()

    def stored(self) -> dict[str, Any]:
        """The fields that stand in the `status` event beside `waiting`."""
        return {
            **({"questions": list(self.questions)} if self.questions else {}),
            **({"until": moments.text(self.until)} if self.until is not None else {}),
            **({"inbox": self.inbox} if self.inbox is not None else {}),
            **({"children": list(self.children)} if self.children else {}),
        }


def waits_of(state: State, run: Run) -> Waits:
    """What a run's last status says that it waits for."""
    event = state.find("status", run.key)
    value = event.value if event is not None else {}
    keys, inbox, children = value.get("questions"), value.get("inbox"), value.get("children")
    return Waits(
        tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else (),
        moments.read(value.get("until")),
        inbox if type(inbox) is int else None,
        tuple(child for child in children if isinstance(child, str)) if isinstance(children, list) else (),
    )


def has_come(state: State, waits: Waits, questions: Questions, now: datetime) -> bool:
    """Whether the run can go on: one of the things has come, or the log does not hold them all any more."""
    for key in waits.questions:
        question = questions.named(key)
        if question is None or question.is_over(now):
            return True
    if waits.until is not None and waits.until <= now:
        return True
    if waits.inbox is not None and any(user_messages(state.of_type("message", start=waits.inbox), waits.inbox)):
        return True
    return waits == Waits() or bool(waits.children)  # whether a child can go on, its own log says


def user_messages(events: Iterable[Event], start: int) -> Iterable[Event]:
    """The messages from an index on that somebody else than a worker appended."""
    return (
        event
        for event in events
        if event.index >= start and event.type == "message" and event.claim is None and event.mark is None
    )


def refuse_while_waiting(state: State, run: Run) -> None:
    """Raises RunWaiting where nothing has come yet that the run waits for: a claim would be in vain."""
    waits, questions = waits_of(state, run), questions_of(state, state.first_of(run.key))
    if not has_come(state, waits, questions, moments.now()):
        raise waiting(state.session, run.id, waits, questions)


def waiting(session: str, run: str, waits: Waits, questions: Questions) -> RunWaiting:
    """What `session.run` raises for a run that waits."""
    asked = [question for key in waits.questions if (question := questions.named(key)) is not None]
    parts = [f"for an answer to {question.prompt!r} ({question.key})" for question in asked]
    parts += ["for a message"] if waits.inbox is not None else []
    parts += [f"for its child {child!r}" for child in waits.children]
    parts += [f"until {moments.text(waits.until)}"] if waits.until is not None else []
    ways = "session.answer(question, value) answers it; " if asked else ""
    return RunWaiting(
        f"session {session!r}: run {run!r} waits {', '.join(parts)}. {ways}the same call goes on then",
        questions=asked,
        until=waits.until,
    )
