"""The fold of questions and answers: whichever way events were written, every reader comes to the same end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstream.sessions import moments
from agentstream.sessions.events import Event, read_event
from agentstream.sessions.questions import Questions

Q = "run/0/0#1"


def event(
    index: int,
    type: str,
    key: str,
    value: Any,
    *,
    at: str | None = "2030-01-01T00:00:00.000Z",
    claim: int | None = None,
) -> Event:
    headers = {"operation": "insert", **({"timestamp": at} if at is not None else {})}
    body = {"claim": claim, **value} if claim is not None else value
    return read_event(json.dumps({"type": type, "key": key, "value": body, "headers": headers}).encode(), index)


def question(**more: Any) -> Event:
    return event(0, "question", Q, {"prompt": "How many?", "schema": {"type": "integer"}, **more}, claim=1)


def answer(index: int, value: Any, *, to: str = Q, at: str | None = "2030-01-01T00:00:00.000Z") -> Event:
    return event(index, "answer", f"a{index}", {"question": to, "value": value}, at=at)


def told(*events: Event) -> list[str | None]:
    return [given.reason for given in Questions(events).by_key[Q].answers]


def outcome(index: int, **value: Any) -> Event:
    return event(index, "outcome", "run/0/0#2", value or {"result": 1}, claim=2)


def test_the_first_valid_answer_counts() -> None:
    assert told(question(), answer(1, "x"), answer(2, 5), answer(3, 6), answer(4, "y")) == [
        "invalid",
        None,
        "double",
        "double",
    ]


def test_late_expired_and_ended_are_told_apart() -> None:
    until = question(expires="2030-01-01T01:00:00.000Z")
    too_late = "2030-01-01T01:00:00.001Z"
    assert told(until, answer(1, 5, at="2030-01-01T01:00:00.000Z")) == [None], "to the last moment"
    assert told(until, answer(1, 5, at=too_late)) == ["expired"]
    assert told(until, outcome(1, error={"name": "QuestionExpired"}), answer(2, 5)) == ["expired"]
    assert told(question(), outcome(1, cancelled=True), answer(2, 5)) == ["late"]
    assert told(question(), outcome(1, result=3), answer(2, 5)) == ["late"], "a branch put another outcome in"
    for status, reason in (
        ("finished", "late"),
        ("cancelled", "late"),
        ("failed", None),
        ("waiting", None),
        ("exhausted", None),
    ):
        assert told(question(), event(1, "status", "run", {"status": status}, claim=1), answer(2, 5)) == [reason]
    other = event(1, "status", "runner", {"status": "finished"}, claim=1)
    assert told(question(), other, answer(2, 5)) == [None], "another run's end is none of this one's"


def test_a_child_runs_question_ends_with_its_parent() -> None:
    ask = event(0, "question", "run/0/3#1/0/0#1", {"prompt": "?"}, claim=1)
    end = event(1, "status", "run", {"status": "cancelled"}, claim=1)
    late = answer(2, 1, to=ask.key)
    assert [each.reason for each in Questions([ask, end, late]).by_key[ask.key].answers] == ["late"]


def test_without_a_timestamp_the_time_is_that_of_the_event_before() -> None:
    until = question(expires="2030-01-01T00:30:00.000Z")
    passing = event(1, "delta", "d", {}, at="2030-01-01T01:00:00.000Z", claim=1)
    assert told(until, answer(1, 5, at=None)) == [None]
    assert told(until, passing, answer(2, 5, at=None)) == ["expired"]
    assert told(until, passing, answer(2, 5, at="nonsense")) == ["expired"]


def test_a_question_may_be_named_by_its_step() -> None:
    assert told(question(), answer(1, 5, to="run/0/0")) == [None]
    again = event(2, "question", "run/0/0#3", {"prompt": "Again?"}, claim=2)
    found = Questions([question(), again, answer(3, 5, to="run/0/0")])
    assert [len(each.answers) for each in found.by_key.values()] == [0, 1], "the last time it was asked"


def test_a_worker_refuses_an_answer_and_the_next_takes_its_place() -> None:
    refusal = event(3, "answer", "r", {"question": Q, "refuses": 1, "reason": "odd"}, claim=1)
    assert told(question(), answer(1, 5), answer(2, 6), refusal) == ["invalid", None]
    forged = event(3, "answer", "r", {"question": Q, "refuses": 1, "reason": "odd"})
    assert told(question(), answer(1, 5), answer(2, 6), forged) == [None, "double", "double"]


def test_events_that_do_not_count_change_nothing() -> None:
    from agentstream.sessions.events import with_mark

    for mark in ("fenced", "duplicate", "rewound", "malformed"):
        assert told(question(), with_mark(answer(1, 5), mark), answer(2, 6)) == [None]


FIELDS = (
    "question",
    "value",
    "by",
    "refuses",
    "reason",
    "prompt",
    "kind",
    "schema",
    "choices",
    "expires",
    "status",
    "error",
)
NAMES = st.sampled_from([Q, "run/0/0", "run", "", "x/y/z#1"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(["question", "answer", "outcome", "status", "message"])
VALUES = st.dictionaries(st.sampled_from(FIELDS), JSON | st.just({"type": "integer"}), max_size=5)


@given(
    st.lists(st.tuples(TYPES, NAMES, VALUES, st.none() | st.text(max_size=5), st.sampled_from([None, 1])), max_size=12)
)
def test_whatever_anyone_appends_is_folded(written: list[tuple[str, str, Any, str | None, int | None]]) -> None:
    events = [event(n, type, key, value, at=at, claim=claim) for n, (type, key, value, at, claim) in enumerate(written)]
    whole = Questions(events)
    for question in whole.by_key.values():
        assert sum(given.reason is None for given in question.answers) <= 1, "one answer counts, or none"
        assert (question.answer is not None) == (question.status == "answered")
        question.is_over(moments.now())


@given(st.lists(st.tuples(TYPES, NAMES, VALUES), max_size=10), st.integers(0, 10))
def test_reading_in_two_pieces_is_reading_at_once(written: list[tuple[str, str, Any]], cut: int) -> None:
    events = [
        event(n, type, key, value, claim=1 if type != "answer" else None)
        for n, (type, key, value) in enumerate(written)
    ]
    whole, pieces = Questions(events), Questions(events[:cut])
    for each in events[cut:]:
        pieces.see(each)
    assert [(q.key, q.status, [a.reason for a in q.answers]) for q in whole.by_key.values()] == [
        (q.key, q.status, [a.reason for a in q.answers]) for q in pieces.by_key.values()
    ]


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2030-01-02T03:04:05Z", "2030-01-02T03:04:05+00:00"),
        ("2030-01-02T03:04:05.1Z", "2030-01-02T03:04:05.100000+00:00"),
        ("2030-01-02T03:04:05.123456789Z", "2030-01-02T03:04:05.123456+00:00"),
        ("2030-01-02T03:04:05.12+02:00", "2030-01-02T01:04:05.120000+00:00"),
        ("2030-01-02T03:04:05", "2030-01-02T03:04:05+00:00"),
        ("0001-01-01T00:00:00+23:59", None),
        ("soon", None),
        ("", None),
        (7, None),
    ],
)
def test_moments_are_read_as_every_language_writes_them(text: object, iso: str | None) -> None:
    moment = moments.read(text)
    assert (moment.isoformat() if moment is not None else None) == iso
