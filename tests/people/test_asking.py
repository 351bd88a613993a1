"""Questions of plain agents: asked once, answered by anyone, served ever after."""

from __future__ import annotations

import contextlib
import enum
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from acting import act, made
from people_kit import answer_plain, kinds, reasons, waiting
from pydantic import BaseModel, field_validator

from agentstream import (
    AgentStreamError,
    AnswerRefused,
    Client,
    NotFound,
    QuestionExpired,
    RunCancelled,
    agent,
    ask,
    in_run,
    step,
)
from agentstream.backends.base import Backend
from agentstream.sessions import moments


@agent
def plans(topic: str) -> list[Any]:
    before = act("before")
    days = ask(f"How many days for {topic}?", schema=int)
    return [before, days, act(f"after {days}")]


def test_a_run_waits_and_goes_on_with_the_answer(client: Client) -> None:
    session = client.session("s")
    stopped = waiting(lambda: session.run(plans, "Rome"))
    (question,) = stopped.questions
    assert (question.prompt, question.kind, question.status) == ("How many days for Rome?", "question", "open")
    assert stopped.until is None
    assert session.status() == "waiting"
    assert [each.key for each in session.questions()] == [question.key]

    session.answer(question, 3, by="ann")
    assert session.questions() == []
    assert session.run(plans, "Rome") == ["BEFORE", 3, "AFTER 3"]
    assert made == ["before", "after 3"], "nothing was made twice"
    answered = session.state().questions[question.key]
    assert (answered.status, answered.answer.value, answered.answer.by) == ("answered", 3, "ann")  # type: ignore[union-attr]


def test_called_again_without_an_answer_it_waits_again_and_writes_nothing(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(plans, "Rome"))
    before = [event.raw for event in session.events()]
    assert waiting(lambda: session.run(plans, "Rome")).questions[0].prompt == "How many days for Rome?"
    assert waiting(lambda: session.resume(plans)).questions
    assert [event.raw for event in session.events()] == before


def test_a_waiting_run_holds_no_lease(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(plans, "Rome"))
    assert session.cancel(), "which takes the session with a claim, and would find it busy"


def test_the_recorded_answer_is_served_offline(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(plans, "Rome"))
    report = session.replay(plans)
    assert report.identical
    assert "the record ends before human 'ask'" in " ".join(report.notes)
    session.answer(session.questions()[0], 3)
    session.run(plans, "Rome")
    made.clear()
    report = session.replay(plans)
    assert (report.identical, report.result, made) == (True, ["BEFORE", 3, "AFTER 3"], [])


def test_another_question_at_the_same_place_diverges_before_anything_is_made(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(plans, "Rome"))
    session.answer(session.questions()[0], 3)
    session.run(plans, "Rome")

    @agent(name="plans")
    def changed(topic: str) -> list[Any]:
        return [act("before"), ask(f"How many weeks for {topic}?", schema=int), act("after 3")]

    report = session.replay(changed)
    assert report.divergence is not None
    assert "weeks" in str(report.divergence)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Trip(BaseModel):
    days: int
    start: datetime

    @field_validator("days")
    @classmethod
    def is_even(cls, days: int) -> int:
        if days % 2:
            raise ValueError("an even number of days, please")
        return days


@dataclass
class Seat:
    row: int
    letter: str


TYPED = [
    (
        {"schema": Trip},
        {"days": 2, "start": "2030-01-02T03:04:05Z"},
        lambda value: type(value) is Trip and value.days == 2,
    ),
    (
        {"schema": Trip},
        Trip(days=4, start=datetime(2030, 1, 1, tzinfo=timezone.utc)),
        lambda value: value.start.year == 2030,
    ),
    ({"schema": Seat}, {"row": 1, "letter": "A"}, lambda value: value == Seat(1, "A")),
    ({"schema": list[Seat]}, [Seat(2, "B")], lambda value: value == [Seat(2, "B")]),
    ({"schema": tuple[int, str]}, [1, "a"], lambda value: value == (1, "a")),
    ({"schema": int | None}, None, lambda value: value is None),
    ({"schema": {"type": "string", "minLength": 2}}, "ab", lambda value: value == "ab"),
    ({"choices": list(Color)}, "blue", lambda value: value is Color.BLUE),
    ({"choices": [1, 2.5, "x", None]}, None, lambda value: value is None),
    ({"choices": [Seat(1, "A"), Seat(2, "B")]}, {"row": 2, "letter": "B"}, lambda value: value == Seat(2, "B")),
    ({}, {"$int": "free", "n": 2**60, "x": 5.0}, lambda value: value == {"$int": "free", "n": 2**60, "x": 5}),
]


@pytest.mark.parametrize(("form", "given", "fits"), TYPED)
def test_answers_are_typed_at_first_and_when_served(
    client: Client, form: dict[str, Any], given: Any, fits: Any
) -> None:
    seen: list[Any] = []

    @agent
    def asks() -> None:
        seen.append(ask("What?", **form))

    session = client.session("s")
    waiting(lambda: session.run(asks))
    session.answer(session.questions()[0], given)
    session.run(asks)
    assert session.replay(asks).identical
    assert [fits(value) for value in seen] == [True, True], seen


def test_an_answer_that_the_schema_refuses_is_invalid_and_the_question_stays(client: Client, backend: Backend) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(plans, "Rome")).questions
    with pytest.raises(AnswerRefused, match="not of type integer") as caught:
        session.answer(question, "three")
    assert caught.value.reason == "invalid"
    assert "answer" not in kinds(client, "s"), "refused before anything was written"

    answer_plain(backend, "s", question.key, "three")
    assert reasons(client, "s", question.key) == ["invalid"]
    waiting(lambda: session.run(plans, "Rome"))
    answer_plain(backend, "s", question.key, 4, key="a2")
    assert session.run(plans, "Rome") == ["BEFORE", 4, "AFTER 4"]
    assert reasons(client, "s", question.key) == ["invalid", None]


def test_what_only_the_type_can_refuse_is_invalid_by_the_runs_own_word(client: Client, backend: Backend) -> None:
    """A validator says more than a JSON schema: the run marks the answer, the next one in line takes its place."""

    @agent
    def asks() -> int:
        return ask("When?", schema=Trip).days

    session = client.session("s")
    (question,) = waiting(lambda: session.run(asks)).questions
    session.answer(question, {"days": 3, "start": "2030-01-01T00:00:00Z"})
    waiting(lambda: session.run(asks))
    assert reasons(client, "s", question.key) == ["invalid"]
    assert "even number" in str(session.state().questions[question.key].answers[0].detail)
    assert [each.key for each in session.questions()] == [question.key], "it is open again, and not asked twice"

    answer_plain(backend, "s", question.key, {"days": 5, "start": "2030-01-01T00:00:00Z"}, key="a2")
    answer_plain(backend, "s", question.key, {"days": 6, "start": "2030-01-01T00:00:00Z"}, key="a3")
    assert session.run(asks) == 6
    assert reasons(client, "s", question.key) == ["invalid", "invalid", None]


def test_refused_answers_never_exhaust_a_run(client: Client) -> None:
    @agent
    def asks() -> int:
        return ask("When?", schema=Trip).days

    session = client.session("s").with_options(max_attempts=2)
    (question,) = waiting(lambda: session.run(asks)).questions
    for _ in range(4):
        session.answer(question, {"days": 3, "start": "2030-01-01T00:00:00Z"})
        waiting(lambda: session.run(asks))
    session.answer(question, {"days": 2, "start": "2030-01-01T00:00:00Z"})
    assert session.run(asks) == 2


def test_a_second_answer_is_double(client: Client, backend: Backend) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(plans, "Rome")).questions
    session.answer(question.key, 1)
    with pytest.raises(AnswerRefused) as caught:
        session.answer(question, 2)
    assert caught.value.reason == "double"
    answer_plain(backend, "s", question.key, 2)
    assert session.run(plans, "Rome")[1] == 1
    answer_plain(backend, "s", question.key, 3, key="a2")
    assert reasons(client, "s", question.key) == [None, "double", "double"]


def test_an_answer_to_a_run_that_ended_is_late(client: Client, backend: Backend) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(plans, "Rome")).questions
    assert session.cancel()
    assert session.questions() == []
    with pytest.raises(AnswerRefused) as caught:
        session.answer(question, 2)
    assert caught.value.reason == "late"
    answer_plain(backend, "s", question.key, 2)
    assert reasons(client, "s", question.key) == ["late"]
    with pytest.raises(RunCancelled):
        session.with_options(run_id=question.run).run(plans, "Rome")


def test_nobody_can_answer_what_was_not_asked(client: Client, backend: Backend) -> None:
    session = client.session("s")
    waiting(lambda: session.run(plans, "Rome"))
    with pytest.raises(NotFound, match=r"session\.questions\(\)"):
        session.answer("nothing/0/0#1", 1)
    with pytest.raises(NotFound):
        session.answer(None, 1)  # type: ignore[arg-type]
    answer_plain(backend, "s", "nothing/0/0#1", 1)
    answer_plain(backend, "s", {"not": "a key"}, 1, key="a2")  # type: ignore[arg-type]
    waiting(lambda: session.run(plans, "Rome"))


def test_a_question_that_expired_raises_when_the_run_goes_on(
    client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    @agent
    def asks() -> str:
        try:
            return ask("Quick!", expires=timedelta(hours=1))
        except QuestionExpired as error:
            return act(f"nobody answered {error.question[-6:]}")

    session = client.session("s")
    stopped = waiting(lambda: session.run(asks))
    (question,) = stopped.questions
    assert stopped.until == question.expires is not None
    waiting(lambda: session.run(asks))

    later = moments.now() + timedelta(hours=2)
    monkeypatch.setattr(moments, "now", lambda: later)
    assert session.questions() == []
    with pytest.raises(AnswerRefused) as caught:
        session.answer(question, "yes")
    assert caught.value.reason == "expired"
    answer_plain(backend, "s", question.key, "yes", at=moments.text(later))
    assert session.run(asks) == "NOBODY ANSWERED /0/0#1"
    assert session.state().questions[question.key].status == "expired"
    answer_plain(backend, "s", question.key, "yes", key="a2", at=moments.text(later))
    assert reasons(client, "s", question.key) == ["expired", "expired"]
    report = session.replay(asks)
    assert report.identical, report


def test_an_answer_in_time_counts_however_late_the_run_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    @agent
    def asks() -> str:
        return ask("Quick!", expires=3600)

    session = client.session("s")
    (question,) = waiting(lambda: session.run(asks)).questions
    session.answer(question, "yes")
    later = moments.now() + timedelta(hours=2)
    monkeypatch.setattr(moments, "now", lambda: later)
    assert session.run(asks) == "yes"


def test_a_near_expiry_is_waited_for_in_place(client: Client) -> None:
    @agent
    def asks() -> str:
        return ask("Quick!", expires=0.05)

    with pytest.raises(QuestionExpired):
        client.session("s").run(asks)
    assert client.session("s").status() == "failed"


def test_questions_of_threads_stand_open_at_once(client: Client) -> None:
    from concurrent.futures import ThreadPoolExecutor

    @agent
    def asks() -> list[str]:
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(in_run(ask), f"Q{n}?") for n in range(3)]
        return [future.result() for future in futures]

    session = client.session("s")
    stopped = waiting(lambda: session.run(asks))
    assert sorted(question.prompt for question in stopped.questions) == ["Q0?", "Q1?", "Q2?"]
    for question in session.questions():
        session.answer(question, question.prompt.lower())
    assert session.run(asks) == ["q0?", "q1?", "q2?"]


def test_a_question_in_a_child_run(client: Client) -> None:
    @agent
    def child(name: str) -> str:
        return ask(f"{name}?")

    @agent
    def parent() -> list[str]:
        return [child("a"), child("b")]

    session = client.session("s")
    for _ in range(2):
        waiting(lambda: session.run(parent))
        (question,) = session.questions()
        session.answer(question, question.prompt)
    assert session.run(parent) == ["a?", "b?"]
    assert session.replay(parent).identical


def test_a_swallowed_wait_still_ends_the_run(client: Client) -> None:
    @agent
    def swallows() -> str:
        with contextlib.suppress(BaseException):
            ask("Really?")
        return "went on"

    session = client.session("s")
    waiting(lambda: session.run(swallows))
    session.answer(session.questions()[0], "yes")
    assert session.run(swallows) == "went on"


def test_a_rewind_before_a_question_asks_anew_and_old_answers_do_not_count(client: Client, backend: Backend) -> None:
    session = client.session("s")
    (old,) = waiting(lambda: session.run(plans, "Rome")).questions
    place = next(event.index for event in session.events() if event.type == "question")
    session.answer(old, 1)
    session.rewind(place)
    assert session.questions() == []
    (new,) = waiting(lambda: session.run(plans, "Rome")).questions
    assert new.key != old.key
    answer_plain(backend, "s", old.key, 1, key="late")
    waiting(lambda: session.run(plans, "Rome"))
    session.answer(new, 2)
    assert session.run(plans, "Rome")[1] == 2


def test_a_fork_inherits_an_open_question_and_answers_stay_where_they_are(client: Client) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(plans, "Rome")).questions
    branch, other = session.fork("b"), session.fork("c")
    assert [each.key for each in branch.questions()] == [question.key]
    branch.answer(question, 7)
    assert branch.run(plans, "Rome")[1] == 7
    waiting(lambda: session.run(plans, "Rome"))
    session.answer(question, 8)
    assert session.run(plans, "Rome")[1] == 8
    waiting(lambda: other.run(plans, "Rome"))
    assert session.state().questions[question.key].answer.value == 8  # type: ignore[union-attr]


def test_a_fork_just_after_the_question_does_not_ask_twice(client: Client) -> None:
    session = client.session("s")
    (question,) = waiting(lambda: session.run(plans, "Rome")).questions
    place = next(event for event in session.events() if event.type == "question")
    branch = session.fork("b", at=place)
    (same,) = waiting(lambda: branch.run(plans, "Rome")).questions
    assert same.key == question.key
    assert kinds(client, "b").count("question") == 1
    branch.answer(same, 5)
    assert branch.run(plans, "Rome")[1] == 5


def test_another_answer_put_in_by_a_fork(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(plans, "Rome"))
    session.answer(session.questions()[0], 1)
    session.run(plans, "Rome")
    asked = next(step for step in session.state().steps if step.name == "ask")
    branch = session.fork("b", replace={asked.key: 9})
    assert branch.resume(plans) == ["BEFORE", 9, "AFTER 9"]


def test_where_nothing_can_be_asked(client: Client) -> None:
    with pytest.raises(AgentStreamError, match="outside a run"):
        ask("Hello?")

    @step
    def asks() -> str:
        return ask("Hello?")

    @agent
    def inside() -> str:
        return asks()

    with pytest.raises(AgentStreamError, match="inside a step"):
        client.session("s").run(inside)


def test_a_run_does_not_answer_itself(client: Client) -> None:
    @agent
    def clever() -> None:
        client.session("s").answer("x/0/0#1", 1)

    with pytest.raises(AgentStreamError, match="own questions"):
        client.session("s").run(clever)


WRONG = [
    ({"prompt": ""}, ValueError),
    ({"prompt": 3}, ValueError),
    ({"prompt": "x", "choices": []}, ValueError),
    ({"prompt": "x", "expires": -1}, ValueError),
    ({"prompt": "x", "expires": "soon"}, TypeError),
    ({"prompt": "x", "expires": datetime(2030, 1, 1)}, ValueError),
    ({"prompt": "x", "expires": float("nan")}, ValueError),
    ({"prompt": "x", "schema": type("Odd", (), {})}, TypeError),
    ({"prompt": "x", "choices": [object()]}, TypeError),
]


@pytest.mark.parametrize(("call", "error"), WRONG)
def test_what_cannot_be_asked_says_so(client: Client, call: dict[str, Any], error: type[Exception]) -> None:
    @agent
    def asks() -> None:
        ask(**call)

    with pytest.raises(error):
        client.session("s").run(asks)
