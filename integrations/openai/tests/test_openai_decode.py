"""What is read from real answers, byte by byte and whole: pure, no client, no run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agentstream_openai._sdk import OPENAI
from hypothesis import given
from hypothesis import strategies as st
from support.provider import Exchange, traffic

from agentstream.adapters.http import Answer, Delta
from agentstream.adapters.http.sse import Parser, ServerEvent
from agentstream.adapters.http.watching import Watch

EVENTS = "text/event-stream; charset=utf-8"


def watched(exchange: Exchange, piece: int = 1 << 20) -> tuple[list[Delta], Answer, Watch]:
    watch = Watch(OPENAI, exchange.path, exchange.content_type)
    body = exchange.body.encode()
    chunks = [body[start : start + piece] for start in range(0, len(body), piece)]
    deltas = [delta for chunk in chunks for delta in watch.chunk(chunk)]
    deltas += watch.end(chunks)
    return deltas, watch.answer(), watch


def told(answer: Answer) -> list[Any]:
    return [
        {name: value for name, value in part.items() if name != "type"} for m in answer.messages for part in m["parts"]
    ]


# --- server-sent events ----------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "ping", "response.x"]), st.lists(st.text('aé: {}"', max_size=9), min_size=1))
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 40),
)
def test_events_are_the_same_in_whatever_pieces_they_come(
    events: list[tuple[str, list[str]]], newline: str, piece: int
) -> None:
    text = ""
    for name, lines in events:
        text += (f"event: {name}\n" if name else "") + "".join(f"data: {line}\n" for line in lines) + ": a comment\n\n"
    body = text.replace("\n", newline).encode()
    parser = Parser()
    got = [event for start in range(0, len(body), piece) for event in parser.feed(body[start : start + piece])]
    assert got + list(parser.end()) == [ServerEvent(name, "\n".join(lines)) for name, lines in events]


def test_an_event_without_its_blank_line_is_given_at_the_end() -> None:
    parser = Parser()
    assert list(parser.feed(b"data: [DONE]")) == []
    assert list(parser.end()) == [ServerEvent("", "[DONE]")]


# --- real answers ----------------------------------------------------------------------------------------------------

STREAMS = [
    (name, index)
    for name in ("openai-chat-stream-tools", "openai-responses-stream-tools", "openai-responses-stream-phases")
    for index in (0, 1)
]


@pytest.mark.parametrize(("name", "index"), STREAMS)
@pytest.mark.parametrize("piece", [1, 37, 1 << 20])
def test_the_deltas_of_a_stream_add_up_to_its_answer(name: str, index: int, piece: int) -> None:
    deltas, answer, watch = watched(traffic(name)[index], piece)
    assert watch.done
    [message] = answer.messages
    text = "".join(part.get("text", "") for part in message["parts"])
    assert "".join(delta.text for delta in deltas if delta.kind == "text") == text
    assert {delta.target for delta in deltas if delta.kind == "text"} <= {message["id"]}
    for call in (value for kind, value in answer.events() if kind == "tool_call"):
        assert "".join(delta.text for delta in deltas if delta.target == call["id"]) == call["arguments"]
    assert answer.usage is not None
    assert answer.usage["model"] == message["model"]


def test_a_streamed_chat_completion() -> None:
    call, text = (watched(exchange)[1] for exchange in traffic("openai-chat-stream-tools"))
    arguments = {"id": "call_ZR5UUuTt3pf61kjwAJIYdVMj", "name": "get_capital", "arguments": '{"country":"UK"}'}
    assert [value for kind, value in call.events() if kind == "tool_call"] == [arguments]
    assert call.messages[0]["finish_reason"] == "tool_calls"
    assert told(text) == [{"text": "The capital of the UK is London."}]
    assert text.usage == {
        "input_tokens": 78,
        "output_tokens": 9,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "model": "gpt-4o-mini-2024-07-18",
    }


def test_a_streamed_response_with_commentary_before_its_call() -> None:
    answer = watched(traffic("openai-responses-stream-phases")[0])[1]
    reasoning, text, call = told(answer)
    assert reasoning["encrypted"]  # what the provider asks for when it is given its reasoning back
    assert text == {"text": "I’ll check the capital lookup tool for “PotatoLand.”"}
    assert (call["name"], call["arguments"]) == ("get_capital", '{"country":"PotatoLand"}')
    assert answer.messages[0]["id"].startswith("resp_")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai-chat-tools", [{"id": "call_iXFttys57ap0o16JSlC8yhYo", "name": "get_user_country", "arguments": "{}"}]),
        ("openai-chat-tool-calls-without-id", [{"name": "get_current_time", "arguments": "{}"}]),
        ("openai-responses-tool-call", [{"id": "call_YfwRsW8sUxDKipwyhWTzOXCA", "name": "get_capital"}]),
    ],
)
def test_whole_answers(name: str, expected: list[dict[str, Any]]) -> None:
    answer = watched(traffic(name)[0])[1]
    for got, wanted in zip(told(answer), expected, strict=True):
        assert wanted.items() <= got.items()
        assert got["id"]
    assert answer.messages[0]["finish_reason"] in ("tool_calls", "completed")


def test_a_stream_cut_in_its_text_has_the_text_so_far() -> None:
    exchange = traffic("openai-responses-stream-tools")[1]
    body = exchange.body
    cut = Exchange(exchange.path, exchange.request, 200, EVENTS, body[: body.index('"delta":" France"')])
    _, answer, watch = watched(cut)
    assert not watch.done
    assert watch.must_end
    assert told(answer) == [{"text": "The capital of"}]
    assert answer.messages[0]["finish_reason"] is None


@pytest.mark.parametrize(
    ("path", "body", "failure"),
    [
        ("/v1/chat/completions", 'data: {"error": {"message": "overloaded"}}\n\n', "overloaded"),
        ("/v1/responses", 'event: error\ndata: {"type": "error", "message": "overloaded"}\n\n', "overloaded"),
        (
            "/v1/responses",
            'event: response.failed\ndata: {"type": "response.failed", "response": {"object": "response", '
            '"status": "failed", "error": {"code": "server_error"}}}\n\n',
            "server_error",
        ),
        ("/v1/other", "event: error\ndata: overloaded\n\n", "overloaded"),
    ],
)
def test_errors_in_a_stream_are_seen(path: str, body: str, failure: str) -> None:
    answer = watched(Exchange(path, None, 200, EVENTS, body))[1]
    assert failure in (answer.failure or "")


def test_several_choices_are_several_messages() -> None:
    chunks = [
        {"id": "c", "model": "m", "choices": [{"index": i, "delta": {"content": text}}]} for i, text in enumerate("ab")
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    deltas, answer, _ = watched(Exchange("/v1/chat/completions", None, 200, EVENTS, body))
    assert [(message["id"], message["parts"][0]["text"]) for message in answer.messages] == [("c", "a"), ("c/1", "b")]
    assert [delta.target for delta in deltas] == ["c", "c/1"]


def test_reasoning_is_told_from_text() -> None:
    response = {
        "object": "response",
        "id": "resp_1",
        "status": "completed",
        "output": [
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "thinking"}]},
            {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "a long one"}},
            {"type": "message", "id": "msg", "content": [{"type": "output_text", "text": "done"}]},
        ],
    }
    answer = watched(Exchange("/v1/responses", None, 200, "application/json", json.dumps(response)))[1]
    assert answer.messages[0]["parts"] == [
        {"type": "reasoning", "text": "thinking"},
        {"type": "data", "data": {"type": "web_search_call", "id": "ws", "status": "completed"}},
        {"type": "text", "text": "done"},
    ]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/whatever"])
@pytest.mark.parametrize("kind", [EVENTS, "application/json", "audio/mpeg"])
@pytest.mark.parametrize(
    "odd",
    [
        "",
        "not json",
        "[1]",
        '{"choices": 3}',
        '{"choices": [{"delta": 7, "message": 7}]}',
        '{"object": "response", "output": [4], "status": "completed"}',
        '{"type": "response.output_item.done"}',
        '{"type": "response.completed", "response": {"object": "response", "output": 5, "status": "completed"}}',
    ],
)
def test_nothing_that_comes_makes_a_decoder_raise(path: str, kind: str, odd: str) -> None:
    watched(Exchange(path, None, 200, kind, f"data: {odd}\n\n" if kind == EVENTS else odd))


def test_an_end_marker_is_seen_also_after_what_was_not_understood() -> None:
    watch = Watch(OPENAI, "/v1/chat/completions", EVENTS)
    assert watch.chunk(b'data: {"choices": 3}\n\n') == []
    watch.chunk(b"data: [DONE]\n\n")
    assert watch.done
    assert watch.answer() == Answer()
