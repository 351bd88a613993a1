"""`diff` and `tree`: what differs between sessions, and which came from which."""

from __future__ import annotations

import json
import re

import pytest
from cli_kit import EVIL

from agentstream import Client, agent, step
from agentstream.sessions.prices import price_of, prices_from

SGR = re.compile(r"\x1b\[\d+m")


@pytest.mark.usefixtures("recorded")
def test_a_branch_beside_what_it_was_forked_from(cli):
    for arguments in (["s1-b"], ["s1-b", "--parent"], ["s1", "s1-b"]):
        answer = cli("diff", *arguments)
        assert answer.code == 1
        assert answer.rows == [
            ["different_output", "step:1", "step:1", "tool", "lookup", "outcome.result.amount", "4999", "7"],
            ["different_args", "step:2", "step:2", "model", "model", "input.messages[3].content", '"4999"', '"7"'],
            ["different_args", "step:3", "step:3", "tool", "refund", "input.amount", "4999", "7"],
        ]
    data = cli("diff", "s1-b", "--json").data
    assert (data["left"], data["right"], data["identical"]) == ("s1", "s1-b", False)
    assert data["differences"][0]["diff"] == [
        {"op": "replace", "path": "/outcome/result/amount", "value": 7, "was": 4999}
    ]
    assert cli("diff", "s1-b", "--jsonl").lines[0]["difference"] == "different_output"


@pytest.mark.usefixtures("recorded")
def test_the_same_is_exit_code_0(cli):
    for by in ("--steps", "--messages", "--state"):
        answer = cli("diff", "s1", "s1", by)
        assert (answer.code, answer.out) == (0, "")
    assert cli("diff", "s1", "s1", "--json").data["identical"] is True
    assert [row[0] for row in cli("diff", "s1", "s1", "--all").rows] == ["same"] * 4
    assert cli("diff", "s1-b@step:1", "s1@step:1").code == 0


@pytest.mark.usefixtures("recorded")
def test_by_cuts_and_by_state(cli):
    answer = cli("diff", "s1@step:2", "s1")
    assert [row[0] for row in answer.rows] == ["extra_call", "extra_call"]
    assert cli("diff", "s1", "s1@step:3").rows[0][:5] == ["missing_call", "step:3", "", "tool", "refund"]
    rows = cli("diff", "s1-b", "--state").rows
    assert ["replace", "/steps/1/outcome/result/amount", "4999", "7"] in rows
    ignoring = cli("diff", "s1-b", "--state", "--ignore", "/steps", "--ignore", "runs")
    assert [row for row in ignoring.rows if row[1].startswith(("/steps", "/runs"))] == []


@pytest.mark.usefixtures("recorded")
def test_what_differs_only_in_what_is_ignored_is_the_same(cli):
    paths = "outcome.result.amount", "/input/messages/3", "input.amount", "outcome.result"
    for ignored in range(3):
        given = [option for path in paths[:ignored] for option in ("--ignore", path)]
        answer = cli("diff", "s1-b", *given)
        assert (answer.code, len(answer.rows)) == (1, 3 - ignored)
    assert cli("diff", "s1-b", *(option for path in paths for option in ("--ignore", path))).code == 0
    assert cli("diff", "s1-b", "--ignore", "outcome.res").code == 1, "a path is whole parts"
    assert cli("diff", "s1-b", "--messages", "--ignore", "x").code == 2


def test_by_messages(cli, store):
    with Client(store) as client:
        for name, texts in (("a", ["hi", "there"]), ("b", ["hi", "you", "there"])):
            for text in texts:
                client.session(name).append("message", {"role": "user", "parts": [{"type": "text", "text": text}]})
    rows = cli("diff", "a", "b", "--messages").rows
    assert [row[:4] for row in rows] == [["added", "", "1", "user"]]
    assert json.loads(rows[0][5])["parts"][0]["text"] == "you"
    assert cli("diff", "a", "b", "--messages", "--json").data["differences"][0]["right"] == 1


WRONG = [
    (["s1"], 3),
    (["s1", "--parent"], 3),
    (["nothing", "s1"], 3),
    (["s1", "s1-b", "--parent"], 2),
    (["s1", "s1-b", "--steps", "--state"], 2),
    (["s1@999", "s1-b"], 3),
    (["support/4", "s1"], 2),
]


@pytest.mark.usefixtures("recorded")
def test_what_cannot_be_compared(cli):
    for arguments, code in WRONG:
        answer = cli("diff", *arguments)
        assert (answer.code, answer.out) == (code, ""), arguments
        assert answer.err.startswith("error: ")


@pytest.mark.usefixtures("recorded")
def test_the_family_of_a_session(cli, store):
    with Client(store) as client:
        client.session("s1-b").fork("s1-c", 9)
    rows = cli("tree", "s1-c").rows
    assert [row[:5] for row in rows] == [
        ["0", "s1", "root", "", "finished"],
        ["1", "s1-b", "fork", "7", "finished"],
        ["2", "s1-c", "fork", "9", "abandoned"],
    ]
    assert rows[1][7:] == ["step:1", "outcome.result.amount"]
    assert [row[1] for row in cli("tree", "s1", "--depth", "1").rows] == ["s1", "s1-b"]
    every = cli("tree", "--json").data
    assert {root["id"] for root in every} == {"s1", "support/42", "rewound"}
    assert cli("tree", "s1", "--json").data[0]["branches"][0]["branches"][0]["id"] == "s1-c"
    assert [line["depth"] for line in cli("tree", "s1", "--jsonl").lines] == [0, 1, 2]
    assert cli("tree", "nothing").code == 3


def test_a_price_is_of_a_model_and_its_versions_alone():
    prices = prices_from({"own": {"input": 3, "output": 1}})
    assert all(price_of(name, prices) for name in ("own", "own-1", "x/own-2024-08-06", "own@20250101", "own-latest"))
    assert not any(price_of(name, prices) for name in ("own-audio-preview", "owner", "own-pro", "gpt-5.5", "ow"))


def test_costs_by_the_users_prices(cli, store, tmp_path):
    from agentstream import adapters

    def paid() -> None:
        call = adapters.open_step("model", "POST /x", {})
        call.finish("ok", usage={"input_tokens": 1_000_000, "output_tokens": 0, "model": "own-1"})

    with Client(store) as client:
        client.session("paid").run(paid)
    assert cli("tree", "paid").rows[0][6] == ""
    prices = tmp_path / "prices.json"
    prices.write_text('{"own": {"input": 3, "output": 1}}')
    assert cli("tree", "paid", "--prices", str(prices)).rows[0][6] == "3.000000"
    prices.write_text('{"own": 3}')
    assert cli("tree", "paid", "--prices", str(prices)).code == 2
    assert cli("tree", "paid", "--prices", "/nowhere/at/all").code == 2


def test_replies_that_are_blocks_differ_by_what_they_said(cli, store):
    from agentstream import adapters

    def asks(*replies: tuple[bytes, str]) -> None:
        for block, text in replies:
            call = adapters.open_step("model", "POST /x", {"ask": 1})
            call.emit("message", {"role": "assistant", "id": str(block), "parts": [{"type": "text", "text": text}]})
            call.finish({"status": 200, "zlib/1": block, "texts": {"0": text}})

    with Client(store) as client:
        client.session("one").run(lambda: asks((b"a", "yes"), (b"b", "yes")))
        client.session("two").run(lambda: asks((b"c", "yes"), (b"d", "no")))
        client.session("mute").run(lambda: adapters.open_step("model", "POST /x", {"ask": 1}).finish({"x": b"c"}))
    (row,) = cli("diff", "one", "two").rows
    said = "outcome.said[0].parts[0].text"
    assert row == ["different_output", "step:1", "step:1", "model", "POST /x", said, '"yes"', '"no"']
    assert cli("diff", "one", "mute").rows[0][5] == "outcome.result.status", "who said nothing is compared as it is"


@pytest.mark.usefixtures("recorded")
def test_on_a_terminal(terminal):
    shown = terminal("diff", "s1-b", PAGER="")
    assert "\x1b[33m~ step:1" in shown
    assert "\x1b[32m      + 7\x1b[0m" in shown
    assert "\x1b" not in terminal("diff", "s1-b", NO_COLOR="1")
    lines = SGR.sub("", terminal("tree", "s1-b")).splitlines()
    assert lines[0].split()[0] == "session"
    assert lines[2].startswith("└─ s1-b")
    assert "(this one)" in lines[2]
    assert all(len(line) <= 100 for line in lines)


def test_hostile_content_obeys_nobody(terminal, cli, store):
    """Escapes, marks that turn text round, HTML and 5 MB of it, in names, inputs and results."""
    evil = EVIL + "<script>alert(1)</script>```\n# no heading"

    @step(name=evil)
    def look(text: str) -> str:
        return text * 100_000 if text == evil else text

    @agent
    def talk(text: str) -> str:
        return look(text)

    with Client(store) as client:
        session = client.session("evil")
        session.append("message", {"role": "user", "parts": [{"type": "text", "text": evil}]})
        session.run(talk, evil)
        session.fork("evil-b", replace={session.state().steps[0].key: evil})
        session.label(evil, {"tag": evil})
    for arguments in (["diff", "evil-b"], ["diff", "evil-b", "--state"], ["tree", "evil"]):
        for shown in (SGR.sub("", terminal(*arguments)), cli(*arguments).out, cli(*arguments, "--json").out):
            assert not {"\x1b", "\u202e", "\x9b"} & set(shown)
    written = cli("export", "evil", "--format", "markdown").out
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "9.4 MB" in written
    outside, fence = [], ""
    for line in written.splitlines():
        ticks = re.match(r"`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif ticks:
            fence = ticks[0]
        else:
            outside.append(line)
    plain = re.sub(r"(`+).*?\1", "", "\n".join(outside).replace("\\`", "").replace("\\<", ""))
    assert "<script" not in plain
    assert "# no heading" not in outside
