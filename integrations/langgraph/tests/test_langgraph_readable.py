"""What a graph's messages say beside texts is in the record for every other SDK: thoughts to the byte, and images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agentstream_langgraph._readable import text_of
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph_kit import StreamSaver, checkpoint, put, values

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
