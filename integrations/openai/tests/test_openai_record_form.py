"""How requests and responses are stored: pure, no client, no run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agentstream_openai._body import Recorded, safe_headers
from agentstream_openai._request import describe, is_retry
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.binary(min_size=1, max_size=60)), st.sampled_from(["complete", "closed", "cut", "broken"]))
def test_a_response_is_read_back_chunk_for_chunk(chunks: list[bytes], end: str) -> None:
    recorded = Recorded(200, {"content-type": "text/plain"}, chunks, end)
    assert Recorded.read(recorded.stored()) == recorded


def test_a_body_is_text_where_it_is_short_and_compressed_where_it_is_long() -> None:
    assert Recorded(200, {}, [b"hello"]).stored()["text"] == "hello"
    assert "zlib" in Recorded(200, {}, [b"hello " * 500]).stored()
    assert Recorded(200, {}, [b"\xff\xfe"]).stored()["bytes"] == b"\xff\xfe"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {},
        {"status": "200", "headers": {}},
        {"status": 200},
        {"status": 200, "headers": {}, "zlib": b"no zlib at all"},
        {"status": 200, "headers": {}, "text": "x", "chunks": "-4*9"},
        {"status": 200, "headers": {}, "text": "x", "chunks": "many"},
    ],
)
def test_what_is_no_recorded_response_is_refused(value: Any) -> None:
    assert Recorded.read(value) is None


def test_a_record_cannot_ask_for_more_chunks_than_it_has_bytes() -> None:
    read = Recorded.read({"status": 200, "headers": {}, "text": "ab", "chunks": "1*99999999999"})
    assert read is not None
    assert read.chunks == [b"a", b"b"]


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
        }
    )
    assert kept == {
        "content-type": "application/json",
        "openai-processing-ms": "12",
        "x-ratelimit-remaining-requests": "3",
    }


def asked(body: Any, path: str = "/v1/responses", query: str = "") -> Any:
    return describe("POST", path, query, "application/json", json.dumps(body).encode())


def test_a_request_is_what_was_asked() -> None:
    call = asked({"model": "m", "input": "hi"}, query="api-version=1&api_key=secret&sig=secret")
    assert (call.kind, call.name) == ("model", "POST /v1/responses")
    expected = {
        "method": "POST",
        "path": "/v1/responses",
        "query": "api-version=1",
        "body": {"model": "m", "input": "hi"},
    }
    assert call.input == call.fingerprint == expected


def test_the_cache_key_is_stored_but_no_part_of_the_question() -> None:
    one, other = (asked({"input": "hi", "prompt_cache_key": key}) for key in ("a", "b"))
    assert one.input["body"]["prompt_cache_key"] == "a"
    assert one.fingerprint == other.fingerprint


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
        return describe("POST", "/v1/files", "", f"multipart/form-data; boundary={boundary}", body)

    assert upload("a1", b"same").fingerprint == upload("b2", b"same").fingerprint
    assert upload("a1", b"same").fingerprint != upload("a1", b"else").fingerprint
    assert upload("a1", b"same").kind == "http"


def test_json_that_is_none_is_known_by_its_hash() -> None:
    call = describe("POST", "/v1/responses", "", "application/json", b"{")
    assert call.input["body"]["length"] == 1


@pytest.mark.parametrize(("count", "expected"), [(None, False), ("0", False), ("2", True), ("x", False), ("", False)])
def test_retries_are_told_by_the_header_of_the_sdk(count: str | None, *, expected: bool) -> None:
    assert is_retry(count) is expected
