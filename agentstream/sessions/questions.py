"""Questions and their answers: a fold, so that every reader agrees which answer counts.

Anyone may append an answer, also without this library. The first that came while its
question was open, in time and in the form asked for, is the answer; of every other one the
fold says why it is not. Times are those of the events, no reader's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentstream.sessions import codec, moments, schemas
from agentstream.sessions.events import Event, StepKey

if TYPE_CHECKING:
    from agentstream.sessions.state import State

Reason = Literal["invalid", "late", "double", "expired"]
"""Why an answer does not count: another form than asked for; the question was there no more (its run had ended, or had
gone on without it); there was an answer before it; it came after the question's `expires`."""

TYPES = ("question", "answer", "outcome", "status")
"""Events that the fold looks at."""


class Answer(msgspec.Struct, frozen=True):
    """One answer that was given. `reason` says why it does not count, `detail` in words; None for the one that does."""

    event: Event
    value: Any
    by: str | None
    reason: Reason | None = None
    detail: str | None = None


@dataclass(slots=True, eq=False)
class Question:
    """What a run asks a person, and the answers so far, as the log has them.

    `kind` is "question", or "approval" of the step `step` with `arguments`. `schema` is the
    JSON schema an answer has to fit, `choices` the values to choose from. `status` is open,
    answered, expired (the run went on without an answer), or closed (the run ended, or its
    code did not wait any longer).
    """

    key: str
    prompt: str
    kind: str = "question"
    schema: Any = None
    choices: list[Any] | None = None
    expires: datetime | None = None
    asked: datetime | None = None
    step: str | None = None
    arguments: Any = None
    status: str = "open"
    answers: list[Answer] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict, repr=False)
    """Answers, by their index, that the run could not take although they fit the schema, and why."""
    session: str = field(default="", compare=False)
    """Where it is asked: a run that waits for its child has the child's."""

    @property
    def answer(self) -> Answer | None:
        """The answer that counts."""
        return next((answer for answer in self.answers if answer.reason is None), None)

    @property
    def run(self) -> str:
        """The key of the run that asks."""
        place = StepKey.parse(self.key)
        return place.run if place is not None else ""

    def is_over(self, now: datetime) -> bool:
        """Whether nobody can answer any more: it is not open, or its time is up."""
        return self.status != "open" or (self.expires is not None and now > self.expires)

    def objection(self, value: Any, at: datetime | None) -> tuple[Reason, str] | None:
        """Why an answer given at this moment would not count; None if it would."""
        if self.answer is not None:
            return "double", "the question has its answer already"
        if self.status == "expired" or (self.expires is not None and at is not None and at > self.expires):
            return (
                "expired",
                f"the question was open until {moments.text(self.expires) if self.expires else 'it expired'}",
            )
        if self.status != "open":
            return "late", "the run does not wait for it any more"
        wrong = self.misfit(value)
        return ("invalid", wrong) if wrong is not None else None

    def misfit(self, value: Any) -> str | None:
        """What is wrong with the form of an answer; None if it is one of the choices and fits the schema."""
        if self.choices is not None and not any(schemas.same(value, choice) for choice in self.choices):
            return f"{value!r} is none of {', '.join(map(repr, self.choices))}"
        return schemas.problem(self.schema, value) if self.schema is not None else None


class Questions:
    """The questions of a session by their keys, told event by event."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.by_key: dict[str, Question] = {}
        self._last_of: dict[tuple[str, str, int], Question] = {}
        self._time: datetime | None = None
        for event in events:
            self.see(event)

    def of_step(self, identity: tuple[str, str, int]) -> Question | None:
        """What a step asked last, whichever attempt of it."""
        return self._last_of.get(identity)

    def named(self, name: object) -> Question | None:
        """By its key, or by its step's identity (the key without `#attempt`)."""
        if not isinstance(name, str):
            return None
        place = StepKey.parse(name)
        return self.by_key.get(name) or (
            self._last_of.get(place.identity) if place is not None and not place.attempt else None
        )

    def see(self, event: Event) -> None:
        """Takes the next event of the log."""
        self._time = moments.read(event.timestamp) or self._time
        if event.mark is not None or event.type not in TYPES or not isinstance(event.value, dict):
            return
        if event.type == "question":
            self._asked(event)
        elif event.type == "answer":
            self._answered(event)
        elif event.type == "outcome":
            self._came_out(event)
        elif event.value.get("status") in ("finished", "cancelled"):
            self._ended(event.key)

    def _asked(self, event: Event) -> None:
        place, value = StepKey.parse(event.key), event.value
        if place is None:
            return
        choices = codec.decode(value.get("choices"))
        self.by_key[event.key] = self._last_of[place.identity] = Question(
            event.key,
            str(codec.decode(value.get("prompt", ""))),
            "approval" if value.get("kind") == "approval" else "question",
            value.get("schema"),  # a schema is plain JSON: every language reads it
            choices if isinstance(choices, list) else None,
            moments.read(value.get("expires")),
            self._time,
            value["step"] if isinstance(value.get("step"), str) else None,
            codec.decode(value.get("arguments")),
            session=event.session,
        )

    def _answered(self, event: Event) -> None:
        question, value = self.named(event.value.get("question")), event.value
        if question is None:
            return
        refused = value.get("refuses")
        if event.claim is not None and type(refused) is int:
            question.refused[refused] = str(value.get("reason", ""))
            self._judge_again(question)
            return
        by = value.get("by")
        given = Answer(event, codec.decode(value.get("value")), by if isinstance(by, str) else None)
        question.answers.append(self._judged(question, given))

    def _judged(self, question: Question, given: Answer) -> Answer:
        objection = question.objection(given.value, moments.read(given.event.timestamp) or self._time)
        if given.event.index in question.refused:
            objection = ("invalid", question.refused[given.event.index])
        reason, detail = objection if objection is not None else (None, None)
        if reason is None:
            question.status = "answered"
        return Answer(given.event, given.value, given.by, reason, detail)

    def _judge_again(self, question: Question) -> None:
        """The run refused an answer: the next one that was only too many takes its place."""
        given, question.answers, question.status = question.answers, [], "open"
        for answer in given:
            kept = answer.reason in ("late", "expired")
            question.answers.append(answer if kept else self._judged(question, answer))

    def _came_out(self, event: Event) -> None:
        place = StepKey.parse(event.key)
        question = self._last_of.get(place.identity) if place is not None else None
        if question is not None and question.status == "open":
            error = event.value.get("error")
            expired = isinstance(error, dict) and error.get("name") == "QuestionExpired"
            question.status = "expired" if expired else "closed"

    def _ended(self, run: str) -> None:
        for question in self.by_key.values():
            if question.status == "open" and (question.run == run or question.run.startswith(run + "/")):
                question.status = "closed"


def questions_of(state: State, start: int = 0) -> Questions:
    """The questions of a session at a cut; those asked from the index `start` on, if only they matter."""
    return Questions(state.of_type(*TYPES, start=start))
