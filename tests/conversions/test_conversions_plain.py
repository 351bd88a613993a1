"""Conversations as plain values: closed, in order, each part where the provider takes it."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types import MessageParam
from conversations_kit import PIXEL, assistant, call, contents, conversations, of, result, thoughts_in, user
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, messages_to_dict
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from agentstream import Client, Messages
from agentstream.sessions.conversions.requests import read_element
from agentstream.sessions.conversions.turns import INTERRUPTED

EXAMPLES = 500 if os.environ.get("AGENTSTREAM_TEST_ALL") else 40
CHAT: Any = TypeAdapter(list[ChatCompletionMessageParam])
RESPONSES: Any = TypeAdapter(list[ResponseInputItemParam])
ANTHROPIC: Any = TypeAdapter(list[MessageParam])
SIGNED = {"type": "reasoning", "text": "hm", "signature": "c2ln"}
REDACTED = {"type": "reasoning", "text": "", "redacted": "cmVk"}
ENCRYPTED = {"type": "reasoning", "text": "sum", "id": "rs_1", "encrypted": "gAAA"}
UNSIGNED = {"type": "reasoning", "text": "just so"}


def anthropic_of(messages: Messages) -> Messages:
    return Messages.from_anthropic(**messages.as_anthropic())


WAYS: dict[str, Any] = {
    "chat": lambda messages: Messages.from_openai_chat(messages.as_openai_chat()),
    "responses": lambda messages: Messages.from_openai_responses(messages.as_openai_responses()),
    "anthropic": anthropic_of,
    "langchain": lambda messages: Messages.from_langchain(messages.as_langchain()),
    "langchain_dicts": lambda messages: Messages.from_langchain(messages_to_dict(messages.as_langchain())),
}


@settings(max_examples=EXAMPLES)
@given(conversations)
def test_whatever_was_recorded_the_providers_take_it(messages: Any) -> None:
    said = of(*messages)
    chat, responses, anthropic = said.as_openai_chat(), said.as_openai_responses(), said.as_anthropic()
    for adapter, made in ((CHAT, chat), (RESPONSES, responses), (ANTHROPIC, anthropic["messages"])):
        adapter.validate_python(made)
        json.dumps(made)
    asked: list[str] = []
    for message in chat:
        if message["role"] == "tool":
            assert message["tool_call_id"] == asked.pop(0)  # behind its call, in the order of the calls
        else:
            assert not asked
            asked = [each["id"] for each in message.get("tool_calls", ())]
    assert not asked
    roles = [message["role"] for message in anthropic["messages"]]
    assert all(before != after for before, after in pairwise(roles))
    opened = [item["call_id"] for item in responses if item["type"] == "function_call"]
    assert opened == [item["call_id"] for item in responses if item["type"] == "function_call_output"]


@settings(max_examples=EXAMPLES)
@given(conversations)
def test_there_and_back_nothing_is_lost(messages: Any) -> None:
    said = of(*messages)
    for name, way in WAYS.items():
        back = way(said)
        assert contents(back) == contents(messages), name
        assert contents(way(back)) == contents(back), name


@settings(max_examples=EXAMPLES)
@given(conversations)
def test_thoughts_come_back_where_they_may_go(messages: Any) -> None:
    said, thoughts = of(*messages), thoughts_in(messages)
    ours = [thought for thought in thoughts if thought[0] != "encrypted"]
    theirs = [thought for thought in thoughts if thought[0] == "encrypted"]
    assert thoughts_in(WAYS["anthropic"](said)) == ours
    assert thoughts_in(WAYS["responses"](said)) == theirs
    assert thoughts_in(WAYS["langchain"](said)) == thoughts


def test_calls_without_results_are_closed() -> None:
    said = of(user("hi"), assistant(call("c1"), call("c2")), result("c2", "two"), user("go on"), assistant(call("c3")))
    assert [(each["role"], each.get("content")) for each in said.as_openai_chat()] == [
        ("user", "hi"),
        ("assistant", None),
        ("tool", INTERRUPTED),
        ("tool", "two"),
        ("user", "go on"),
        ("assistant", None),
        ("tool", INTERRUPTED),
    ]
    last = said.as_anthropic()["messages"][-1]["content"]
    assert last == [{"type": "tool_result", "tool_use_id": "c3", "content": INTERRUPTED, "is_error": True}]


def test_calls_at_the_end_stay_open_where_that_is_asked_for() -> None:
    said = of(user("hi"), assistant(call("c1")), user("more"), assistant(call("c2"), call("c3")), result("c3", "three"))
    made = said.as_openai_chat(close=False)
    assert [each.get("tool_call_id") for each in made if each["role"] == "tool"] == ["c1", "c3"]
    assert [kind.type for kind in said.as_langchain(close=False)] == ["human", "ai", "tool", "human", "ai", "tool"]


def test_results_are_put_behind_their_calls() -> None:
    said = of(assistant(call("c1")), user("wait"), result("c1", "late"), result("gone", "whose?"))
    chat = said.as_openai_chat()
    assert [each["role"] for each in chat] == ["assistant", "tool", "user"]
    assert chat[1]["content"] == "late"
    assert chat[2]["content"] == "wait\n\nResult of the tool call gone: whose?"


def test_the_last_of_several_results_counts() -> None:
    said = of(assistant(call("c1")), result("c1", "deferred"), result("c1", "done"))
    assert [each["content"] for each in said.as_openai_chat()[1:]] == ["done"]


def test_ids_that_some_provider_refuses_are_replaced_alike() -> None:
    said = of(assistant(call("chatcmpl-1/call/0"), call("x" * 41)), result("chatcmpl-1/call/0", 1))
    first, second = (each["id"] for each in said.as_openai_chat()[0]["tool_calls"])
    assert first.startswith("call_")
    assert len(first) <= 40
    assert first != second
    assert [each["tool_call_id"] for each in said.as_openai_chat()[1:]] == [first, second]
    assert said.as_anthropic()["messages"][0]["content"][0]["id"] == first
    assert said.as_openai_responses()[0]["call_id"] == first


def test_reasoning_goes_to_who_signed_it() -> None:
    said = of(user("q"), assistant(SIGNED, REDACTED, ENCRYPTED, UNSIGNED, "answer", call("c1")), result("c1", "r"))
    thinking = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "cmVk"},
    ]
    encrypted = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "sum"}],
        "encrypted_content": "gAAA",
    }
    assert said.as_anthropic()["messages"][1]["content"][:3] == [*thinking, {"type": "text", "text": "answer"}]
    assert said.as_openai_responses()[1] == encrypted
    assert [item["type"] for item in said.as_openai_responses()].count("reasoning") == 1
    assert said.as_openai_chat()[1]["content"] == "answer"
    (_, answer, _) = said.as_langchain()
    assert answer.content == [*thinking, encrypted, {"type": "text", "text": "answer"}]
    assert answer.additional_kwargs == {"reasoning_content": "just so"}
    back = Messages.from_langchain([answer])[0]["parts"]
    assert [part for part in back if part.get("signature")] == [SIGNED]


def test_another_providers_signature_is_not_anthropics() -> None:
    said = of(assistant({"type": "reasoning", "text": "hm", "signature": "s", "provider": "google"}, "a"))
    assert said.as_anthropic()["messages"][0]["content"] == [{"type": "text", "text": "a"}]


def test_system_messages() -> None:
    system = {"role": "developer", "parts": [{"type": "text", "text": "Be kind."}]}
    said = of(system, user("a"), {"role": "system", "content": "Be brief."}, user("b"))
    assert said.as_anthropic() == {
        "system": "Be kind.\n\nBe brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    }
    assert [each["role"] for each in said.as_openai_chat()] == ["system", "user", "system", "user"]
    assert [type(each) for each in said.as_langchain()] == [SystemMessage, HumanMessage, SystemMessage, HumanMessage]
    assert "system" not in of(user("a")).as_anthropic()


def test_files() -> None:
    image = {"type": "file", "data": PIXEL, "media_type": "image/png"}
    linked = {"type": "file", "url": "https://example.com/a.png"}
    scan = {"type": "file", "data": b"%PDF", "media_type": "application/pdf", "name": "a.pdf"}
    note = {"type": "file", "data": b"plain", "media_type": "text/plain", "name": "n.txt"}
    other = {"type": "file", "data": b"PK", "media_type": "application/zip", "name": "a.zip"}
    said = of(user("look", image, linked, scan, note, other))
    [chat] = said.as_openai_chat()
    data_url = f"data:image/png;base64,{PIXEL}"
    assert chat["content"][1:] == [
        {"type": "image_url", "image_url": {"url": data_url}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        {"type": "text", "text": "plain"},
        {"type": "text", "text": "[file a.zip, application/zip]"},
    ]
    kinds = [block["type"] for block in said.as_openai_responses()[0]["content"]]
    assert kinds == ["input_text", "input_image", "input_image", "input_file", "input_text", "input_text"]
    blocks = said.as_anthropic()["messages"][0]["content"]
    assert [block.get("source", {}).get("type") for block in blocks] == [None, "base64", "url", "base64", "text", None]
    [human] = said.as_langchain()
    assert [block["type"] for block in human.content] == ["text", "image", "image", "file", "file", "file"]
    for way in WAYS.values():
        files = [part for part in way(said)[0]["parts"] if part["type"] == "file"]
        assert files[0] == image
        assert files[1]["url"] == "https://example.com/a.png"
        assert files[2]["name"] == "a.pdf"


def test_an_attachment_is_read_where_it_goes(tmp_path: Any) -> None:
    with Client(tmp_path / "store") as client:
        session = client.session("s")
        scan = session.attach(b"%PDF-1.4 scan", media_type="application/pdf", name="scan.pdf")
        session.append("message", user("read", {"type": "file", "file": scan}))
        messages = session.state().messages
        document = messages.as_anthropic()["messages"][0]["content"][1]
        assert document["source"]["data"] == "JVBERi0xLjQgc2Nhbg=="
        assert messages.as_openai_chat()[0]["content"][1]["file"]["filename"] == "scan.pdf"


def test_files_in_results() -> None:
    image = {"type": "file", "data": PIXEL, "media_type": "image/png"}
    said = of(
        assistant(call("c1"), call("c2")), result("c1", [{"type": "text", "text": "see"}, image]), result("c2", 2)
    )
    chat = said.as_openai_chat()
    assert [each["role"] for each in chat] == ["assistant", "tool", "tool", "user"]
    assert chat[1]["content"] == "see[file without a name, image/png]"
    assert chat[3]["content"][0]["type"] == "image_url"
    output = said.as_openai_responses()[2]["output"]
    assert [block["type"] for block in output] == ["input_text", "input_image"]
    given_back = said.as_anthropic()["messages"][1]["content"][0]["content"]
    assert [block["type"] for block in given_back] == ["text", "image"]


def test_arguments_that_are_no_object() -> None:
    said = of(assistant(call("c1", arguments='{"half'), call("c2", arguments="")))
    one, two = said.as_anthropic()["messages"][0]["content"]
    assert one["input"] == {"_arguments": '{"half'}
    assert two["input"] == {}
    first, second = said.as_openai_chat()[0]["tool_calls"]
    assert (first["function"]["arguments"], second["function"]["arguments"]) == ('{"half', "{}")
    answer = said.as_langchain()[0]
    assert [each["args"] for each in answer.invalid_tool_calls] == ['{"half']
    for way in WAYS.values():
        assert way(said)[0]["parts"][0 if way is not WAYS["langchain"] else -1]["arguments"] in ('{"half', {}, "{}")


def test_custom_tools_of_openai() -> None:
    items = [
        {"type": "custom_tool_call", "call_id": "c1", "name": "shell", "input": "ls -l"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "a"},
    ]
    said = Messages.from_openai_responses(items)
    assert said.as_openai_responses() == items
    assert said.as_openai_chat()[0]["tool_calls"][0]["custom"] == {"name": "shell", "input": "ls -l"}


def test_what_providers_own_tools_did_goes_to_them_alone() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    use = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "q"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    only_told = {"type": "web_search_call", "id": "ws_2", "status": "completed"}
    parts = [{"type": "data", "data": data} for data in (search, use, found, only_told)]
    said = of(assistant(*parts, "done"))
    assert said.as_openai_responses()[:-1] == [search]
    assert said.as_anthropic()["messages"][0]["content"][:-1] == [use, found]
    assert said.as_openai_chat() == [{"role": "assistant", "content": "done"}]


def test_objects_of_the_sdks_are_read() -> None:
    from anthropic.types import TextBlock, ToolUseBlock
    from openai.types.chat import ChatCompletionMessage

    message = ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": "x", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    )  # fmt: skip
    assert [part["type"] for part in Messages.from_openai_chat([message])[0]["parts"]] == ["text", "tool_call"]
    blocks = [TextBlock(type="text", text="x"), ToolUseBlock(type="tool_use", id="c1", name="f", input={"a": 1})]
    said = Messages.from_anthropic([{"role": "assistant", "content": blocks}], system="Be kind.")
    assert [message["role"] for message in said] == ["system", "assistant"]
    assert said[1]["parts"][1]["arguments"] == {"a": 1}
    chain = [HumanMessage("q"), AIMessage("", tool_calls=[{"id": "c1", "name": "f", "args": {}}]),
             ToolMessage("r", tool_call_id="c1", status="error")]  # fmt: skip
    assert Messages.from_langchain(chain)[2]["parts"][0]["is_error"] is True


@pytest.mark.parametrize(
    "message",
    [None, 1, "text", {}, {"role": 1, "parts": 2}, {"parts": [None, 1, {"type": 3}, {"type": "file", "data": "%"}]},
     {"role": "assistant", "parts": [{"type": "tool_call"}, {"type": "reasoning"}, {"type": "text", "text": 1}]},
     {"role": "tool", "parts": [{"type": "tool_result", "id": 7}]}, {"role": "odd", "content": "x"}],
)  # fmt: skip
def test_what_nobody_should_record_is_no_error(message: Any) -> None:
    said = Messages([message])
    for made in (said.as_openai_chat(), said.as_openai_responses(), said.as_anthropic(), said.as_langchain()):
        json.dumps(made, default=str)


_VOCABULARY = """
role content type text parts id name image_url file input output source data url user assistant tool system thinking
reasoning tool_use tool_result function_call function_call_output message human ai tool_calls function arguments
summary image document base64 media_type kind request response part_kind user-prompt tool-call tool-return binary
image-url data:x file_data filename file_id custom refusal input_text call_id item_reference extras args
"""
_WORDS = st.sampled_from(_VOCABULARY.split())
_NOISE = st.recursive(
    st.none() | st.integers(0, 2) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=EXAMPLES)
@given(st.lists(st.dictionaries(_WORDS, _NOISE, max_size=5), max_size=3))
def test_what_nobody_sent_is_read_as_far_as_it_goes(elements: Any) -> None:
    for name in ("messages", "input"):
        for element in elements:
            said = Messages(read_element(element, name))
            json.dumps([said.as_openai_chat(), said.as_openai_responses(), said.as_anthropic()])
    json.dumps([of(*elements).as_openai_chat(), of(*elements).as_openai_responses(), of(*elements).as_anthropic()])
