"""`agentstream answer`: what is asked, answers in the form asked for, and those that do not count."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from cli_kit import EVIL, Cli

from agentstream import AsyncClient, Client, Question, RunWaiting, aask, agent, ask, step
from agentstream.cli.answer import read_value
from agentstream.sessions import moments


@step(approve=True)
def refund(order: str, amount: int) -> str:
    return f"refunded {order} {amount}"


@agent
def trip() -> list[Any]:
    return [ask("How many days?", schema=int), ask("Which seat?", choices=["window", "aisle"])]


@agent
def desk() -> str:
    return refund("A1", 10)


@agent
def hasty() -> Any:
    return ask("Now?", expires=60)


def go_on(store: Path, function: Any, id: str = "trip") -> Any:
    """What the run returns, or the questions for which it waits."""
    with Client(store) as client:
        try:
            return client.session(id).run(function)
        except RunWaiting as waiting:
            return waiting.questions


def answers(store: Path, id: str = "trip") -> list[tuple[Any, str | None, str | None]]:
    with Client(store) as client:
        asked = client.session(id).state().questions.values()
        return [(given.value, given.by, given.reason) for question in asked for given in question.answers]


def test_without_a_value_it_lists_what_is_open(cli: Cli, store: Path) -> None:
    (question,) = go_on(store, trip)
    assert question.asked is not None
    assert cli("answer", "tri").rows == [
        [question.key, "step:0", "question", moments.text(question.asked), "", "How many days?", '{"type": "integer"}']
    ]
    (shown,) = cli("answer", "trip", "--json").data
    assert (shown["key"], shown["step"], shown["schema"]) == (question.key, "step:0", {"type": "integer"})
    assert cli("answer", "trip", question.key).rows[0][0] == question.key
    quiet = cli("answer", "support/42")
    assert (quiet.code, quiet.out) == (0, "")


def test_answers_take_a_run_to_its_end(cli: Cli, store: Path) -> None:
    (question,) = go_on(store, trip)
    assert cli("answer", "trip", "3", "--by", "ann").rows == [[question.key, "3"]]
    (seat,) = go_on(store, trip)
    data = cli("answer", "trip", "step:1", "window", "--json").data
    assert (data["session"], data["question"], data["value"], data["by"]) == ("trip", seat.key, "window", None)
    assert go_on(store, trip) == [3, "window"]
    assert answers(store) == [(3, "ann", None), ("window", None, None)]


def test_answers_that_do_not_count_are_told_apart(cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (question,) = go_on(store, trip)
    invalid = cli("answer", "trip", "many", "--json")
    assert (invalid.code, invalid.error["code"]) == (10, "answer_invalid")
    assert cli("answer", "trip", "3").code == 0
    double = cli("answer", "trip", question.key, "4", "--json")
    assert (double.code, double.error["code"]) == (12, "answer_double")
    with Client(store) as client:
        go_on(store, trip)
        (seat,) = client.session("trip").questions()
        client.session("trip").cancel()
    late = cli("answer", "trip", seat.key, "window", "--json")
    assert (late.code, late.error["code"]) == (11, "answer_late")
    (now,) = go_on(store, hasty, "hasty")
    true = moments.now()
    monkeypatch.setattr(moments, "now", lambda: true.replace(year=true.year + 1))
    expired = cli("answer", "hasty", now.key, "yes", "--json")
    assert (expired.code, expired.error["code"]) == (13, "answer_expired")
    assert [reason for _, _, reason in answers(store)] == [None]


@pytest.mark.parametrize(
    ("typed", "did"),
    [
        (["yes"], "refunded A1 10"),
        (["true"], "refunded A1 10"),
        (["Y", "--reason", "go"], "refunded A1 10"),
        (["yes", "--set", "amount=5", "--set", "order=B2"], "refunded B2 5"),
        (['{"approved": true, "arguments": {"amount": 7}}'], "refunded A1 7"),
    ],
)
def test_approvals(cli: Cli, store: Path, typed: list[str], did: str) -> None:
    (question,) = go_on(store, desk, "desk")
    assert cli("answer", "desk").rows[0][-1] == '{"order": "A1", "amount": 10}'
    assert cli("answer", "desk", *typed).rows[0][0] == question.key
    assert go_on(store, desk, "desk") == did


def test_a_denial_and_its_reason(cli: Cli, store: Path) -> None:
    go_on(store, desk, "desk")
    assert cli("answer", "desk", "no", "--reason", "too old").code == 0
    assert answers(store, "desk") == [({"approved": False, "reason": "too old"}, None, None)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["desk", "yes", "please", "now"],
        ["desk", "no", "--set", "amount=5"],
        ["desk", "yes", "--set", "amount"],
        ["desk", "--by", "ann"],
        ["desk", "@nowhere"],
        ["trip", "3", "--reason", "so"],
        ["trip", "@torn.json"],
    ],
)
def test_wrong_usage(cli: Cli, store: Path, arguments: list[str]) -> None:
    go_on(store, desk, "desk")
    go_on(store, trip)
    (store.parent / "torn.json").write_text("[1,")
    answer = cli("answer", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert answers(store) == answers(store, "desk") == []


def test_what_is_not_there(cli: Cli, store: Path) -> None:
    go_on(store, trip)
    for arguments in (["none"], ["none", "3"], ["trip", "nobody", "3"], ["trip", "step:9", "3"], ["support/42", "3"]):
        assert cli("answer", *arguments).code == 3
    cli("answer", "trip", "3", "--by", "ann")
    assert "answered by ann" in cli("answer", "trip", "3").err


def test_several_questions_have_to_be_named(cli: Cli, store: Path) -> None:
    @agent
    async def both() -> list[Any]:
        return list(await asyncio.gather(aask("One?"), aask("Two?")))

    async def run() -> Any:
        async with AsyncClient(store) as client:
            return await client.session("both").run(both)

    with pytest.raises(RunWaiting) as waiting:
        asyncio.run(run())
    one, two = waiting.value.questions
    for arguments in (["3"], [one.run[:5], "3"]):
        answer = cli("answer", "both", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert all(question.key in answer.err for question in (one, two))
    assert cli("answer", "both", two.key[:-2], "2").rows == [[two.key, "2"]]
    assert cli("answer", "both", "1").rows == [[one.key, "1"]]
    assert asyncio.run(run()) == [1, 2]


def test_a_hostile_prompt_is_shown_escaped(cli: Cli, store: Path) -> None:
    @agent
    def asks() -> Any:
        return ask(EVIL, choices=[EVIL])

    go_on(store, asks, "evil")
    shown = cli("answer", "evil").out
    assert "\x1b" not in shown
    assert "\\e[2J" in shown


@pytest.mark.parametrize(
    ("typed", "wanted", "value"),
    [
        ("42", {"type": "integer"}, 42),
        ("42", {"type": "string"}, "42"),
        ('"42"', {"type": "string"}, "42"),
        ("42", None, 42),
        ("a b", None, "a b"),
        ("null", {"type": "string"}, "null"),
        ("null", {"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ("NaN", {"type": "number"}, "NaN"),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ("[" * 100_000, {"type": "string"}, "[" * 100_000),
        ("yes", {"type": "string"}, "yes"),
    ],
)
def test_a_value_is_json_where_that_fits(typed: str, wanted: Any, value: Any) -> None:
    assert read_value(typed, Question("k", "?", schema=wanted)) == value


def test_a_value_is_one_of_the_choices() -> None:
    assert read_value("1", Question("k", "?", choices=["1", "2"])) == "1"
    assert read_value("1", Question("k", "?", choices=[1, 2])) == 1
    assert read_value("1", Question("k", "?"), text=True) == "1"


def test_a_value_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text('{"a": 1}')
    assert read_value(f"@{file}", Question("k", "?")) == {"a": 1}
    file.write_text("plain")
    assert read_value(f"@{file}", Question("k", "?")) == "plain"
    assert read_value("@ann", Question("k", "?"), text=True) == "@ann"


def test_bytes_that_are_no_text_are_refused(process: Cli, store: Path) -> None:
    go_on(store, trip)
    with contextlib.suppress(UnicodeEncodeError):
        answer = process("answer", "trip", "\udcff")
        assert answer.code in (2, 10)
        assert "Traceback" not in answer.err


def test_a_terminal_gets_a_table(store: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on(store, trip)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    shown = cli("answer", "trip").out
    assert shown.splitlines()[0].split() == ["step", "question", "answer"]
    assert "step:0  How many days?" in shown
    assert "nothing is asked" in cli("answer", "support/42").out
