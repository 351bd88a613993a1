"""What a graph's messages say beside texts is in the record for every other SDK: thoughts to the byte, and images."""

from __future__ import annotations

import json
import random
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph._forms import form_beside, form_of, typed_of
from agentstream_langgraph._readable import Words, text_of, words_of
from hypothesis import given
from hypothesis.strategies import binary, lists, text
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, StateGraph
from langgraph_kit import Chat, StreamSaver, checkpoint, config, put, values

from agentstream import Client

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SIGNATURE = "EqQB" + "Zm9v/+b" * 200 + "=="
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
THOUGHT: Any = {"type": "thinking", "thinking": "Hm ä\n.", "signature": SIGNATURE}
HIDDEN: Any = {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}
CALL: Any = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"order": "A1"}}
SEARCH: Any = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "A1"}}
SHOWN: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
ASKED, LOOKS, SENT = ({"type": "text", "text": text} for text in ("what is this?", "I look.", "sent"))

TALK: list[Any] = [
    HumanMessage([ASKED, {"type": "image", "base64": PIXEL, "mime_type": "image/png"}]),
    AIMessage(
        [THOUGHT, HIDDEN, LOOKS, SEARCH, CALL],
        tool_calls=[{"name": "look_up", "args": {"order": "A1"}, "id": "toolu_1"}],
        response_metadata={"model_provider": "anthropic"},
    ),
    ToolMessage(
        [SENT, SHOWN],
        tool_call_id="toolu_1",
        status="error",
    ),
    AIMessage("It was sent."),
]
"""A graph's messages, as LangChain's adapters of providers make them."""


def test_thoughts_and_images_go_on_with_another_sdk_and_the_graph_gets_its_own_back(tmp_path: Path) -> None:
    with Client(tmp_path) as client:
        put(StreamSaver(client), checkpoint({"messages": TALK}))
    with Client(tmp_path) as client:
        assert values(StreamSaver(client))["messages"] == TALK
        messages = client.session("langgraph/thread").state().messages
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}
        assert messages.as_anthropic()["messages"] == [
            {"role": "user", "content": [ASKED, IMAGE]},
            {"role": "assistant", "content": [THOUGHT, HIDDEN, LOOKS, SEARCH, CALL]},
            {"role": "user", "content": [{**result, "content": [SENT, IMAGE]}]},
            {"role": "assistant", "content": [{"type": "text", "text": "It was sent."}]},
        ]
        assert messages.as_openai_chat()[0]["content"][1] == SHOWN


def test_what_a_thought_is_signed_with_is_stored_once(tmp_path: Path) -> None:
    """The stored form is compressed against all that the event says."""
    signature = "".join(f"{number * 7919:x}" for number in range(900))
    said = AIMessage([{**THOUGHT, "signature": signature}])
    with Client(tmp_path) as client:
        put(StreamSaver(client), checkpoint({"messages": [said]}))
        [event] = [event for event in client.session("langgraph/thread").events() if event.type == "message"]
        assert len(event.raw) < 1.4 * len(signature)


def shot(size: int, *, seed: int = 0) -> str:
    return b64encode(random.Random(seed).randbytes(size)).decode()


def test_what_a_node_gives_stands_once_however_large(tmp_path: Path) -> None:
    """Images and long texts: in the event that everyone reads, and in no form of the message beside it."""
    page = " ".join(str(number * 7919) for number in range(20_000))
    large: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{shot(9_000)}"}}
    gives: list[Any] = [
        ToolMessage([SENT, {"type": "image", "base64": shot(60_000), "mime_type": "image/png"}], tool_call_id="1"),
        ToolMessage([large] * 2, tool_call_id="2"),
        AIMessage(page, id="ai", additional_kwargs={"raw": [page, {"again": page}]}),
        ToolMessage(page, tool_call_id="3", artifact={"page": page}),
        HumanMessage([{"type": "image", "base64": shot(60_000), "mime_type": "image/png"}], id="other"),
    ]

    def node(state: Chat) -> Any:
        return {"messages": [gives[len(state["messages"]) - 1]]}

    builder: Any = StateGraph(Chat)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", lambda state: "node" if len(state["messages"]) <= len(gives) else END)
    with Client(tmp_path) as client:
        graph = builder.compile(checkpointer=StreamSaver(client))
        at: Any = {"configurable": {"thread_id": "1"}}
        made = graph.invoke({"messages": [("user", "go")]}, at)
        assert [message.content for message in made["messages"][1:]] == [message.content for message in gives]
        said = [event for event in client.session("langgraph/1").events() if event.type == "message"]
        once = 2 * len(shot(60_000)) + 2 * len(shot(9_000)) + 2 * len(page)
        assert sum(len(event.raw) for event in client.session("langgraph/1").events()) < once + 12_000
        assert len(said) == 1 + len(gives)
    with Client(tmp_path) as client:
        graph = builder.compile(checkpointer=StreamSaver(client))
        states = list(graph.get_state_history(at))
        assert states[0].values == made
        assert states[2].values["messages"] == made["messages"][:-2]


@pytest.mark.parametrize("beside", [[], [SENT]])
def test_a_message_that_is_given_its_id_later_stands_once_too(tmp_path: Path, beside: list[Any]) -> None:
    given = HumanMessage([*beside, {"type": "image", "base64": shot(60_000), "mime_type": "image/png"}])
    named = given.model_copy(update={"id": "its id"})
    with Client(tmp_path) as client:
        saver = StreamSaver(client)
        first = put(saver, checkpoint({}))
        saver.put_writes(config(first), [("messages", [given])], "task")
        put(saver, checkpoint({"messages": [named]}), first)
        assert sum(len(event.raw) for event in client.session("langgraph/thread").events()) < len(shot(60_000)) + 3000
    with Client(tmp_path) as client:
        saver = StreamSaver(client)
        assert values(saver)["messages"] == [named]
        pending: Any = saver.get_tuple(config(first))
        assert [value for _, _, value in pending.pending_writes] == [[given]]


PIECES = text("ab", min_size=1, max_size=4).map(str.encode)


@given(lists(PIECES, max_size=4, unique=True), lists(PIECES, max_size=30), binary(max_size=100))
def test_what_is_cut_out_of_a_form_is_put_back(long: list[bytes], parts: list[bytes], more: bytes) -> None:
    """However the texts overlap, repeat and hold one another."""
    words = Words(b"abba", tuple(long))
    typed = ("msgpack", b"\xc7" + b"".join(parts) + more)
    for form, name in ((form_of(typed, words, "1.0"), b""), (form_beside(typed, words, b"name"), b"name")):
        assert typed_of(json.loads(json.dumps(form)), words, name) == typed
        assert "cut" in form or not any(each in typed[1] for each in long)
        if "cut" in form:
            with pytest.raises(ValueError, match="damaged"):
                typed_of(form, words._replace(long=()), name)


def test_a_block_that_cannot_be_recorded_is_told_of_and_kept_by_the_serializer(tmp_path: Path) -> None:
    said = HumanMessage([{"type": "odd", "of": re.compile("x")}, "and this"])  # pyright: ignore[reportArgumentType]
    with Client(tmp_path) as client:
        put(StreamSaver(client), checkpoint({"messages": [said]}))
        assert values(StreamSaver(client))["messages"] == [said]
        [told] = client.session("langgraph/thread").state().messages
        assert told["parts"] == [{"type": "data", "data": {"type": "odd"}}, {"type": "text", "text": "and this"}]


def test_what_records_of_old_are_compressed_against_stays() -> None:
    image = {"type": "image", "url": "https://example.com/a.png", "data": PIXEL}
    parts = [
        {"type": "data", "data": {"type": "image"}},
        {"type": "reasoning", "text": "hm"},
        {"type": "tool_result", "id": "call_1", "content": "one"},
        {"type": "tool_result", "id": "call_2", "content": [image, {"type": "file", "data": PIXEL}]},
        {"type": "tool_call", "id": "call_3", "name": "x", "arguments": {"text": "no"}},
    ]
    assert text_of({"parts": parts}) == "hmone"


def test_what_forms_of_old_leave_out_is_put_back() -> None:
    page, image = "b" * 8193, "a" * 8193
    read = [{"type": "text", "text": page}, {"type": "file", "data": image}, {"type": "text", "text": "c" * 8192}]
    words = words_of({"parts": [{"type": "tool_result", "id": "1", "content": read}, {"type": "text", "text": page}]})
    form = {"t": "msgpack", "b": b64encode(b"<><>.").decode(), "cut": [1, 1, 3, 0, 3, 1]}
    assert typed_of(form, words) == ("msgpack", f"<{page}><{image}{page}>.".encode())
