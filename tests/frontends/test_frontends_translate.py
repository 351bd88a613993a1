"""Sessions as AG-UI events and as UI message streams, by the front ends' own schemas, verifiers and readers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ag_ui.core import Event as AgUiEvent
from agentstream_anthropic import record as record_anthropic
from agentstream_openai import record as record_openai
from anthropic import Anthropic
from frontends_kit import SYSTEM, everything, peers
from openai import OpenAI
from pydantic import TypeAdapter
from support.provider import Provider, traffic

from agentstream import Client, Session, agent
from agentstream.frontends import AgUi, AiSdk, to_ag_ui, to_ai_sdk

AG_UI: Any = TypeAdapter(list[AgUiEvent])


@pytest.fixture(scope="module")
def client() -> Any:
    with Client("memory:") as client:
        yield client


@pytest.fixture(scope="module")
def whole(client: Client) -> Session:
    session = client.session("support/1")
    everything(session)
    return session


def accepted(events: list[Any]) -> Any:
    """What AG-UI's client makes of the events; its models for Python take them too."""
    AG_UI.validate_python(events)
    [made] = peers("ag-ui", stdin=[events])
    assert made["count"] == len(events)
    return made["messages"]


def built(chunks: list[Any]) -> Any:
    """The message that the AI SDK builds of the chunks."""
    [made] = peers("ai-sdk", stdin=[chunks])
    return made


def shown(messages: list[Any]) -> list[tuple[str, str]]:
    return [(message["role"], message.get("content", "").strip()) for message in messages]


def test_ag_ui(whole: Session) -> None:
    events = list(to_ag_ui(whole.events()))
    messages = accepted(events)
    assert shown(messages) == [
        ("user", "Where is A1?"),
        ("assistant", "One moment."),
        ("reasoning", "which order"),
        ("assistant", "let me look"),
        ("tool", "at home"),
        ("assistant", "it is at home"),
        ("user", "Thanks"),
        ("assistant", "you are welcome"),
    ]
    [call] = messages[3]["toolCalls"]
    assert call["function"] == {"name": "look_up", "arguments": '{"order": "A1"}'}
    ends = [event for event in events if event["type"] in ("RUN_FINISHED", "RUN_ERROR") and "@" not in str(event)]
    assert [event.get("outcome", {}).get("type", event["type"]) for event in ends] == [
        "RUN_ERROR",
        "interrupt",
        "interrupt",
        "RUN_ERROR",
        "success",
        "success",
    ]
    [question] = ends[1]["outcome"]["interrupts"]
    assert question["responseSchema"] == {"enum": ["yes", "no"]}
    assert ends[-1]["usage"] == [{"model": "gpt", "inputTokens": 3, "outputTokens": 2}]
    assert {"custom", "progress"} <= {event["name"] for event in events if event["type"] == "CUSTOM"}
    assert SYSTEM not in json.dumps(events)


def test_ai_sdk(whole: Session) -> None:
    first, second = (run for run in whole.state().runs)
    made = built(list(to_ai_sdk(whole.events(), run=first)))
    assert made["errors"] == []
    message = made["message"]
    assert message["id"] == first
    parts = [(part["type"], part.get("text", "").strip()) for part in message["parts"]]
    assert [part for part in parts if part[1]] == [
        ("text", "One moment."),
        ("reasoning", "which order"),
        ("text", "let me look"),
        ("text", "it is at home"),
    ]
    by_type = {part["type"]: part for part in message["parts"]}
    assert (by_type["tool-look_up"]["state"], by_type["tool-look_up"]["output"]) == ("output-available", "at home")
    assert (by_type["tool-refund"]["state"], by_type["tool-refund"]["output"]) == ("output-available", "A1 refunded")
    assert by_type["tool-refund"]["approval"]["approved"] is True
    assert by_type["data-question"]["data"]["answer"] == "yes"
    assert by_type["data-progress"]["data"] == {"percent": 50, "raw": {"$bytes": "eA=="}}
    assert message["metadata"]["usage"] == {"inputTokens": 6, "outputTokens": 4}
    assert made["seen"][-1] == "finish"
    last = built(list(to_ai_sdk(whole.events())))
    assert last["message"]["id"] == second
    assert SYSTEM not in json.dumps([made, last])


def test_denied(client: Client) -> None:
    session = client.session("denied")
    everything(session, approve=False)
    run = next(iter(session.state().runs))
    by_type = {part["type"]: part for part in built(list(to_ai_sdk(session.events(), run=run)))["message"]["parts"]}
    assert by_type["tool-refund"]["state"] == "output-denied"


def test_at_every_event_what_was_sent_is_valid(whole: Session) -> None:
    """A response ends wherever the record does: also there its reader has a valid sequence, as has one that joins."""
    events = list(whole.events())
    translation, chunks = AgUi(), AiSdk()
    sent: list[Any] = []
    sequences: list[Any] = []
    messages: list[Any] = []
    so_far: list[Any] = []
    for event in events:
        sent += translation.add(event)
        opening = translation.opening()
        if translation.run is not None:
            rest = AgUi()
            for each in events[: event.index + 1]:
                rest.add(each)
            sequences.append(opening + [one for each in events[event.index + 1 :] for one in rest.add(each)])
        made = chunks.add(event)
        so_far = made if chunks.begins else so_far + made
        if chunks.run is not None:
            messages.append(so_far + chunks.ending())
    assert sent == list(to_ag_ui(events))
    for made in peers("ai-sdk", stdin=messages):
        assert all("lost the line" in error or "cut" in error for error in made["errors"])
    told = [shown(made["messages"]) for made in peers("ag-ui", stdin=sequences)]
    complete = shown(accepted(sent))
    assert all(sorted(each) == sorted(complete) for each in told)


def test_a_rewind_says_what_stands(client: Client) -> None:
    session = client.session("back")
    everything(session)
    cuts = [event.index + 1 for event in session.events() if event.type in ("outcome", "message", "question")][1::2]
    sequences: list[Any] = []
    stands: list[Any] = []
    for number, cut in enumerate(cuts):
        branch = session.fork(f"back/{number}")
        branch.rewind(at=cut)
        sequences.append(list(to_ag_ui(branch.events())))
        whole = branch.state().messages.whole
        stands.append([m for m in whole if m["role"] in ("user", "assistant")])
    for made, messages in zip(peers("ag-ui", stdin=sequences), stands, strict=True):
        told = [one for one in made["messages"] if one["role"] in ("user", "assistant") and one.get("content")]
        texts = ["".join(part.get("text", "") for part in m["parts"] if part["type"] == "text") for m in messages]
        assert [one["content"] for one in told if one["content"] != "One moment. "] == [text for text in texts if text]


@pytest.mark.parametrize(
    "name", ["openai-chat-stream-tools", "openai-responses-stream-tools", "anthropic-redacted-thinking-stream"]
)
@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
def test_what_sdks_record(name: str, client: Client) -> None:
    exchanges = [replace(each, path=each.path.removesuffix("?beta=true")) for each in traffic(name)]
    session = client.session(name)
    with Provider(exchanges) as provider:

        @agent
        def go() -> None:
            for exchange in exchanges:
                if "messages" in exchange.path:
                    with Anthropic(base_url=provider.url.removesuffix("/v1"), api_key="k") as claude:
                        for _ in record_anthropic(claude).messages.create(**exchange.request):
                            pass
                    continue
                with OpenAI(base_url=provider.url, api_key="k") as openai:
                    sdk = record_openai(openai)
                    api: Any = sdk.responses if "responses" in exchange.path else sdk.chat.completions
                    for _ in api.create(**exchange.request):
                        pass

        session.run(go)
    state = session.state()
    messages = accepted(list(to_ag_ui(session.events())))
    calls = {call["id"]: call for message in messages for call in message.get("toolCalls", ())}
    assert set(calls) == {call["id"] for call in state.tool_calls}
    told = [event.value for event in session.events() if event.type == "delta" and event.value["kind"] == "args"]
    named = {delta["target"]: delta["name"] for delta in told if "name" in delta}
    assert named == {id: call["function"]["name"] for id, call in calls.items()}
    assert [m["role"] for m in messages if m["role"] in ("user", "tool")] == [
        m["role"] for m in state.messages.whole if m["role"] in ("user", "tool")
    ]
    made = built(list(to_ai_sdk(session.events())))
    assert made["errors"] == []
    texts = [part["text"] for part in made["message"]["parts"] if part["type"] == "text"]
    said = [
        "".join(part["text"] for part in m["parts"] if part["type"] == "text")
        for m in state.messages
        if m["role"] == "assistant"
    ]
    assert "".join(texts) == "".join(said)


def test_a_session_without_runs(client: Client) -> None:
    session = client.session("plain")
    session.append("message", {"role": "user", "content": "hi"})
    session.append("message", {"role": "assistant", "parts": [{"type": "text", "text": "hello"}]})
    session.append("note", {"n": 1})
    assert shown(accepted(list(to_ag_ui(session.events())))) == [("user", "hi"), ("assistant", "hello")]
    assert list(to_ai_sdk(session.events())) == []
    assert list(to_ag_ui([])) == []
