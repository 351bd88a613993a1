"""What is read from real answers, and how requests and responses are stored: pure, no client, no run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from agentstream_anthropic._dictionary import V1
from agentstream_anthropic._sdk import ANTHROPIC
from anthropic_kit import CODE, EVENTS, PARALLEL, REDACTED, THINKING, streamed
from support.provider import Exchange

from agentstream.adapters.http import Answer, Delta, Recorded
from agentstream.adapters.http.body import safe_headers
from agentstream.adapters.http.request import describe
from agentstream.adapters.http.watching import Watch

FORM = ANTHROPIC.dictionaries


def watched(exchange: Exchange, piece: int = 1 << 20) -> tuple[list[Delta], Answer, Watch]:
    watch = Watch(ANTHROPIC, exchange.path.partition("?")[0], exchange.content_type)
    body = exchange.body.encode()
    chunks = [body[start : start + piece] for start in range(0, len(body), piece)]
    deltas = [delta for chunk in chunks for delta in watch.chunk(chunk)]
    deltas += watch.end(chunks)
    return deltas, watch.answer(), watch


STREAMS = {"code": CODE, "redacted": REDACTED, "thinking": streamed(THINKING), "tools": streamed(PARALLEL)}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("piece", [1, 37, 1 << 20])
def test_the_deltas_of_a_stream_add_up_to_its_answer(name: str, piece: int) -> None:
    deltas, answer, watch = watched(STREAMS[name], piece)
    assert watch.done
    [message] = answer.messages
    for kind, part in (("text", "text"), ("reasoning", "reasoning")):
        whole = "".join(found["text"] for found in message["parts"] if found["type"] == part)
        assert "".join(delta.text for delta in deltas if delta.kind == kind) == whole
    assert {delta.target for delta in deltas if delta.kind != "args"} == {message["id"]}
    for call in (value for kind, value in answer.events() if kind == "tool_call"):
        assert "".join(delta.text for delta in deltas if delta.target == call["id"]) == call["arguments"]
    assert answer.usage is not None
    assert answer.usage["model"] == message["model"]


@pytest.mark.parametrize("exchange", [THINKING, PARALLEL], ids=["thinking", "tools"])
def test_a_stream_says_what_the_same_answer_says_that_comes_whole(exchange: Exchange) -> None:
    assert watched(streamed(exchange))[1] == watched(exchange)[1]


def test_thinking_keeps_its_signature_and_what_was_redacted() -> None:
    real = json.loads(THINKING.body)["content"]
    reasoning, _, call = watched(THINKING)[1].messages[0]["parts"]
    assert (reasoning["text"], reasoning["signature"]) == (real[0]["thinking"], real[0]["signature"])
    assert call == {"type": "tool_call", "id": real[2]["id"], "name": "get_user_country", "arguments": "{}"}
    first, second, text = watched(REDACTED)[1].messages[0]["parts"]
    assert [first["redacted"][:9], second["redacted"][:9], text["type"]] == ["EqkECkYIB", "EtgBCkYIB", "text"]


def test_tools_of_the_provider_are_told_but_call_none_of_ours() -> None:
    answer = watched(CODE)[1]
    used = [part["data"] for part in answer.messages[0]["parts"] if part["type"] == "data"]
    assert used[0] == {
        "type": "server_tool_use",
        "id": "srvtoolu_01MwXaweAHve88x6s3Fc8x6Q",
        "name": "bash_code_execution",
    }
    assert used[1] == {"type": "bash_code_execution_tool_result", "tool_use_id": used[0]["id"]}
    assert [kind for kind, _ in answer.events()] == ["message"]
    assert answer.messages[0]["finish_reason"] == "end_turn"


def test_usage_counts_what_caches_gave_and_took() -> None:
    said = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 7}
    expected: Any = {"input_tokens": 125, "cached_tokens": 100, "cache_write_tokens": 20, "output_tokens": 7}
    whole = replace(PARALLEL, body=json.dumps({**json.loads(PARALLEL.body), "usage": said}))
    model = {"model": json.loads(PARALLEL.body)["model"]}
    assert watched(whole)[1].usage == watched(streamed(whole))[1].usage == {**expected, **model}


def test_counting_tokens_is_no_usage() -> None:
    count = Exchange("/v1/messages/count_tokens", None, 200, "application/json", '{"input_tokens": 2095}')
    assert watched(count)[1] == Answer()


def test_a_stream_cut_in_its_text_has_what_came() -> None:
    body = (
        CODE.body[: CODE.body.index('"text":" the result')] if '"text":" the result' in CODE.body else CODE.body[:3000]
    )
    _, answer, watch = watched(replace(CODE, body=body))
    assert not watch.done
    assert watch.must_end
    assert answer.messages[0]["finish_reason"] is None
    assert answer.messages[0]["parts"][0]["type"] == "reasoning"


def test_errors_in_a_stream_are_seen() -> None:
    body = CODE.body[:3000].rpartition("\n\n")[0]
    body += '\n\nevent: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}\n\n'
    answer, watch = watched(replace(CODE, body=body))[1:]
    assert "overloaded_error" in (answer.failure or "")
    assert watch.done, "the SDK raises at it, and reads no more"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/whatever"])
@pytest.mark.parametrize("kind", [EVENTS, "application/json", "audio/mpeg"])
@pytest.mark.parametrize(
    "odd",
    [
        "",
        "not json",
        "[1]",
        '{"type": "message", "content": 3}',
        '{"type": "message", "content": [7], "usage": 4}',
        '{"type": "message_start"}',
        '{"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta"}}',
        '{"type": "error", "error": 9}',
    ],
)
def test_nothing_that_comes_makes_the_decoder_raise(path: str, kind: str, odd: str) -> None:
    watched(Exchange(path, None, 200, kind, f"data: {odd}\n\n" if kind == EVENTS else odd))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/messages", "model"),
        ("/anthropic/v1/messages", "model"),
        ("/v1/complete", "model"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict", "model"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", "http"),
        ("/model/claude/invoke", "model"),
        ("/model/claude/invoke-with-response-stream", "model"),
        ("/v1/messages/count_tokens", "http"),
        ("/v1/messages/batches", "http"),
    ],
)
def test_calls_of_a_model_are_told_from_others(path: str, kind: str) -> None:
    assert describe(ANTHROPIC, "POST", path, "", "application/json", b"{}").kind == kind


# --- the stored form -------------------------------------------------------------------------------------------------


def test_the_dictionary_of_the_stored_format_never_changes() -> None:
    assert hashlib.sha256(V1).hexdigest() == "1c799b4ff04452e58ca12000f1dfcaf8cb7a74b71756d46cadf5c1b81d580b06"


def test_a_short_answer_takes_less_than_half_of_its_bytes() -> None:
    for exchange in (PARALLEL, streamed(PARALLEL)):
        recorded = Recorded(200, {"content-type": exchange.content_type}, [exchange.body.encode()])
        stored = recorded.stored(FORM)
        assert len(stored["zlib/a1"]) < 0.45 * len(exchange.body)
        assert Recorded.read(stored, FORM) == recorded


def test_only_headers_that_are_known_to_be_harmless_are_kept() -> None:
    said = {
        "Request-Id": "req_1",
        "Anthropic-Ratelimit-Requests-Remaining": "3",
        "Set-Cookie": "a=b",
        "X-Api-Key": "secret",
        "CF-Ray": "x",
    }
    kept = safe_headers(said, ANTHROPIC.header_prefixes)
    assert kept == {"request-id": "req_1", "anthropic-ratelimit-requests-remaining": "3"}


def test_credentials_in_a_request_are_left_out() -> None:
    def stored(path: str, body: Any) -> Any:
        asked = describe(ANTHROPIC, "POST", path, "", "application/json", json.dumps(body).encode())
        return asked.input["body"]

    server = {"type": "url", "url": "https://x", "name": "x"}
    schema = {"properties": {"authorization_token": {"type": "string"}, "token": {"type": "string"}}}
    body = {"mcp_servers": [{**server, "authorization_token": "secret"}], "tools": [{"input_schema": schema}]}
    assert stored("/v1/messages", body) == {"mcp_servers": [server], "tools": [{"input_schema": schema}]}
    assert stored("/v1/messages", {"messages": [{"token": "said"}]}) == {"messages": [{"token": "said"}]}
    auth = {"type": "mcp_oauth", "access_token": "s", "refresh": {"refresh_token": "s", "client_id": "c"}}
    kept = {"auth": {"type": "mcp_oauth", "refresh": {"client_id": "c"}}}
    assert stored("/v1/vaults/vlt_1/credentials", {"auth": auth}) == kept
