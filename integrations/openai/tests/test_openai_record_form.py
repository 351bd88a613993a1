"""How requests and responses are stored: pure, no client, no run."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import pytest
from agentstream_openai._dictionary import V1
from agentstream_openai._sdk import OPENAI
from hypothesis import given
from hypothesis import strategies as st
from support.provider import traffic

from agentstream.adapters.http import Recorded
from agentstream.adapters.http.body import safe_headers
from agentstream.adapters.http.request import Asked, describe, is_retry

FORM = OPENAI.dictionaries
[KEY] = OPENAI.volatile


@given(st.lists(st.binary(min_size=1, max_size=60)), st.sampled_from(["complete", "closed", "cut", "broken"]))
def test_a_response_is_read_back_chunk_for_chunk(chunks: list[bytes], end: str) -> None:
    recorded = Recorded(200, {"content-type": "text/plain"}, chunks, end)
    assert Recorded.read(recorded.stored(FORM), FORM) == recorded


def test_a_short_answer_takes_less_than_half_of_its_bytes() -> None:
    for exchange in (traffic("openai-responses-tool-call")[0], traffic("openai-chat-tools")[0]):
        body = exchange.body.encode()
        assert len(Recorded(200, {}, [body]).stored(FORM)["zlib/1"]) < 0.45 * len(body)


@given(st.binary(max_size=300), st.lists(st.text(), max_size=12))
def test_what_is_said_elsewhere_is_kept_there(body: bytes, texts: list[str]) -> None:
    recorded = Recorded(200, {}, [json.dumps([body.hex(), *texts]).encode()])
    kept = recorded.stored(FORM, texts)
    assert list(kept.get("texts", {}).values()) == texts
    turned = {**kept, "texts": dict(reversed(kept.get("texts", {}).items()))}
    assert Recorded.read(turned, FORM) == recorded


def test_a_text_that_is_said_elsewhere_takes_hardly_any_room() -> None:
    text = " ".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(100))
    recorded = Recorded(200, {}, [json.dumps({"said": text}).encode()])
    assert len(recorded.stored(FORM, [text])["zlib/1"]) < 0.05 * len(text) < len(recorded.stored(FORM)["zlib/1"])


def stored(head: bytes, body: bytes = b"ab") -> dict[str, Any]:
    compressor = zlib.compressobj(zdict=V1)
    return {"status": 200, "zlib/1": compressor.compress(head + b"\n" + body) + compressor.flush()}


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {},
        {"status": 200},
        {**stored(b'{"headers": {}}'), "status": None},
        {"status": 200, "zlib/1": b"no zlib at all"},
        {"status": 200, "zlib/1": "text"},
        {**stored(b'{"headers": {}}'), "texts": ["a"]},
        {**stored(b'{"headers": {}}'), "texts": {"1": "a"}},
        {**stored(b'{"headers": {}}'), "texts": {"0": ["a"]}},
        {**stored(b'{"headers": {}}'), "texts": {"0": "of another body"}},
        {**stored(b'{"headers": {}}'), "texts": 3},
        stored(b"{}"),
        stored(b"[]"),
        stored(b'{"headers": 3}'),
        stored(b'{"headers": {}, "chunks": "-4*9"}'),
        stored(b'{"headers": {}, "chunks": "many"}'),
        stored(b'{"headers": {}, "chunks": 7}'),
    ],
)
def test_what_is_no_recorded_response_is_refused(value: Any) -> None:
    assert Recorded.read(value, FORM) is None


def test_a_record_cannot_ask_for_more_chunks_than_it_has_bytes() -> None:
    read = Recorded.read(stored(b'{"headers": {}, "chunks": "1*99999999999"}'), FORM)
    assert read is not None
    assert read.chunks == [b"a", b"b"]


def test_the_dictionary_of_the_stored_format_never_changes() -> None:
    assert hashlib.sha256(V1).hexdigest() == "2045946904d96168aa429ee65ca58fdbc134adcff2b85fc46bb2e06aef38b413"


def test_only_headers_that_are_known_to_be_harmless_are_kept() -> None:
    kept = safe_headers(
        {
            "Content-Type": "application/json",
            "OpenAI-Processing-MS": "12",
            "x-ratelimit-remaining-requests": "3",
            "Set-Cookie": "a=b",
            "Authorization": "Bearer x",
            "x-internal-token": "secret",
            "Content-Length": "3",
            "Content-Encoding": "gzip",
        },
        OPENAI.header_prefixes,
    )
    assert kept == {
        "content-type": "application/json",
        "openai-processing-ms": "12",
        "x-ratelimit-remaining-requests": "3",
    }


def asked(body: Any, query: str = "") -> Asked:
    return describe(OPENAI, "POST", "/v1/responses", query, "application/json", json.dumps(body).encode())


def compared(call: Asked) -> Any:
    return call.fingerprint or call.input


def test_a_request_is_what_was_asked() -> None:
    call = asked({"model": "m", "input": "hi"}, query="api-version=1&api_key=secret&sig=secret")
    assert (call.kind, call.name) == ("model", "POST /v1/responses")
    assert call.input == compared(call) == {"query": "api-version=1", "body": {"model": "m", "input": "hi"}}


def test_the_cache_key_is_stored_but_no_part_of_the_question() -> None:
    one, other, none = (asked({"input": "hi", **key}) for key in ({KEY: "a"}, {KEY: "b"}, {}))
    assert one.input["body"][KEY] == "a"
    assert compared(one) == compared(other) == compared(none)


def test_credentials_of_remote_tools_are_left_out() -> None:
    tool = {"type": "mcp", "server_url": "https://x", "authorization": "secret", "headers": {"x": "secret"}}
    call = asked({"input": "hi", "tools": [tool, {"type": "function", "name": "f"}]})
    assert "secret" not in str(call)
    assert call.input["body"]["tools"] == [
        {"type": "mcp", "server_url": "https://x"},
        {"type": "function", "name": "f"},
    ]


def test_an_upload_is_known_by_its_bytes_and_not_by_its_boundary() -> None:
    def upload(boundary: str, content: bytes) -> Any:
        body = b"--%s\r\n\r\n%s\r\n--%s--" % (boundary.encode(), content, boundary.encode())
        return describe(OPENAI, "POST", "/v1/files", "", f"multipart/form-data; boundary={boundary}", body)

    assert upload("a1", b"same") == upload("b2", b"same")
    assert upload("a1", b"same") != upload("a1", b"else")
    assert upload("a1", b"same").kind == "http"


def test_json_that_is_none_is_known_by_its_hash() -> None:
    call = describe(OPENAI, "POST", "/v1/responses", "", "application/json", b"{")
    assert call.input["body"]["length"] == 1


@pytest.mark.parametrize(("count", "expected"), [(None, False), ("0", False), ("2", True), ("x", False), ("", False)])
def test_retries_are_told_by_the_header_of_the_sdk(count: str | None, *, expected: bool) -> None:
    assert is_retry(count) is expected
