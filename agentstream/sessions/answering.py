"""What anyone may do about questions: see the open ones, and answer.

An answer is an ordinary append; the fold decides whether it counts. It is checked before,
so that a mistake is told at once, and after, because others may have been faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.errors import AnswerRefused, NotFound, NotSerializable
from agentstream.sessions import moments
from agentstream.sessions.events import Event
from agentstream.sessions.questions import Question, Reason, questions_of
from agentstream.sessions.state import State, fold
from agentstream.sessions.writing import append

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core


def open_questions(state: State) -> list[Question]:
    """Those that somebody can answer now."""
    now = moments.now()
    return [question for question in questions_of(state, state.open_since).by_key.values() if not question.is_over(now)]


def questions(core: Core, session: str) -> Steps[list[Question]]:
    """`session.questions`."""
    log = yield from core.require(session)
    return open_questions(fold(log))


def plain(value: Any, where: str = "an answer") -> Any:
    """A value as JSON has it, for a schema to judge. Raises NotSerializable if it has no such form."""
    from pydantic_core import to_jsonable_python

    try:
        return to_jsonable_python(value)
    except Exception as error:  # serializers of the user's classes run in there
        raise NotSerializable(f"{where} has no JSON form: {error}") from error


def answer(core: Core, session: str, named: Any, value: Any, by: str | None) -> Steps[Event]:
    """`session.answer`: an append that anyone may make, checked before, and after against others that came first.

    A question of another session, as a run has that waits for its child, is answered there. Raises
    AnswerRefused with the reason, NotFound where there is no such question.
    """
    if by is not None and not isinstance(by, str):
        raise TypeError(f"by= says who answers, as text, not {by!r}")
    key = named.key if isinstance(named, Question) else named
    given = plain(value)
    state = fold((yield from core.require(session)))
    if isinstance(named, Question) and named.session not in ("", session) and questions_of(state).named(key) is None:
        session, state = named.session, fold((yield from core.require(named.session)))
    question = _named(state, key)
    objection = question.objection(given, moments.now())
    if objection is not None:
        raise _refused(session, question, *objection)
    body = {"question": question.key, "value": given, **({"by": by} if by is not None else {})}
    event = yield from append(core, session, "answer", body)
    judged = _named(fold((yield from core.require(session))), question.key)
    mine = next((answer for answer in judged.answers if answer.event.index == event.index), None)
    if mine is None or mine.reason is not None:  # somebody was faster, or the question went away
        raise _refused(
            session, question, *((mine.reason, mine.detail or "") if mine and mine.reason else ("late", "it is gone"))
        )
    return event


def _named(state: State, key: object) -> Question:
    found = questions_of(state).named(key)
    if found is None:
        raise NotFound(f"session {state.session!r} has no question {key!r}; session.questions() lists the open ones")
    return found


def _refused(session: str, question: Question, reason: Reason, detail: str) -> AnswerRefused:
    return AnswerRefused(
        f"session {session!r}: the answer to {question.prompt!r} ({question.key}) is {reason}: {detail}. "
        "session.state().questions shows every answer and what became of it",
        reason=reason,
    )
