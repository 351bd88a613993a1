"""`replay` of an exported file, with the code that the record names, and with its report in a file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest
from cli_kit import command, environment

from agentstream import Client
from agentstream.cli.code import imported


def column(answer, label):
    return [row[1:] for row in answer.rows if row[0] == label]


@pytest.fixture
def handing_on(monkeypatch):
    """The rules' module, which each test writes anew."""
    monkeypatch.delitem(sys.modules, "handing_on", raising=False)
    yield
    sys.modules.pop("handing_on", None)


@pytest.fixture
def exported(recorded, store):
    with Client(store) as client:
        client.session("s1").export(store.parent / "s1.jsonl")
    return store.parent / "s1.jsonl"


def test_an_exported_file_is_replayed_with_nothing_beside_it(recorded, exported, tmp_path_factory):
    """In a folder without a store, through the program."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for path in (exported, recorded.file):
        (folder / path.name).write_bytes(path.read_bytes())

    def replayed(*more):
        called = [*command("replay", "s1.jsonl", recorded["support"], *more)]
        return subprocess.run(called, cwd=folder, env=environment(), capture_output=True, text=True)

    before = sorted(os.listdir(folder))
    done = replayed()
    assert (done.returncode, done.stdout.split("\t")[0], done.stderr) == (0, "identical", "")
    (folder / recorded.file.name).write_text(recorded.text.replace("be brief", "be kind"))
    done = replayed("--json")
    data = json.loads(done.stdout)["data"]
    assert (done.returncode, data["verdict"], data["file"]) == (1, "diverged", "s1.jsonl")
    assert data["next"] == [
        f"agentstream replay s1.jsonl {recorded['support']} --keep-going",
        "agentstream import s1.jsonl",
    ]
    assert [name for name in sorted(os.listdir(folder)) if name != "__pycache__"] == before


def test_a_place_in_a_file(cli, recorded, exported):
    data = cli("replay", f"{exported}@step:2", recorded["support"], "--json").data
    assert (data["verdict"], data["stopped"]["step"]) == ("stopped", 2)


def test_of_a_file_with_forks_it_is_the_first_session(cli, recorded, store):
    file = store.parent / "family.jsonl"
    with Client(store) as client:
        client.session("s1").export(file, forks=True)
    answer = cli("replay", str(file), recorded["support"])
    assert (answer.code, answer.rows[0][0]) == (0, "identical")
    assert "2 sessions" in answer.err
    assert "'s1'" in answer.err


def test_what_a_file_cannot(cli, recorded, exported):
    answer = cli("replay", str(exported), recorded["support"], "--live-from", "2", "-y")
    assert answer.code == 2
    assert "agentstream import" in answer.err
    exported.write_bytes(exported.read_bytes()[:-20])
    answer = cli("replay", str(exported), recorded["support"])
    assert answer.code != 0
    assert "s1.jsonl, line" in answer.err


def test_a_file_that_is_not_there(cli, recorded, tmp_path_factory, monkeypatch):
    answer = cli("replay", "none.jsonl", recorded["support"])
    assert answer.code == 3
    assert "there is no file 'none.jsonl', and there is no session" in answer.err
    monkeypatch.chdir(tmp_path_factory.mktemp("nothing"))
    answer = cli("replay", "none.jsonl", recorded["support"])
    assert answer.code == 3
    assert "there is no file 'none.jsonl', and there is no .agentstream folder" in answer.err


def test_the_stepper_makes_no_fork_of_a_file(recorded, exported):
    program = command("replay", str(exported), recorded["support"], "--pdb")
    done = subprocess.run(
        program, input="f other\nq\n", cwd=exported.parent, env=environment(), capture_output=True, text=True
    )
    assert "agentstream import" in done.stdout
    assert "other  fork" not in done.stdout


# --- the recorded code -----------------------------------------------------------------------------------------------


def test_without_code_it_is_what_the_record_names(cli, recorded, exported):
    for target in ("s1", str(exported)):
        answer = cli("replay", target, "-y")
        assert (answer.code, answer.rows[0][0]) == (0, "identical")
        assert answer.err == f"note: {recorded['support']}, as it was recorded\n"
    answer = cli("replay", "s1", "-y", "--json")
    assert (answer.data["function"], answer.err) == (recorded["support"], "")


def test_a_record_names_code_and_nobody_runs_it_unasked(cli, recorded, store, exported, tmp_path_factory):
    """A file, or what stands on a server, may come from anybody: it could name subprocess:getoutput."""
    trace = tmp_path_factory.mktemp("made") / "trace"
    header, *lines = exported.read_text().splitlines()
    lines = [
        line.replace(f'"entry":"{recorded["support"]}"', '"entry":"subprocess:getoutput"').replace(
            '"question":', f'"cmd":"touch {trace}","question":'
        )
        for line in lines
    ]
    assert any("subprocess:getoutput" in line for line in lines)
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    hostile = exported.with_name("hostile.jsonl")
    hostile.write_text("\n".join([json.dumps(json.loads(header) | {"sha256": digest}), *lines, ""]))
    assert cli("import", str(hostile), "--as", "hostile").code == 0
    for arguments in (["replay", str(hostile)], ["replay", "hostile"], ["resume", "hostile"]):
        answer = cli(*arguments)
        assert answer.code == 2
        assert "the record names subprocess:getoutput" in answer.err
        assert "-y" in answer.err
    assert not trace.exists()


@pytest.mark.parametrize(("said", "told"), [("y", "identical"), ("n", "nothing was done")])
def test_a_person_agrees_to_recorded_code(recorded, terminal, said, told):
    shown = terminal("replay", "s1", typed=f"{said}\n")
    assert f"The record names {recorded['support']}. Import and run it?" in shown
    assert told in shown


def test_a_run_is_gone_on_with_by_what_the_record_names(cli, recorded, store):
    recorded.change("END = None", "END = 'raise'")
    with Client(store) as client, pytest.raises(ValueError, match="at the end"):
        client.session("open").run(imported(recorded["support"]), "x")
    recorded.change("END = 'raise'", "END = None")
    answer = cli("resume", "open", "-y")
    assert (answer.code, answer.out) == (0, '"m said 4"\n')
    assert answer.err == f"note: {recorded['support']}, as it was recorded\n"


def test_the_run_that_is_named_names_its_code(cli, recorded, store):
    with Client(store) as client:
        session = client.session("s1")
        run = next(iter(session.state().runs))
        session.run(lambda: 1)
    answer = cli("replay", "s1", "--run", run, "-y")
    assert (answer.code, answer.rows[0][0]) == (0, "identical")
    answer = cli("replay", "s1")
    assert answer.code == 2
    assert "made inside a function" in answer.err


def test_code_that_cannot_be_imported_is_said(cli, recorded, store):
    recorded.file.unlink()
    sys.modules.pop(recorded.module)
    answer = cli("replay", "s1", "-y")
    assert answer.code == 2
    assert f"the recorded code, {recorded['support']}, is not there" in answer.err
    assert "agentstream replay s1 MODULE:AGENT" in answer.err
    with Client(store) as client:
        client.session("said").append("note", 1)
    assert "has no run of an agent" in cli("replay", "said").err


def test_code_of_a_program_itself_is_said(cli, recorded, store):
    (store.parent / "program.py").write_text(
        f"from agentstream import Client, agent\n@agent\ndef a():\n    return 1\n"
        f"with Client({str(store)!r}) as client:\n    client.session('main').run(a)\n"
    )
    subprocess.run([command()[0], "program.py"], cwd=store.parent, check=True)
    for verb in ("replay", "resume"):
        answer = cli(verb, "main")
        assert answer.code == 2
        assert "__main__" in answer.err
        assert f"agentstream {verb} main MODULE:AGENT" in answer.err


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_stands_in_a_file_too(cli, recorded, store):
    file = store.parent / "report.json"
    recorded.change("be brief", "be kind")
    answer = cli("replay", "s1", recorded["support"], "--report", str(file))
    assert (answer.code, answer.rows[0][0]) == (1, "diverged")
    document = json.loads(file.read_text("utf-8"))
    assert document == json.loads(cli("replay", "s1", recorded["support"], "--json").out)
    answer = cli("replay", "s1", recorded["support"], "--report", str(store.parent / "none" / "report.json"))
    assert answer.code == 2
    assert "--report" in answer.err


# --- what is handed on -----------------------------------------------------------------------------------------------


def test_a_redacted_export_is_replayed_by_whoever_gets_it(cli, recorded, store, handing_on):
    with Client(store) as client:
        client.session("asked").run(imported(recorded["support"]), "of E482913?")
    (store.parent / "handing_on.py").write_text(
        "from agentstream import Redact\nrules = Redact(patterns={'badge': r'E\\d{6}'})\n"
        "prompts = Redact(keys=False, paths=['arguments.messages[0].content'])\n"
    )
    file = store.parent / "handed on.jsonl"
    answer = cli("export", "asked", "--redact", "handing_on:rules", "-o", str(file))
    assert (answer.code, answer.err) == (0, "")
    assert "E482913" not in file.read_text("utf-8")
    assert json.loads(file.read_text("utf-8").splitlines()[0])["redacted"] == "handing_on:rules"
    answer = cli("replay", str(file), "-y")
    assert (answer.code, answer.rows[0][:2]) == (0, ["identical", "4"])

    assert cli("export", "asked", "--redact", "handing_on:prompts", "-o", str(file)).code == 0
    answer = cli("replay", str(file), "-y")
    assert (answer.code, column(answer, "note")[0][0][:42]) == (1, "the session was redacted as it was exporte")


def test_with_the_same_rules_what_stands_in_the_code_is_known(cli, recorded, store, handing_on, monkeypatch):
    (store.parent / "handing_on.py").write_text(
        "from agentstream import Redact\nprompts = Redact(keys=False, paths=['arguments.messages[0].content'])\n"
    )
    file = store.parent / "s1.jsonl"
    assert cli("export", "s1", "--redact", "handing_on:prompts", "-o", str(file)).code == 0
    assert "be brief" not in file.read_text("utf-8")
    for form in ("json", "markdown", "html"):
        read = store.parent / f"s1.{form}"
        assert cli("export", "s1", "--format", form, "--redact", "handing_on:prompts", "-o", str(read)).code == 0
        assert "be brief" not in read.read_text("utf-8")
    monkeypatch.setenv("AGENTSTREAM_REDACT", "handing_on:prompts")
    answer = cli("replay", str(file), "-y")
    assert (answer.code, answer.rows[0][0]) == (0, "identical")
    assert "2 calls hold values that were not recorded" in column(answer, "note")[0][0]
