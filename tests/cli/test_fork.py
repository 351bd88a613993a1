from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentstream import Client, agent, step


@pytest.fixture
def sessions(store):
    with Client(store) as client:
        yield client


@pytest.mark.parametrize(
    ("place", "kept"), [("@7", 7), ("@~4", 10), ("@start", 0), ("@end", 14), ("", 14), ("@step:1", 7)]
)
def test_the_cut(cli, sessions, place, kept):
    answer = cli("fork", f"support/42{place}", "--as", "branch")
    assert (answer.code, answer.rows) == (0, [["branch", "support/42", str(kept)]])
    source, branch = list(sessions.session("support/42").events()), list(sessions.session("branch").events())
    assert [event.raw for event in branch[:kept]] == [event.raw for event in source[:kept]]
    assert len(branch) == kept + 1


def test_a_position_of_the_library(cli, sessions):
    event = list(sessions.session("support/42").events())[4]
    answer = cli("fork", str(event.position), "--as", "branch", "--json")
    assert answer.data == {"id": "branch", "source": "support/42", "at": 5, "replaced": [], "note": None}


def test_another_outcome(cli, sessions, tmp_path):
    value = tmp_path / "value.json"
    value.write_text('{"found": [1, 2.5, null]}')
    answer = cli("fork", "support/42", "--as", "branch", "--set-outcome", f"step:1=@{value}", "--json")
    assert answer.code == 0
    steps = sessions.session("branch").state().steps
    assert [step.result for step in steps[1:]] == [{"found": [1, 2.5, None]}]
    assert answer.data["at"] == sessions.session("branch").state().inherited
    assert len(answer.data["replaced"]) == 1


def test_the_outcome_of_a_step_by_its_key(cli, sessions):
    key = sessions.session("support/42").state().steps[0].key
    edit = ["fork", "support/42", "--as", "branch", "--set-outcome", f'{key}="a = b"']
    refused = cli(*edit)
    assert (refused.code, "--set-outcome step:0 is a text" in refused.err) == (2, True)
    assert cli(*edit, "--untyped").code == 0
    assert sessions.session("branch").state().steps[0].result == "a = b"


def test_a_note_is_kept_beside_the_tags(cli, sessions):
    sessions.session("support/42").append("session", {"tags": {"team": "a"}})
    assert cli("fork", "support/42", "--as", "branch", "--note", "what if?").code == 0
    assert sessions.session("branch").state().tags == {"team": "a", "note": "what if?"}
    assert sessions.session("support/42").state().tags == {"team": "a"}


def test_an_id_is_made(cli, sessions, monkeypatch):
    assert cli("fork", "support/42@7").rows == [["support/42-branch", "support/42", "7"]]
    assert cli("fork", "support/42@7", "--json").data["id"] == "support/42-branch-2"
    taken = iter(["support/42-branch-2", "support/42-branch-3"])  # somebody was faster
    monkeypatch.setattr("agentstream.cli.branching.free_name", lambda source: next(taken))
    assert cli("fork", "support/42@7").rows[0][0] == "support/42-branch-3"
    assert sessions.session("support/42-branch-3").state().inherited == 7


WRONG = pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["support/42", "--as", "support/42-b"], 6),
        (["support/42", "--as", "~mine"], 2),
        (["support/42", "--as", "a//b"], 2),
        (["nothing", "--as", "new"], 3),
        (["support/42@200", "--as", "new"], 2),
        (["support/42@step:9", "--as", "new"], 3),
        (["support/42", "--as", "new", "--set-outcome", "step:9=1"], 3),
        (["support/42", "--as", "new", "--set-outcome", "run/0/0=1"], 3),
        (["support/42", "--as", "new", "--set-outcome", "step:1"], 2),
        (["support/42", "--as", "new", "--set-outcome", "step:1=not json"], 2),
        (["support/42", "--as", "new", "--set-outcome", "step:1=@/nowhere/at/all"], 2),
        (["support/42", "--as", "new", "--set-outcome", "step:1=1", "--set-outcome", "step:1=2"], 2),
        (["support/42@12", "--as", "new", "--set-outcome", "step:0=1"], 2),
        (["support/42", "--as", "new", "--edit", "step:1"], 2),
        (["support/42", "--as", "new", "--edit", "step:9"], 3),
        (["support/42", "--as", "new", "--edit", "lookup"], 2),
        (["support/42", "--as", "new", "--edit", "input"], 2),
        (["support/42@3", "--as", "new", "--edit", "1"], 2),
        (["support/42", "--as", "new", "--edit", "1", "--set-message", '1="x"'], 2),
    ],
)


@WRONG
@pytest.mark.parametrize("tried", [[], ["--dry-run"]], ids=["made", "tried"])
def test_what_cannot_be_forked(cli, sessions, arguments, code, tried):
    answer = cli("fork", *arguments, *tried, "--json")
    assert answer.code == code
    assert answer.out == ""
    assert set(answer.error) == {"code", "message", "hint"}
    assert [summary.id for summary in sessions.sessions(prefix="new")] == []


# --- told, and not made ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "at", "kept"),
    [(["support/42@7"], 7, 1), (["support/42@step:1"], 7, 1), (["support/42"], 14, 3), (["support/42@~100"], 0, 0)],
)
def test_a_cut_that_is_only_told(cli, sessions, arguments, at, kept):
    before = [summary.id for summary in sessions.sessions()]
    answer = cli("fork", *arguments, "--dry-run")
    assert (answer.code, answer.rows) == (0, [["support/42-branch", "support/42", str(at)]])
    told = cli("fork", *arguments, "--as", "mine", "--dry-run", "--json").data
    assert (told["dry_run"], told["id"], told["at"], told["events"]) == (True, "mine", at, 14)
    assert (told["steps"], told["replaced"]) == ({"kept": kept, "all": 3}, [])
    assert [summary.id for summary in sessions.sessions()] == before


def test_what_would_be_replaced(cli, sessions):
    steps = sessions.session("support/42").state().steps
    edit = ["fork", "support/42", "--set-outcome", 'step:0={"number": 5}']
    rows = cli(*edit, "--dry-run").rows
    assert rows[0] == ["support/42-branch", "support/42", "6"]
    assert [row[:3] for row in rows[1:]] == [
        ["step:0", steps[0].key, "/outcome/result/number"],
        ["step:0", steps[0].key, "/outcome/result/said"],
    ]
    assert rows[1][3:] == ["0", "5"]
    failed = cli("fork", "support/42", "--set-outcome", "step:2=1", "--dry-run", "--json").data["replaced"][0]
    assert (failed["what"], [each["op"] for each in failed["diff"]]) == ("step:2", ["remove", "add"])
    message = cli("fork", "support/42", "--set-message", '1="x"', "--dry-run").rows[1]
    assert (message[0], message[2], message[4]) == ("message 1", "/parts/0/text", '"x"')
    made = cli(*edit, "--json").data
    assert (made["at"], made["replaced"]) == (6, [steps[0].key])


def test_what_would_be_made_as_a_person_sees_it(terminal):
    shown = terminal("fork", "support/42", "--set-outcome", 'step:0={"number": 5}', "--dry-run", NO_COLOR="1")
    lines = shown.replace("\r\n", "\n").splitlines()
    assert lines[:6] == [
        "support/42-branch  would be a fork of support/42@6",
        "keeps 6 of 14 events, 0 of 3 steps",
        "~ step:0  function lookup",
        "    /outcome/result/number",
        "      - 0",
        "      + 5",
    ]


# --- what is put in is what the record would hold --------------------------------------------------------------------


@dataclass
class Order:
    id: str
    paid: bytes


@step
def order(id: str) -> Order:
    return Order(id, b"50")


@step
def report(size: int) -> str:
    return "x" * size


@agent
def tells(first: Order, size: int) -> list[str]:
    found = order("A1")
    return [type(first).__name__, type(found).__name__, found.id, found.paid.decode(), report(size)[:3]]


@pytest.fixture
def told(sessions, monkeypatch):
    """A run whose values are models, bytes and large texts."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sessions.session("t").run(tells, Order("A0", b""), 100_000)
    return f"{__name__}:tells"


def test_a_model_stays_one(cli, told):
    edit = ["fork", "t", "--set-outcome", 'step:0={"id": "A2", "paid": {"$bytes": "NjA="}}', "--run", told]
    assert json.loads(cli(*edit).out.splitlines()[1]) == ["Order", "Order", "A2", "60", "xxx"]


def test_arguments_that_stay_are_models_too(cli, told):
    answer = cli("fork", "t", "--set-input", '{"size": 2}', "--run", told)
    assert json.loads(answer.out.splitlines()[1]) == ["Order", "Order", "A1", "50", "xx"]


def test_a_large_text_is_a_text(cli, told):
    answer = cli("fork", "t", "--set-outcome", 'step:1="short"', "--run", told)
    assert json.loads(answer.out.splitlines()[1]) == ["Order", "Order", "A1", "50", "sho"]
    assert cli("fork", "t", "--set-outcome", "step:1=5", "--run", told).code == 2


@step
def measured(kind: str) -> Any:
    return {"float": 1.0, "big": 2**60, "bytes": b"x", "plain": 3}[kind]


@agent
def measures(kind: str) -> str:
    return repr(measured(kind))


@pytest.mark.parametrize(
    ("kind", "given", "served"),
    [
        ("float", "2.0", "2.0"),
        ("float", "2.5", "2.5"),
        ("float", '{"$float": "3.0"}', "3.0"),
        ("float", '"2.0"', None),
        ("big", "5", "5"),
        ("big", str(2**61), repr(2**61)),
        ("bytes", '{"$bytes": "eQ=="}', "b'y'"),
        ("bytes", '"y"', None),
        ("plain", "4.0", "4.0"),
        ("plain", "true", None),
        ("plain", "[" * 400 + "]" * 400, None),
    ],
)
def test_what_is_put_in_is_of_the_type_that_was_recorded(cli, sessions, kind, given, served):
    sessions.session("m").run(measures, kind)
    answer = cli("fork", "m", "--set-outcome", f"step:0={given}", "--run", f"{__name__}:measures")
    if served is None:
        assert (answer.code, answer.err.startswith("error: ")) == (2, True), answer.err
    else:
        assert json.loads(answer.out.splitlines()[1]) == served


def test_an_attachment_stays_with_its_message(cli, sessions):
    chat = sessions.session("chat")
    kept = chat.attach(b"hello", name="a.txt")
    chat.append("message", {"role": "user", "parts": [{"type": "text", "text": "x" * 50_000}], "file": kept})
    assert cli("fork", "chat", "--as", "other", "--set-message", '1={"role": "system"}').code == 0
    (message,) = sessions.session("other").state().messages
    assert (message["role"], message["parts"][0]["text"], message["file"].read()) == ("system", "x" * 50_000, b"hello")


def test_a_reply_that_came_in_bytes_is_not_edited(cli, sessions):
    from agentstream import adapters

    sessions.session("m").run(lambda: adapters.open_step("model", "POST /x", {}).finish({"status": 200, "z/1": b"x"}))
    for edit in (["--set-outcome", "step:0={}"], ["--edit", "step:0"], ["--set-outcome", 'step:0="hi"', "--dry-run"]):
        answer = cli("fork", "m", *edit)
        assert (answer.code, "is a provider's reply" in answer.err) == (2, True)
    assert cli("fork", "m", "--set-outcome", 'step:0={"status": 200, "z/1": {"$bytes": "eQ=="}}').code == 0
    assert sessions.session("m-branch").state().steps[0].result == {"status": 200, "z/1": b"y"}
