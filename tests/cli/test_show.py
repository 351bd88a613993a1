from __future__ import annotations

import json

import pytest
from worlds import begun, write

from agentstream import Client
from agentstream.sessions.events import write_event

TYPES = [
    *("session", "message", "claim", "run", "status"),
    *("step", "outcome") * 3,
    *("outcome", "status", "note.taken"),
]


def column(answer, number):
    return [row[number] for row in answer.rows]


def test_every_event_is_a_line_of_ten_columns(cli):
    answer = cli("show", "support/42")
    assert answer.code == 0
    assert column(answer, 0) == [str(n) for n in range(14)]
    assert column(answer, 1) == TYPES
    assert {len(row) for row in answer.rows} == {10}
    assert answer.rows[6][2:6] == ["step:0", "function", "lookup", "finished"]
    assert answer.rows[6][6].isdecimal()
    assert answer.rows[10][5] == "failed"
    assert answer.rows[10][9].startswith("ValueError: no order 99")
    assert answer.rows[1][9].startswith("hi \\e[2J\\e]0;owned\\x07\\tthere\\r\\nline \\u202etxt.exe \\x9b31m 日本")


@pytest.mark.parametrize(
    ("arguments", "indices"),
    [
        (["support/42@3"], [0, 1, 2]),
        (["support/42@~11"], [0, 1, 2]),
        (["support/42@start"], []),
        (["support/42@end", "--from", "12"], [12, 13]),
        (["support/42", "--from", "~1"], [13]),
        (["support/42", "--from", "step:1", "--to", "step:2"], [7, 8]),
        (["support/42@step:0"], [0, 1, 2, 3, 4]),
        (["support/42", "--to", "2", "--reverse"], [1, 0]),
        (["support/42", "--kind", "message,claim"], [1, 2]),
        (["support/42", "--kind", "function", "--kind", "run"], [3, 5, 6, 7, 8, 9, 10]),
        (["support/42", "--errors-only"], [9, 10]),
        (["support/42", "--name", "refused"], [9, 10]),
    ],
)
def test_choosing(cli, arguments, indices):
    answer = cli("show", *arguments)
    assert answer.code == 0
    assert [int(row[0]) for row in answer.rows] == indices


def test_marks(cli):
    rows = cli("show", "rewound").rows
    assert {row[8] for row in rows[5:10]} == {"rewound"}
    assert {row[8] for row in rows[:5]} == {""}
    kept, taken_back = rows[4], rows[5]
    assert kept[1:6] == ["step", "step:0", "function", "lookup", "unfinished"]
    assert taken_back[1:6] == ["outcome", "", "function", "lookup", "finished"]
    events = cli("show", "rewound", "--json").data["events"]
    assert [event["index"] for event in events if event.get("mark") == "rewound"] == list(range(5, 10))


def test_json_gives_the_recorded_values(cli, store):
    data = cli("show", "support/42", "--json").data
    assert (data["session"], data["status"], data["sealed"], data["size"]) == ("support/42", "finished", False, 14)
    with Client(store) as client:
        events = list(client.session("support/42").events())
    for shown, event in zip(data["events"], events, strict=True):
        assert (shown["index"], shown["type"], shown["key"]) == (event.index, event.type, event.key)
        assert shown["position"] == str(event.position)
        if event.type != "note.taken":
            assert shown["value"] == event.value
    assert data["events"][13]["value"] == {"bytes": {"$bytes": "eA=="}, "whole": {"$float": "1.0"}}
    assert data["events"][6]["status"] == "finished"
    assert cli("show", "support/42", "--jsonl").lines == data["events"]


def test_raw_is_what_is_stored(cli, store):
    with Client(store) as client:
        stored = [json.loads(event.raw) for event in client.session("support/42").events()]
    assert cli("show", "support/42", "--raw").lines == stored


def test_max_chars_and_full(cli, store):
    with Client(store) as client:
        client.session("long").append("custom", {"text": "x" * 5000})
    assert len(cli("show", "long").rows[1][9]) > 5000
    cut = cli("show", "long", "--max-chars", "20").rows[1][9]
    assert cut.startswith('{"text": "xxxxx')
    assert "characters)" in cut
    assert len(cut) < 60
    assert cli("show", "long", "--max-chars", "0").code == 2


def test_full_resolves_lists_that_are_stored_once(cli, store):
    from agentstream import agent, step

    history = [{"role": "user", "content": f"turn {n} " + "word " * 30} for n in range(20)]

    @step
    def model(messages: list[dict[str, str]]) -> int:
        return len(messages)

    @agent
    def talking() -> int:
        return model(history) + model(history)

    with Client(store) as client:
        client.session("talk").run(talking)
    steps = [event for event in cli("show", "talk", "--json", "--full").data["events"] if event["type"] == "step"]
    assert [event["value"]["input"]["messages"] for event in steps] == [history, history]
    assert "$items" in cli("show", "talk", "--kind", "step").out


def test_state(cli):
    state = cli("show", "support/42", "--state", "--json").data
    assert (state["index"], state["status"]) == (14, "finished")
    assert [step["status"] for step in state["steps"]] == ["finished", "finished", "failed"]
    assert [step["step"] for step in state["steps"]] == [0, 1, 2]
    assert state["runs"][0]["arguments"] == {"orders": 2}
    assert state["messages"][0]["role"] == "user"
    assert cli("show", "support/42-b", "--state", "--json").data["lineage"]["source"] == "support/42"
    rows = cli("show", "support/42", "--state").rows
    assert ["status", "finished"] in rows
    assert ["steps", "1", "failed"] in rows


def test_state_at_a_cut_is_what_it_was_then(cli):
    state = cli("show", "support/42@7", "--state", "--json").data
    assert [step["status"] for step in state["steps"]] == ["finished"]
    assert state["index"] == 7
    before = cli("show", "rewound@9", "--state", "--json").data
    assert len(before["steps"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["support/42", "-f", "--reverse"],
        ["support/42@3", "--to", "4"],
        ["support/42@3", "-f"],
        ["support/42", "--raw", "--state"],
        ["support/42", "--state", "--from", "2"],
        ["support/42", "--from", "5", "--to", "3"],
        ["support/42", "--from", "soon"],
        ["support/42", "--from", "-1"],
    ],
)
def test_what_does_not_go_together_is_refused(cli, arguments):
    answer = cli("show", *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("error: ")


def test_places_that_are_not_there(cli):
    for place in ("15", "step:3", "999999999999999"):
        answer = cli("show", f"support/42@{place}", "--json")
        assert answer.code == 3
        assert answer.error["code"] == "not_found"
    assert cli("show", "support/42@~500").rows == []


def test_any_message_can_be_shown(cli, store):
    """Somebody may append anything to a stream; it is shown, not choked on."""
    from agentstream.protocol.operations import Append

    odd = [
        b'"a text"',
        b"[1,2]",
        b'{"type":7}',
        b'{"type":"message","key":"k","value":"no mapping","headers":{"operation":"insert"}}',
        b'{"type":"message","key":"l","value":{"role":["x"],"parts":[1,{"text":5}]},"headers":{"operation":"insert"}}',
        b'{"type":"outcome","key":"a/0/0#1","value":{"error":"x","usage":[1]},"headers":{"timestamp":5},"x":1}',
        b'{"type":"session","key":"m","value":{"lineage":{"source":3}},"headers":{"operation":"insert"}}',
        b'{"type":"step","key":"a/0/0#1","value":null,"headers":null}',
        b'{"type":"custom","key":"n","value":' + b"[" * 390 + b"]" * 390 + b"}",
        b'{"type":"wide","key":"\\u202e\\u0007","value":{"n":1234567890123456789012345678901234567890}}',
    ]
    with Client(store) as client:
        client.session("odd").append("custom", 1)
        client._core.backend.execute(Append("odd", tuple(odd)))
    for arguments in ([], ["--full"], ["--json"], ["--jsonl", "--full"], ["--raw"], ["--state"], ["--state", "--json"]):
        answer = cli("show", "odd", *arguments)
        assert (answer.code, answer.err) == (0, ""), arguments
    assert len(cli("show", "odd").rows) == 2 + len(odd)
    assert len(cli("show", "odd", "--raw").out.splitlines()) == 2 + len(odd)


def test_a_step_of_a_model_is_told_by_its_model_and_last_message(cli, store):
    request = {"model": "gpt-4o", "input": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Where?"}]}
    asked = {"kind": "model", "name": "POST /v1/responses", "input": {"body": request}, "fingerprint": "f"}
    said = {"role": "assistant", "parts": [{"type": "text", "text": "Here."}]}
    with Client(store) as client:
        client.session("model").append("note", 1)
        events = [
            write_event("step", "r1/0/0#1", asked, claim=1),
            write_event("message", "r1/0/0#1/m0", said, claim=1),
            write_event("outcome", "r1/0/0#1", {"result": {"status": 200}}, claim=1),
        ]
        write(client, "model", [*begun("r1", "support", {}), *events])
    rows = [row for row in cli("show", "model").rows if row[3] == "model"]
    assert [(row[4], row[9]) for row in rows] == [
        ("POST /v1/responses", "gpt-4o: user: Where?"),
        ("POST /v1/responses", "gpt-4o: Here."),
    ]
