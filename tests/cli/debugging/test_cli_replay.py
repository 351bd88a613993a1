"""`replay`, `resume`, and forks that go on: through the program, with every exit code."""

from __future__ import annotations

import json
import subprocess

import pytest
from cli_kit import command, environment

from agentstream import Client
from agentstream.cli.code import imported


def column(answer, label):
    return [row[1:] for row in answer.rows if row[0] == label]


def test_the_recorded_way_is_exit_code_0(cli, recorded, refunds):
    answer = cli("replay", "s1", recorded["support"])
    assert (answer.code, answer.rows[0]) == (0, ["identical", "4", "4", "", '"m said 4"'])
    data = cli("replay", "s1", recorded["support"], "--json").data
    assert (data["verdict"], data["result"], data["divergence"], data["next"]) == ("identical", "m said 4", None, [])
    assert len(refunds) == 2  # those of the recordings


DIVERGENCES = [
    ('SYSTEM = "be brief"', 'SYSTEM = "be kind"', "different_args", "step:0", "input.messages[0].content"),
    ('found = lookup("A1")', 'found = {"amount": 4999}', "different_call", "step:1", "kind"),
    ('lookup("A1")', 'lookup("A2")', "different_args", "step:1", "input.order"),
    ('    refund(found["amount"])\n', "", "missing_call", "step:3", ""),
    ("    return END or said", '    lookup("A2")\n    return END or said', "extra_call", "the end", ""),
    ("END = None", "END = 'x'", "different_output", "the end", ""),
    ("END = None", "END = 'raise'", "raised", "the end", ""),
]


def test_each_divergence_is_exit_code_1(cli, recorded):
    for old, new, kind, step, path in DIVERGENCES:
        text = recorded.text
        recorded.change(old, new)
        check_divergence(cli, recorded, kind, step, path)
        recorded.text = text
        recorded.change("", "")


def check_divergence(cli, recorded, kind, step, path):
    answer = cli("replay", "s1", recorded["support"])
    assert answer.code == 1
    [found] = column(answer, "divergence")
    assert found[0] == kind
    if kind not in ("different_output", "raised"):
        assert (found[1], found[3]) == (step, path)
    report = cli("replay", "s1", recorded["support"], "--json").data
    assert report["verdict"] == "diverged"
    assert report["divergence"]["kind"] == kind
    if kind.startswith("different"):
        assert report["divergence"]["diff"]
    if kind != "missing_call" and kind != "different_output":
        assert recorded.file.name in report["divergence"]["code"]
    assert report["next"][0].startswith("agentstream fork s1@")


def test_an_error_that_does_not_come(cli, recorded, store):
    recorded.change("END = None", "END = 'raise'")
    with Client(store) as client, pytest.raises(ValueError, match="at the end"):
        client.session("raised").run(imported(recorded["support"]), "x")
    assert cli("replay", "raised", recorded["support"]).code == 0
    recorded.change("END = 'raise'", "END = None")
    answer = cli("replay", "raised", recorded["support"])
    assert (answer.code, column(answer, "divergence")[0][0]) == (1, "did_not_raise")


def test_matching_and_keeping_going(cli, recorded):
    recorded.change('SYSTEM = "be brief"', 'SYSTEM = "be kind"')
    answer = cli("replay", "s1", recorded["support"], "--match", "ordered")
    assert (answer.code, len(column(answer, "drift"))) == (0, 2)
    assert cli("replay", "s1", recorded["support"], "--match", "identity").code == 1
    answer = cli("replay", "s1", recorded["support"], "--keep-going")
    assert (answer.code, [row[1] for row in column(answer, "divergence")]) == (1, ["step:0", "step:2"])


STOPS = [
    (["s1", "--until", "step:2"], 2),
    (["s1@step:2"], 2),
    (["s1", "--break", "tool"], 1),
    (["s1", "--break", "tool:refund?args.amount > 100"], 3),
    (["s1", "--break", "tool:nothing", "--break", "model?step == 2"], 2),
]


def test_stopping_on_the_way(cli, recorded):
    for arguments, steps in STOPS:
        answer = cli("replay", arguments[0], recorded["support"], *arguments[1:])
        assert (answer.code, answer.rows[0][:2]) == (0, ["stopped", str(steps)])
        found = cli("replay", arguments[0], recorded["support"], *arguments[1:], "--json").data["stopped"]
        assert (found["step"], recorded.file.name in found["code"]) == (steps, True)


def test_another_input(cli, recorded):
    assert cli("replay", "s1", recorded["support"], "--input", '{"urgent": true}').code == 0
    assert cli("replay", "s1", recorded["support"], "--input", '"why?"').code == 1


def test_values_are_given_as_the_record_shows_them(cli, recorded, monkeypatch):
    given = {}
    monkeypatch.setattr("agentstream.Session.replay", lambda session, agent, **options: given.update(options) or 1 / 0)
    typed = '[{"$bytes": "eA=="}, {"$float": "2.0"}, 1.0, 1]'
    run = ["replay", "s1", recorded["support"], "--input", typed, "--mock", f"lookup={typed}", "--live-from", "step:1"]
    assert cli(*run).code == 1
    assert [repr(each) for each in (given["input"], given["mock"]["lookup"])] == ["[b'x', 2.0, 1.0, 1]"] * 2


def test_running_on_live(cli, recorded, refunds, store):
    refused = cli("replay", "s1", recorded["support"], "-y", "--live-from", "step:2", "--as", "try")
    assert (refused.code, refused.rows[0][0], refused.rows[0][3]) == (7, "refused", "try")
    assert "running on costs, by the record" in refused.err
    assert len(refunds) == 2
    done = cli("replay", "s1", recorded["support"], "-y", "--live-from", "step:2", "--allow", "refund")
    assert (done.code, done.rows[0]) == (0, ["same", "2", "4", "s1-live-1", '"m said 4"'])
    assert len(refunds) == 3
    steered = ["--model", "m2", "--mock", "refund=1", "--mock", 'lookup={"order": "A1", "amount": 1}']
    done = cli("replay", "s1", recorded["support"], "-y", "--live-from", "step:1", *steered, "--json")
    assert (done.code, done.data["result"], done.data["made"], done.data["estimate"]["calls"]) == (0, "m2 said 4", 3, 0)
    assert len(refunds) == 3
    prompt = store.parent / "prompt.txt"
    prompt.write_text("be loud")
    loud = ["--system", "@prompt.txt", "--allow", "*"]
    done = cli("replay", "s1", recorded["support"], "-y", "--live-from", "step:2", *loud)
    with Client(store) as client:
        state = client.session(done.rows[0][3]).state()
    assert state.steps[2].input["messages"][0]["content"] == "be loud"


def test_repeating_and_checking(cli, recorded):
    options = ["-y", "--live-from", "step:2", "--mock", "refund=0", "--repeat", "2", "--as", "try"]
    answer = cli("replay", "s1", recorded["support"], *options, "--check", recorded["fine"])
    assert (answer.code, [row[2] for row in column(answer, "try")]) == (0, ["try-1", "try-2"])
    answer = cli("replay", "s1", recorded["support"], "--check", recorded["never"], "--json")
    assert (answer.code, answer.data["passed"]) == (1, 0)


WRONG = [
    (["nothing", "support"], 3),
    (["s1", "nothing"], 2),
    (["s1", "support", "--until", "step:99"], 3),
    (["s1@3", "support", "--until", "4"], 2),
    (["s1", "support", "--break", "tool?("], 2),
    (["s1", "support", "--model", "m2"], 2),
    (["s1", "support", "--live-from", "x"], 2),
    (["s1", "support", "--live-from", "step:1", "--keep-going"], 2),
    (["s1", "support", "--live-from", "step:1", "--mock", "lookup"], 2),
    (["s1", "support", "--live-from", "step:1", "--mock", "lookup={"], 2),
    (["s1", "support", "-y", "--live-from", "step:1", "--as", "s1-b"], 6),
    (["s1", "support", "--live-from", "step:1"], 2),
    (["s1", "support", "--match", "fuzzy"], 2),
    (["s1", "support", "--repeat", "0"], 2),
    (["s1", "support", "--pdb", "--repeat", "2"], 2),
    (["s1", "support", "--input", "{"], 2),
    (["s1", "support", "--run", "nothing"], 3),
]


def test_wrong_replays(cli, recorded):
    for arguments, code in WRONG:
        answer = cli("replay", arguments[0], recorded[arguments[1]], *arguments[2:])
        assert (answer.code, answer.out) == (code, ""), (arguments, answer.err)
        assert answer.err.startswith(("error: ", "running on")), arguments
        assert "mistake in agentstream" not in answer.err


def test_a_file_in_place_of_a_module(cli, recorded):
    answer = cli("replay", "s1", "bots.py:support")
    assert (answer.code, "bots:support" in answer.err) == (2, True), answer.err


def test_where_it_raises_or_waits(cli, recorded, store):
    with Client(store) as client:
        client.session("asking").run(imported(recorded["support"]), "x")
    recorded.change("END = None", "END = 'raise'")
    answer = cli("replay", "s1", recorded["support"], "-y", "--live-from", "end", "--as", "late")
    assert answer.code == 8
    assert cli("resume", "late", recorded["support"]).code == 8
    recorded.change("END = 'raise'", "END = None")
    resumed = cli("resume", "late", recorded["support"], "--json")
    assert (resumed.code, resumed.data) == (0, {"session": "late", "result": "m said 4"})
    assert cli("resume", "late", recorded["support"]).code == 3  # it has come to its end


def test_a_run_that_waits(cli, recorded, store):
    from agentstream import RunWaiting

    with Client(store) as client:
        with pytest.raises(RunWaiting):
            client.session("q").run(imported(recorded["asks"]))
        question = client.session("q").questions()[0]
        waits = cli("resume", "q", recorded["asks"])
        assert (waits.code, "waits for an answer to" in waits.err, "session.answer" in waits.err) == (9, True, False)
        assert "hint: agentstream answer q, then agentstream resume q\n" in waits.err
        live = cli("replay", "q", recorded["asks"], "-y", "--live-from", "start", "--as", "q-live")
        assert (live.code, live.rows[0][3]) == (9, "q-live")
        assert client.session("q-live").status() == "waiting"
        client.session("q").answer(question, True)
    assert cli("resume", "q", recorded["asks"]).out == "true\n"


def test_an_async_agent(cli, recorded, store):
    import asyncio

    from agentstream import AsyncClient

    async def main() -> None:
        async with AsyncClient(store) as client:
            await client.session("a").run(imported(recorded["anew"]), "A9")

    asyncio.run(main())
    assert cli("replay", "a", recorded["anew"]).rows[0][4] == '"A9"'
    assert cli("replay", "a", recorded["anew"], "-y", "--live-from", "start").rows[0][4] == '"A9"'


# --- stepping --------------------------------------------------------------------------------------------------------


def stepped(store, code, typed, *options):
    return subprocess.run(
        command("replay", "s1", code["support"], "--pdb", *options),
        cwd=store.parent,
        env=environment(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_stepping_there_and_back(store, recorded):
    done = stepped(store, recorded, "a\nn\nr\nd\nn\np\ns\nw\ne found\nf branch\np\nx\nh\nc\n")
    assert done.stderr == ""
    stops = [line.partition("stopped before ")[2][:6] for line in done.stdout.splitlines() if "stopped before" in line]
    assert stops == ["step 0", "step 1", "step 2", "step 1", "step 0"]
    for shown in ('"amount": 4999', "add /steps/0", "steps\t1\tfinished", "in support", "branch  fork of s1@"):
        assert shown in done.stdout
    assert "x: no such command" in done.stdout
    assert "NameError" in done.stdout  # `found` is not known there yet
    assert "the code has come to its end" in done.stdout
    assert "identical\t4\t4" in done.stdout
    assert done.returncode == 0
    with Client(store) as client:
        lineage = client.session("branch").state().lineage
        assert lineage is not None
        assert lineage.count == client.session("s1").state().steps[1].last.start.index


def test_stepping_from_a_breakpoint_into_the_code(store, recorded):
    done = stepped(store, recorded, "py\np found['amount']\nc\nq\n", "--break", "tool:lookup")
    assert "stopped before step 1" in done.stdout
    assert "(Pdb) 4999" in done.stdout
    assert done.returncode == 0
    done = stepped(store, recorded, "q\n", "--until", "step:3")
    assert "stopped before step 3" in done.stdout
    assert "stopped before step 1" not in done.stdout


def test_a_divergence_is_looked_at(store, recorded):
    recorded.change('lookup("A1")', 'lookup("A2")')
    done = stepped(store, recorded, "c\np\nq\n")
    assert "step:1, event" in done.stdout
    assert "different args" in done.stdout
    assert done.stdout.count("stopped before step 0") == 3  # there, there again, and so the report says


def test_stepping_on_a_terminal(terminal, recorded):
    shown = terminal("replay", "s1", recorded["support"], "--pdb", typed="n\nq\n")
    assert "(agentstream)" in shown
    assert "stopped before step 1: tool lookup" in shown


# --- forks that go on ------------------------------------------------------------------------------------------------


def test_another_outcome_and_on(cli, recorded, refunds):
    edit = ["--set-outcome", 'step:1={"order": "A1", "amount": 1}', "--run", recorded["support"]]
    answer = cli("fork", "s1", "--as", "new", *edit)
    assert (answer.code, answer.rows[-1]) == (0, ['"m said 4"'])
    assert len(refunds) == 3
    assert cli("diff", "new").rows[0][5:] == ["outcome.result.amount", "4999", "1"]


def test_another_input_and_on(cli, recorded, store):
    edit = ["fork", "s1", "--run", recorded["support"], "--json", "--set-input"]
    for number, given in enumerate(['"why?"', '{"question": "why?", "urgent": true}']):
        answer = cli(*edit, given, "--as", f"new-{number}")
        assert (answer.code, answer.data["result"], answer.data["at"]) == (0, "m said 4", 1)
        with Client(store) as client:
            run = client.session(f"new-{number}").state().run
            assert run is not None
            assert run.arguments == {"question": "why?", **({"urgent": True} if number else {})}
    refused = cli(*edit, "3", "--as", "new")
    assert refused.code == 2
    assert "is a number, and what was recorded is a text" in refused.error["message"]
    assert cli(*edit, "3", "--as", "new", "--untyped").code == 0


def test_another_message_and_on(cli, recorded, store):
    with Client(store) as client:
        said = client.session("chat").append("message", {"role": "user", "parts": [{"type": "text", "text": "A1"}]})
    edit = [f"{said.index}=" + json.dumps("A7"), "--run", recorded["anew"]]
    answer = cli("fork", "chat", "--as", "chat-b", "--set-message", *edit)
    assert (answer.code, answer.rows[-1]) == (0, ['"A7"'])
    assert cli("diff", "chat-b", "--messages").code == 1
    for wrong, code in (("0=1", 3), (f"{said.index}=1", 2), ("x=1", 2), (f'{said.index}={{"role": 1}}', 2)):
        answer = cli("fork", "chat", "--as", "chat-c", "--set-message", wrong)
        assert (answer.code, answer.out) == (code, "")


def test_edits_that_mean_nothing(cli, recorded, store):
    with Client(store) as client:
        client.session("chat").append("message", {"role": "user", "parts": []})
    run = ["--run", recorded["support"]]
    for arguments, code in (
        (["s1", "--set-input", '"x"'], 2),
        (["s1@3", "--set-input", '"x"', *run], 2),
        (["s1", "--set-input", '"x"', "--set-message", '1="x"', *run], 2),
        (["s1", "--set-outcome", "step:1=3"], 2),
        (["s1", "--run", "nothing:here"], 2),
        (["chat", "--set-input", "1", *run], 3),
    ):
        answer = cli("fork", arguments[0], "--as", "new", *arguments[1:])
        assert (answer.code, answer.out) == (code, ""), arguments
