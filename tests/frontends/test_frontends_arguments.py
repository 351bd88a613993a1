"""A call's arguments are told as the model writes them, by the front ends' own readers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from frontends_kit import peers

from agentstream import Client, Session
from agentstream.frontends import AgUi, AiSdk, to_ag_ui, to_ai_sdk
from agentstream.protocol.operations import Append
from agentstream.sessions.events import write_event
from agentstream.sessions.ids import path_of

STEP = "r1/0/0#1"
ARGUMENTS = '{"order": "A1", "at": [1, 2]}'


def event(kind: str, key: str, value: dict[str, Any]) -> bytes:
    return write_event(kind, key, value, claim=1)


def begun() -> list[bytes]:
    status = write_event("status", "r1", {"status": "running"}, claim=1, operation="update")
    return [
        event("claim", "1.n", {"nonce": "n", "run": "r1"}),
        event("run", "r1", {"agent": "support", "arguments": {}, "fingerprint": "f"}),
        status,
        event("step", STEP, {"kind": "model", "name": "gpt", "input": {}, "fingerprint": "f"}),
    ]


def pieces(*texts: str, call: str = "c1", step: str = STEP, **first: str) -> list[bytes]:
    """The deltas of a call's arguments; `first` stands in the first of them."""
    told = [{"target": call, "kind": "args", "text": text, "attempt": 1} for text in texts]
    told[0] |= first
    return [event("delta", f"{step}/{call}{n}", value) for n, value in enumerate(told)]


def said(arguments: Any = ARGUMENTS, call: str = "c1", step: str = STEP) -> list[bytes]:
    """The message that closes them, and the model's end."""
    part = {"type": "tool_call", "id": call, "name": "look_up", "arguments": arguments}
    text = {"type": "text", "text": "Let me look."}
    return [
        event("message", f"{step}/m", {"id": "m1", "role": "assistant", "parts": [text, part]}),
        event("tool_call", f"{step}/1", {name: part[name] for name in ("id", "name", "arguments")}),
        event("outcome", step, {"result": {}}),
    ]


def text() -> bytes:
    return event("delta", f"{STEP}/t", {"target": "m1", "kind": "text", "text": "Let me look.", "attempt": 1})


def recorded(client: Client, name: str, *messages: bytes) -> Session:
    session = client.session(name)
    session.append("message", {"role": "user", "content": "Where is A1?"})
    client._core.backend.execute(Append(path_of(name), (*begun(), *messages)))
    return session


@pytest.fixture(scope="module")
def client() -> Any:
    with Client("memory:") as client:
        yield client


def ag_ui(session: Session) -> tuple[list[Any], list[Any]]:
    """What is sent of tools, and the messages that AG-UI's client has at the end."""
    events = list(to_ag_ui(session.events()))
    [made] = peers("ag-ui", stdin=[events])
    return [each for each in events if each["type"].startswith(("TOOL", "MESSAGES"))], made["messages"]


def ai_sdk(session: Session) -> tuple[list[Any], list[Any]]:
    """The chunks that are sent of tools, and the parts of the message that the AI SDK makes of them."""
    chunks = list(to_ai_sdk(session.events()))
    [made] = peers("ai-sdk", stdin=[chunks])
    assert made["errors"] == []
    return [each for each in chunks if each["type"].startswith("tool")], made["message"]["parts"]


def kinds(sent: list[Any]) -> list[str]:
    return [each["type"] for each in sent]


def call_in(messages: list[Any]) -> Any:
    [call] = [call for message in messages for call in message.get("toolCalls", ())]
    return call


def test_as_they_are_written(client: Client) -> None:
    live = pieces(ARGUMENTS[:5], ARGUMENTS[5:12], ARGUMENTS[12:], name="look_up", message="m1")
    session = recorded(client, "whole", text(), *live, *said())
    sent, messages = ag_ui(session)
    assert kinds(sent) == ["TOOL_CALL_START", *["TOOL_CALL_ARGS"] * 3, "TOOL_CALL_END"]
    assert (sent[0]["toolCallName"], sent[0]["parentMessageId"]) == ("look_up", "m1")
    assert "".join(each["delta"] for each in sent[1:4]) == ARGUMENTS
    [assistant] = [message for message in messages if message["role"] == "assistant"]
    assert assistant["content"] == "Let me look."
    assert call_in(messages)["function"] == {"name": "look_up", "arguments": ARGUMENTS}

    chunks, parts = ai_sdk(session)
    assert kinds(chunks) == ["tool-input-start", *["tool-input-delta"] * 3, "tool-input-available"]
    assert chunks[0]["toolName"] == "look_up"
    [part] = [part for part in parts if part["type"] == "tool-look_up"]
    assert (part["state"], part["input"]) == ("input-available", json.loads(ARGUMENTS))


def test_before_they_are_whole(client: Client) -> None:
    session = recorded(client, "half", text(), *pieces(ARGUMENTS[:20], name="look_up", message="m1"))
    sent, _ = ag_ui(session)
    assert kinds(sent) == ["TOOL_CALL_START", "TOOL_CALL_ARGS"]
    chunks, parts = ai_sdk(session)
    assert kinds(chunks) == ["tool-input-start", "tool-input-delta"]
    [part] = [part for part in parts if part["type"] == "tool-look_up"]
    assert (part["state"], part["input"]) == ("input-streaming", {"order": "A1"})


@pytest.mark.parametrize("arguments", [{"order": "A1", "at": [1, 2]}, '{"order":"A1","at":[1,2]}'])
def test_the_same_in_another_form(client: Client, arguments: Any) -> None:
    name = f"form/{type(arguments).__name__}"
    session = recorded(
        client, name, *pieces('{ "order": "A1", "at": [1, 2] }', name="look_up", message="m1"), *said(arguments)
    )
    sent, messages = ag_ui(session)
    assert kinds(sent) == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert json.loads(call_in(messages)["function"]["arguments"]) == json.loads(ARGUMENTS)
    _, parts = ai_sdk(session)
    assert next(part for part in parts if part["type"] == "tool-look_up")["input"] == json.loads(ARGUMENTS)


def test_what_was_told_is_put_right(client: Client) -> None:
    live = pieces('{"order": "B', name="look_up", message="m1")
    session = recorded(client, "otherwise", *live, *said())
    sent, messages = ag_ui(session)
    assert kinds(sent) == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "MESSAGES_SNAPSHOT"]
    assert call_in(messages)["function"]["arguments"] == ARGUMENTS


def test_an_attempt_that_failed_is_taken_back(client: Client) -> None:
    failed = event("outcome", STEP, {"error": {"name": "ConnectionError", "text": "cut"}})
    again = "r1/0/0#2"
    begins = event("step", again, {"kind": "model", "name": "gpt", "input": {}, "fingerprint": "f"})
    first = pieces(ARGUMENTS[:9], call="c0", name="look_up", message="m0")
    second = pieces(ARGUMENTS, step=again, name="look_up", message="m1")
    session = recorded(client, "again", *first, failed, begins, *second, *said(step=again))
    _, messages = ag_ui(session)
    assert call_in(messages)["id"] == "c1"
    _, parts = ai_sdk(session)
    assert [part["toolCallId"] for part in parts if part["type"].startswith("tool")] == ["c1"]


def test_a_run_that_breaks_off_in_a_call_goes_on(client: Client) -> None:
    """What was open is closed with the run, and what is said when it goes on stands in its place."""
    ends = write_event("status", "r1", {"status": "failed"}, claim=1, operation="update")
    goes_on = [
        write_event("claim", "2.m", {"nonce": "m", "run": "r1"}, claim=2),
        write_event("status", "r1", {"status": "running"}, claim=2, operation="update"),
        write_event("step", "r1/0/0#2", {"kind": "model", "name": "gpt", "input": {}, "fingerprint": "f"}, claim=2),
        write_event(
            "message",
            "r1/0/0#2/m",
            {
                "id": "m2",
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "c2", "name": "look_up", "arguments": ARGUMENTS}],
            },
            claim=2,
        ),
        write_event("outcome", "r1/0/0#2", {"result": {}}, claim=2),
    ]
    live = pieces(ARGUMENTS[:9], name="look_up", message="m1")
    broken = recorded(client, "broken", *live, ends)
    sent, messages = ag_ui(broken)
    assert kinds(sent) == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert call_in(messages)["function"]["arguments"] == ARGUMENTS[:9]
    sent, messages = ag_ui(recorded(client, "goes on", *live, ends, *goes_on))
    assert call_in(messages)["id"] == "c2"
    cut = recorded(client, "closed", *live, ends, *said())
    assert call_in(ag_ui(cut)[1])["function"]["arguments"] == ARGUMENTS


def test_records_that_do_not_name_the_tool(client: Client) -> None:
    """As they were written before deltas did."""
    session = recorded(client, "before", text(), *pieces(ARGUMENTS[:9], ARGUMENTS[9:]), *said())
    sent, messages = ag_ui(session)
    assert kinds(sent) == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"]
    assert call_in(messages)["function"]["arguments"] == ARGUMENTS
    chunks, _ = ai_sdk(session)
    assert kinds(chunks) == ["tool-input-available"]


def test_who_joins_has_the_call_that_is_open(client: Client) -> None:
    session = recorded(client, "joined", *pieces(ARGUMENTS[:9], ARGUMENTS[9:], name="look_up", message="m1"), *said())
    events = list(session.events())
    translation, chunks = AgUi(), AiSdk()
    sequences: list[Any] = []
    for each in events:
        translation.add(each)
        chunks.add(each)
        if translation.run is not None:
            rest = AgUi()
            for earlier in events[: each.index + 1]:
                rest.add(earlier)
            sequences.append(
                translation.opening() + [one for later in events[each.index + 1 :] for one in rest.add(later)]
            )
    for made in peers("ag-ui", stdin=sequences):
        assert call_in(made["messages"])["function"] == {"name": "look_up", "arguments": ARGUMENTS}
