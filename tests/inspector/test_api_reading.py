"""What the page reads: sessions, rows, events, states, trees and comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import worlds
from inspector_kit import Page, looked
from worlds import EVIL

from agentstream import Client
from agentstream.sessions.events import write_event


def test_what_it_says_of_itself(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        about = await page.get("about")
        assert about["schema"] == "agentstream/inspector/1"
        assert about["store"] == str(recorded_store)
        assert (about["readOnly"], about["lists"], about["start"]) == (False, True, None)

    looked(recorded_store, test)


def test_sessions_are_searched_filtered_sorted_and_paged(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        every = await page.get("sessions")
        assert every["total"] == len(every["sessions"]) == sum(every["counts"].values())
        desk = next(each for each in every["sessions"] if each["id"] == "support/42")
        assert desk["title"] == "Where is order A1?"
        assert desk["status"] == "finished"
        assert desk["tags"] == {"customer": "ada", "env": "prod"}
        found = await page.get("sessions", q="SUPPORT/42", sort="id")
        assert [each["id"] for each in found["sessions"]] == [
            "support/42",
            "support/42-b",
            "support/42-b-2",
            "support/42-c",
        ]
        assert [each["id"] for each in (await page.get("sessions", q="order a1?"))["sessions"]] != []
        failed = await page.get("sessions", status="failed,waiting", sort="id")
        assert [each["id"] for each in failed["sessions"]] == ["crawler", "support/43"]
        assert failed["counts"] == every["counts"]
        assert [each["id"] for each in (await page.get("sessions", agent="clerk"))["sessions"]] == ["support/43"]
        assert [each["id"] for each in (await page.get("sessions", text="repository"))["sessions"]] == ["chat"]
        assert len((await page.get("sessions", offset=2, limit=3))["sessions"]) == 3

    looked(recorded_store, test)


def test_every_event_is_a_row(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        head, *rows, ready = await page.rows("chat")
        with Client(recorded_store) as client:
            events = list(client.session("chat").events())
        assert [(row[0], row[1], row[13]) for row in rows] == [(e.index, e.type, len(e.raw)) for e in events]
        assert all(len(row) == 17 for row in rows)
        assert ready == {"ready": len(events)}
        assert head["head"]["events"] == len(events)
        assert head["head"]["input_tokens"] == 812 + 901
        assert abs(head["head"]["cost"] - (1713 * 2.5 + 154 * 10) / 1_000_000) < 1e-12
        model = [row for row in rows if row[1] == "outcome" and row[2] == "model"]
        assert [row[10:12] for row in model] == [[812, 34], [901, 120]]
        assert [row[5] for row in rows if row[1] == "step"] == [0, 1, 2]

    looked(recorded_store, test)


def test_rows_from_an_index_on(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        head, *rows, _ = await page.rows("chat")
        name = head["head"]["incarnation"]
        assert (await page.rows("chat", after=5, incarnation=name))[1:-1] == rows[5:]
        assert await page.rows("chat", after=5, incarnation="another") == [
            head,
            {"reset": 0},
            *rows,
            {"ready": len(rows)},
        ]
        assert (await page.rows("chat", after=len(rows) + 1))[1] == {"reset": 0}

    looked(recorded_store, test)


def test_rows_say_what_does_not_count_and_where_forks_begin(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        marked = [row for row in (await page.rows("rewound"))[1:-1] if row[14] is not None]
        assert marked
        assert {row[14] for row in marked} == {"rewound"}
        with Client(recorded_store) as client:
            counts = [client.session(name).state().inherited for name in ("support/42-b", "support/42-c")]
        forked = {row[0] + 1: row[15] for row in (await page.rows("support/42"))[1:-1] if row[15]}
        assert forked == dict.fromkeys(counts, 1)

    looked(recorded_store, test)


def test_an_event_tells_all_of_its_step(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        rows = (await page.rows("support/42"))[1:-1]
        outcome = next(row for row in rows if row[1] == "outcome" and row[3] == "lookup_order")
        event = await page.event("support/42", outcome[0])
        assert event["row"] == outcome
        step = event["step"]
        assert (step["name"], step["status"], step["effect"]) == ("lookup_order", "finished", "repeat")
        assert step["input"] == {"order_id": "A1"}
        assert step["result"]["amount"] == 4999
        assert step["attempts"] == [{"number": 1, "start": 6, "outcome": 7, "status": "finished", "error": None}]
        assert [fork["id"] for fork in (await page.event("support/42", outcome[0] - 1))["forks"]] == ["support/42-b"]
        assert event["forkable"]["edits"] == [
            {"kind": "outcome", "step": 0, "value": step["result"], "cut": False, "at": outcome[0]}
        ]
        failed = next(row for row in rows if row[1] == "outcome" and row[3] == "flaky")
        assert (await page.event("support/42", failed[0]))["step"]["error"]["name"] == "ConnectionError"
        run = await page.event("support/42", next(row[0] for row in rows if row[1] == "run"))
        assert run["run"]["arguments"] == {"question": "Where is order A1?"}
        assert run["forkable"]["edits"][0]["kind"] == "input"

    looked(recorded_store, test)


def test_messages_are_told_as_people_read_them(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        rows = (await page.rows("chat"))[1:-1]
        step = next(row for row in rows if row[1] == "step" and row[2] == "model")
        said = (await page.event("chat", step[0]))["message"]
        assert said["role"] == "assistant"
        assert said["parts"] == [
            {"type": "reasoning", "text": "I should look."},
            {"type": "tool_call", "id": "call_1", "name": "list_files", "arguments": {"path": "."}},
        ]
        user = await page.event("chat", next(row[0] for row in rows if row[1] == "message"))
        assert user["message"]["parts"] == [{"type": "text", "text": "What is in this repository?"}]
        assert user["forkable"]["edits"][0]["kind"] == "message"

    looked(recorded_store, test)


def test_the_state_at_every_cut(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        size = len(await page.rows("support/42")) - 2
        for at in range(size + 1):
            told = await page.get("state", session="support/42", at=at)
            assert told["at"] == at
        assert (await page.get("state", session="support/42"))["at"] == size
        assert (await page.get("state", session="support/42", at=7))["steps"] == {"total": 1, "running": 1}
        told = await page.get("state", session="support/42", at=8)
        assert {"op": "remove", "path": "/steps/running", "was": 1} in told["diff"]
        waits = await page.get("state", session="support/43")
        assert (waits["status"], len(waits["open"])) == ("waiting", 1)
        rewound = await page.get("state", session="rewound", at=9)
        assert rewound["steps"]["total"] > (await page.get("state", session="rewound"))["steps"]["total"]

    looked(recorded_store, test)


def test_what_was_said_stands_in_messages_requests_and_results(store: Path) -> None:
    call = {"type": "tool_call", "id": "c1", "name": "look", "arguments": '{"at": 7}'}
    asked = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is A1?"}]}
    with Client(store) as client:
        client.session("loop").append("note", {"n": 1})
        step = {"kind": "model", "name": "m", "input": asked, "fingerprint": "f"}
        tool = {"kind": "tool", "name": "look", "input": {"id": "c1"}, "fingerprint": "t"}
        events = [
            *worlds.begun("r1", "support", {}),
            write_event("step", "r1/0/0#1", step, claim=1),
            write_event("message", "r1/0/0#1/m", {"id": "same", **worlds.said("assistant", call)}, claim=1),
            write_event("outcome", "r1/0/0#1", {"result": {}}, claim=1),
            write_event("step", "r1/0/1#1", tool, claim=1),
            write_event("outcome", "r1/0/1#1", {"result": "lost"}, claim=1),
            write_event("step", "r1/0/2#1", {"kind": "model", "name": "m", "input": {}, "fingerprint": "f"}, claim=1),
            # some give all their answers one id
            write_event("message", "r1/0/2#1/m", {"id": "same", **worlds.said("assistant", "It is lost.")}, claim=1),
        ]
        worlds.write(client, "loop", events)

    async def test(page: Page) -> None:
        whole = await page.get("conversation", session="loop", at=12)
        told = [(each["index"], each["role"], each["parts"][0]) for each in whole["messages"]]
        assert [(index, role) for index, role, _ in told] == [
            (None, "system"),
            (5, "user"),
            (6, "assistant"),
            (9, "tool"),
            (11, "assistant"),
        ]
        assert told[1][2]["text"] == "Where is A1?"
        assert told[2][2]["name"] == "look"
        assert told[3][2]["result"] == "lost"
        assert told[4][2]["text"] == "It is lost."
        latest = await page.get("conversation", session="loop", at=12, last=2)
        assert (latest["total"], latest["messages"]) == (5, whole["messages"][3:])
        assert (await page.get("conversation", session="loop", at=5))["total"] == 0
        await page.get("conversation", session="loop", at=13, fails=404)

    looked(store, test)


def test_rows_say_what_people_can_read(store: Path) -> None:
    packed = {"t": "msgpack", "z": "O76NdQo5wb8G2SJKooIYR2LzKAA="}
    result = {"role": "tool", "parts": [{"type": "tool_result", "id": "c", "content": "it is lost"}]}
    node = {"kind": "node", "name": "tools", "result": None, "kept": "g1h4Uw3Z"}
    checkpoint = {"step": 1, "ns": "team:1", "head": "wxodE4kM", "values": {"words": {"v": ["a"]}, "__m": packed}}
    told = [
        ("message", "m", result, "it is lost"),
        ("step", "g1/0/3#1", node, ""),
        ("checkpoint", "1f", checkpoint, 'step 1, ns team:1, words: ["a"]'),
        ("write", "1.w1", {"kept": "a1lS", "values": {"0": {"v": ["b"]}, "1": packed}}, '["b"]'),
        ("custom", "c", {"data": {"at work": 1}}, '{"at work": 1}'),
        ("answer", "a", {"question": "q", "value": True, "by": "ada"}, "true by ada"),
    ]
    with Client(store) as client:
        client.session("graph").append("note", {"n": 1})
        events = [write_event(kind, key, value, claim=1) for kind, key, value, _ in told]
        worlds.write(client, "graph", [write_event("claim", "1.n", {"nonce": "n"}, claim=1), *events])

    async def test(page: Page) -> None:
        _, *rows = await page.rows("graph")
        assert [row[16] for row in rows[3:-1]] == [text for *_, text in told]

    looked(store, test)


def test_the_tree_of_a_family(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        (root,) = (await page.get("tree", session="support/42-b-2"))["roots"]
        assert root["id"] == "support/42"
        assert [(each["id"], each["relation"]) for each in root["branches"]] == [
            ("support/42-b", "fork"),
            ("support/42-c", "fork"),
        ]
        first = root["branches"][0]
        assert first["difference"]["path"] == "outcome.result.status"
        assert [each["id"] for each in first["branches"]] == ["support/42-b-2"]

    looked(recorded_store, test)


def test_two_sessions_are_compared(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        against = await page.get("compare", left="support/42-b")
        given = await page.get("compare", left="support/42", right="support/42-b")
        assert against == given
        assert given["identical"] is False
        number = given["first"]
        kind, left, right, *_ = given["pairs"][number]
        assert (kind, left, right) == ("different_output", 0, 0)
        pair = await page.get("compare/pair", left="support/42", right="support/42-b", n=number)
        assert {"op": "replace", "path": "/outcome/result/status", "value": "sent", "was": "lost"} in pair["diff"]
        assert pair["left"]["outcome"]["result"]["amount"] == 4999
        assert (await page.get("compare", left="support/42", right="support/42"))["identical"] is True
        assert (await page.get("compare", left="support/42@4", right="support/42"))["left"]["at"] == 4
        said = await page.get("compare", left="chat", right="support/42", by="messages")
        assert said["pairs"][0][0] == "changed"
        changes = await page.get("compare", left="support/42", right="support/42-b", by="state")
        assert changes["differences"]

    looked(recorded_store, test)


def test_what_is_not_there_is_said(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        for path, parameters, status, code in (
            ("rows", {"session": "nobody"}, 404, "not_found"),
            ("rows", {}, 400, "invalid"),
            ("rows", {"session": "~x"}, 400, "invalid"),
            ("rows", {"session": "chat", "after": "-1"}, 400, "invalid"),
            ("events", {"session": "chat", "at": "10000"}, 404, "not_found"),
            ("events", {"session": "chat", "at": "x"}, 400, "invalid"),
            ("events", {"session": "chat", "at": ",".join(map(str, range(101)))}, 400, "invalid"),
            ("state", {"session": "chat", "at": "10000"}, 404, "not_found"),
            ("raw", {"session": "chat", "at": "10000"}, 404, "not_found"),
            ("value", {"session": "chat", "at": "1", "path": "/none"}, 404, "not_found"),
            ("compare", {"left": "chat"}, 400, "invalid"),
            ("compare", {"left": "chat", "right": "nobody"}, 404, "not_found"),
            ("compare", {"left": "chat", "right": "chat", "by": "size"}, 400, "invalid"),
            ("compare/pair", {"left": "chat", "right": "chat", "n": "999"}, 404, "not_found"),
            ("sessions", {"sort": "size"}, 400, "invalid"),
            ("tree", {"session": "nobody"}, 404, "not_found"),
            ("export", {"session": "chat", "format": "pdf"}, 400, "invalid"),
            ("jobs", {"job": "none"}, 404, "not_found"),
            ("nothing", {}, 404, "not_found"),
        ):
            error = await page.get(path, fails=status, **parameters)
            assert error["code"] == code, (path, parameters, error)

    looked(recorded_store, test)


def test_a_hostile_session_is_told_as_data(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        rows = (await page.rows("hostile"))[1:-1]
        assert all(len(str(row[16])) <= 120 and len(str(row[3])) <= 120 for row in rows)
        for row in rows:
            event = await page.event("hostile", row[0])
            assert event["row"] == row
            assert len(json.dumps(event)) < 1_000_000
            await page.get("raw", session="hostile", at=row[0])
        assert (await page.get("state", session="hostile"))["at"] == len(rows)
        secret = await page.event("hostile", rows[-1][0])
        assert secret["redacted"] == ["/password", "/t"]
        deep = await page.event("hostile", next(row[0] for row in rows if row[1] == "deep"))
        assert deep["cuts"][0]["kind"] == "deep"
        odd = await page.event("hostile", next(row[0] for row in rows if row[1] == "odd"))
        assert odd["value"] == {"n": 123456789012345678901234567890}

    looked(recorded_store, test)


def test_large_values_are_cut_and_given_whole_when_asked_for(store: Path) -> None:
    text, many = "x" * 30_000, list(range(2_000))
    with Client(store) as client:
        event = client.session("cut").append("note", {"text": text, "many": many, "a/b~c": text})

    async def test(page: Page) -> None:
        told = await page.event("cut", event.index)
        cuts = {cut["path"]: cut for cut in told["cuts"]}
        assert cuts["/text"] == {"path": "/text", "kind": "text", "size": 30_000, "shown": 20_000}
        assert cuts["/many"] == {"path": "/many", "kind": "list", "size": 2_000, "shown": 500}
        assert told["value"]["text"] == text[:20_000]
        for path, whole in (("/text", text), ("/many", many), ("/a~1b~0c", text)):
            assert await page.get("value", session="cut", at=event.index, path=path) == {"value": whole}
        rows = (await page.rows("hostile"))[1:-1]
        big = next(row[0] for row in rows if row[1] == "big.text")
        told = await page.event("hostile", big)
        begins = (EVIL + "x" * 20_000).encode()[:20_000].decode()
        assert told["cuts"] == [
            {
                "path": "",
                "kind": "blob",
                "size": len((EVIL + "x" * 5_000_000).encode()),
                "shown": len(begins),
                "begins": begins,
            }
        ]
        whole = await page.get("value", session="hostile", at=big, path="")
        assert whole == {"value": EVIL + "x" * 5_000_000}

    looked(store, test)


def test_a_step_of_a_model_names_it_and_tells_what_was_said_last(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        rows = [row for row in (await page.rows("chat"))[1:-1] if row[2] == "model"]
        told = [(row[1], row[3], row[16].partition("\n")[0]) for row in rows]
        assert told == [
            ("step", "gpt-4o", "user: What is in this repository?"),
            ("outcome", "gpt-4o", 'I should look. list_files({"path": "."})'),
            ("step", "gpt-4o", "user: And?"),
            ("outcome", "gpt-4o", "Three things:"),
        ]

    looked(recorded_store, test)


def test_the_list_says_what_sessions_cost_and_what_failed(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        listed = {each["id"]: each for each in (await page.get("sessions"))["sessions"]}
        chat = (await page.rows("chat"))[0]["head"]
        for name in ("cost", "input_tokens", "output_tokens"):
            assert listed["chat"][name] == chat[name] > 0
        assert listed["support/42"]["cost"] == 0
        assert {name: each["failures"] for name, each in listed.items() if each["failures"]} == {
            "support/42": 1,
            "support/42-b": 1,
            "support/42-c": 1,
            "crawler": 1,
            "hostile": 1,
        }
        page.inspector.prices = {}
        listed = {each["id"]: each for each in (await page.get("sessions"))["sessions"]}
        assert listed["chat"]["cost"] is None

    looked(recorded_store, test)


def test_a_question_is_told_with_its_answers(recorded_store: Path) -> None:
    async def test(page: Page) -> None:
        rows = (await page.rows("support/43"))[1:-1]
        asked: dict[str, Any] = (await page.event("support/43", next(r[0] for r in rows if r[1] == "question")))[
            "question"
        ]
        assert asked["prompt"] == "Refund 12.50 USD for order B2?"
        assert asked["choices"] == ["yes", "no"]
        assert (asked["status"], asked["answer"]) == ("open", None)

    looked(recorded_store, test)
