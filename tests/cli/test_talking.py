"""What is said beside an answer, and what is asked: `--quiet` and `--no-input`, before the verb and after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentstream import Client
from agentstream.cli import talk
from agentstream.cli.failures import UsageError
from agentstream.cli.working import working

QUIET = pytest.mark.parametrize("quiet", ["-q", "--quiet"])


@pytest.fixture
def sessions(store):
    with Client(store) as client:
        yield client


@QUIET
def test_notes_are_not_said(cli, sessions, quiet, monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTSTREAM_KEY", "A" * 43 + "=")
    with Client(sessions.name) as client:
        client.session("sealed").append("custom", 1)
    file = str(tmp_path / "sealed.jsonl")
    assert "note: the session is encrypted" in cli("export", "sealed", "-o", file).err
    assert cli("export", "sealed", "-o", file, quiet).err == ""
    assert cli(quiet, "export", "sealed", "-o", file).err == ""
    assert "note: the session is encrypted" in cli("export", "sealed", "-o", file).err, "one call is one call"


@QUIET
def test_errors_are(cli, quiet):
    assert cli(quiet, "show", "nobody").err.startswith("error: there is no session 'nobody'")
    assert cli("show", "nobody", quiet).code == 3


def test_progress_is_not_told(monkeypatch):
    told = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("agentstream.cli.working._tell", lambda what, count, done: told.append(what))
    for quiet in (False, True):
        talk.begin()
        talk.heed(quiet=quiet, no_input=False)
        with working(f"quiet: {quiet}"):
            pass
    talk.begin()
    assert told == ["quiet: False"]


def test_a_server_and_a_worker_say_nothing(process, capsys):
    from agentstream.cli import serve

    for quiet, said in ((False, "serving\n"), (True, "")):
        talk.begin()
        talk.heed(quiet=quiet, no_input=False)
        serve._say("serving")
        assert capsys.readouterr().err == said
    talk.begin()
    work = ["worker", "cli_kit:support", "--once"]
    here = str(Path(__file__).parents[1])
    assert "working in" in process(*work, PYTHONPATH=here).err
    assert process(*work, "-q", PYTHONPATH=here).err == ""


# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_family_goes_as_a_person_says(terminal, sessions):
    sessions.session("support/42-b").fork("support/42-c", 8)
    shown = terminal("rm", "support/42", "--with-forks", typed="n\n").replace("\r\n", "\n")
    assert "  support/42\n  support/42-b\n  support/42-c\nDelete 3 sessions? [y/N]" in shown
    assert "error: nothing was done" in shown
    assert len(sessions.sessions(prefix="support")) == 3
    terminal("rm", "support/42", "--with-forks", typed="y\n")
    assert sessions.sessions(prefix="support") == []


def test_in_a_pipe_it_takes_a_flag(cli, sessions):
    refused = cli("rm", "support/42-b", "support/42", "--with-forks", "--json")
    assert (refused.code, refused.error["code"], refused.error["hint"]) == (2, "usage", "-y")
    assert "2 sessions: support/42, support/42-b" in refused.error["message"]
    assert cli("rm", "support/42", "--with-forks", "-y").out == "support/42\nsupport/42-b\n"
    assert [summary.id for summary in sessions.sessions()] == ["rewound"]


def test_only_forks_of_what_is_named_go(cli, sessions):
    assert cli("rm", "support/42-b", "--forks", "--yes", "--json").data == ["support/42-b"]
    assert sorted(summary.id for summary in sessions.sessions()) == ["rewound", "support/42"]


def test_none_goes_where_one_is_needed(cli, sessions):
    from agentstream import RunWaiting, agent, ask

    @agent
    def asks() -> str:
        return ask("why?")

    sessions.session("support/42").fork("asking", 0)
    with pytest.raises(RunWaiting):
        sessions.session("asking").run(asks)
    refused = cli("rm", "support/42", "--with-forks", "-y")
    assert (refused.code, "session 'asking' is waiting" in refused.err) == (6, True)
    assert len(sessions.sessions()) == 4
    assert cli("rm", "support/42", "--with-forks", "-y", "--force").code == 0
    assert [summary.id for summary in sessions.sessions()] == ["rewound"]


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [(["rm", "support/42", "--with-forks"], "-y"), (["erase", "support/42"], "--yes")],
)
@pytest.mark.parametrize("before", [True, False])
def test_nothing_is_asked(terminal, arguments, flag, before):
    given = ["--no-input", *arguments] if before else [*arguments, "--no-input"]
    shown = terminal(*given, columns=500)
    assert "there is nobody to ask here" in shown
    assert f"hint: {flag}" in shown
    assert "[y/N]" not in shown


def test_what_running_on_costs_is_told_cleanly(capsys):
    from agentstream.cli import replay
    from agentstream.sessions.prices import Cost

    cost = Cost(calls=1, unpriced=("evil\x1b[2J",))
    talk.begin()
    assert replay._confirm(yes=True)(cost)
    told = capsys.readouterr().err
    assert "no price is known of evil" in told
    assert "\x1b" not in told
    with pytest.raises(UsageError, match="running on makes calls"):
        replay._confirm(yes=False)(cost)


def test_every_verb_takes_them(cli):
    from agentstream.cli.app import VERBS

    for verb in VERBS:
        told = cli(verb, "--help").out
        assert "--quiet" in told, verb
        assert "--no-input" in told, verb
