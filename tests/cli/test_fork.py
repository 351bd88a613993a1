from __future__ import annotations

import pytest

from agentstream import Client


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


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["support/42", "--as", "support/42-b"], 6),
        (["support/42", "--as", "~mine"], 2),
        (["support/42", "--as", "a//b"], 2),
        (["support/42"], 2),
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
    ],
)
def test_what_cannot_be_forked(cli, sessions, arguments, code):
    answer = cli("fork", *arguments, "--json")
    assert answer.code == code
    assert answer.out == ""
    assert set(answer.error) == {"code", "message", "hint"}
    assert [summary.id for summary in sessions.sessions(prefix="new")] == []
