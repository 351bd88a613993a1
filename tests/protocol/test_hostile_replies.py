"""Whatever a server answers is a result or an error of ours; nothing of the inside comes out."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_kit import operations

from agentstream.backends.remote.exchange import retry_after
from agentstream.errors import AgentStreamError
from agentstream.protocol import sse
from agentstream.protocol.errors import BadReply, StreamGone
from agentstream.protocol.http import HttpResponse
from agentstream.protocol.operations import JSON, Head, Read
from agentstream.protocol.requests import result_of
from agentstream.protocol.sse import PageReader

DEEP = b"[" * 100_000 + b"]" * 100_000
ENDLESS = "9" * 5000
"""More digits than Python makes a number of."""

values = st.one_of(
    st.sampled_from(
        ["true", "TRUE ", "false", "0", "7", "-1", "1.5", ENDLESS, "²", "", "application/json", "text/plain",
         "application/problem+json", "text/event-stream", '"etag"', "Thu, 01 Jan 99999 00:00:00 GMT", "now"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=10),
)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(
        ["content-type", "stream-next-offset", "stream-up-to-date", "stream-closed", "stream-cursor", "stream-ttl",
         "stream-expires-at", "producer-epoch", "producer-seq", "producer-expected-seq", "producer-received-seq",
         "etag", "retry-after", "stream-life"]
    ),
    values,
    max_size=6,
)  # fmt: skip
bodies = st.one_of(
    st.sampled_from(
        [b"", b"[]", b"[1,2]", b"[1", b"null", b"1 2", b"[1]]", b'"\xff"', b"\xef\xbb\xbf[1]", b"[NaN]", b"<html>",
         b'{"code":7,"detail":[]}', b'{"code":"stream_gone"}', b'{"error":{"code":"FENCED"}}', DEEP, b'{"a":' * 5000]
    ),
    st.binary(max_size=30),
)  # fmt: skip
statuses = st.sampled_from([200, 201, 204, 206, 301, 304, 400, 401, 403, 404, 405, 409, 410, 413, 418, 429, 500, 503])
replies = st.builds(HttpResponse, statuses, headers, bodies)


@given(operation=operations, reply=replies)
def test_any_reply_is_a_result_or_an_error_of_ours(operation: Any, reply: HttpResponse) -> None:
    with contextlib.suppress(AgentStreamError):
        result_of(operation, reply)


@given(said=values)
def test_any_time_to_wait_is_a_number(said: str) -> None:
    assert retry_after(HttpResponse(429, {"retry-after": said})) >= 0


pieces = st.one_of(
    st.sampled_from(
        [b"event: data\n", b"event: control\n", b"event: \xff\n", b"data: [1]\n", b"data: [1\n", b"data:\n", b"data\n",
         b"data: aGk=\n", b"data: a\n", b'data: {"streamNextOffset":"7"}\n', b'data: {"streamNextOffset":7}\n', b"\n",
         b"\r", b"\r\n", b": x\n", b"id: 1\n", b"data: " + DEEP + b"\n", b'data: {"streamNextOffset":"\\ud800"}\n',
         b"data: \xe2\x82\n", b'data: {"streamNextOffset":"7","upToDate":null}\n', b"\xef\xbb\xbf", b"\0"]
    ),
    st.binary(max_size=8),
)  # fmt: skip


@given(
    events=st.lists(pieces, max_size=15).map(b"".join),
    cuts=st.lists(st.integers(0, 300_000), max_size=8),
    content_type=st.sampled_from([JSON, "text/plain", "image/png", None]),
    encoding=st.sampled_from([None, "base64"]),
)
def test_any_event_is_a_page_or_a_bad_reply(
    events: bytes, cuts: list[int], content_type: str | None, encoding: str | None
) -> None:
    reader = PageReader(content_type, encoding)
    edges = sorted({0, len(events), *(cut % (len(events) + 1) for cut in cuts)})
    with contextlib.suppress(BadReply):
        for begin, end in itertools.pairwise(edges):
            for page in reader.feed(events[begin:end]):
                assert isinstance(page.offset, str)


@pytest.mark.parametrize("line", [b"x" * 100, b"data: " + b"x" * 90 + b"\n", b"event: data\ndata: 1\n\n"])
def test_an_answer_that_never_ends_is_not_kept_for_ever(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_UNREAD", 1000)
    reader = PageReader(JSON, None)
    fed = (page for _ in range(1000) for page in reader.feed(line))
    with pytest.raises(BadReply, match="1000 bytes"):
        next(fed)


def test_what_keeps_a_connection_alive_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_UNREAD", 1000)
    reader = PageReader(JSON, None)
    for _ in range(1000):
        assert not list(reader.feed(b": nothing new\n\n"))
    (page,) = reader.feed(b'event: control\ndata: {"streamNextOffset":"7"}\n\n')
    assert page.offset == "7"


@pytest.mark.parametrize("name", ["producer-epoch", "producer-expected-seq", "producer-received-seq", "stream-ttl"])
@pytest.mark.parametrize("status", [200, 403, 409])
def test_a_number_beyond_all_numbers_is_none(name: str, status: int) -> None:
    reply = HttpResponse(status, {"stream-next-offset": "7", "producer-expected-seq": "1", name: ENDLESS})
    with contextlib.suppress(AgentStreamError):
        result_of(Head("s"), reply)


def test_a_reply_too_deep_to_read_is_said() -> None:
    with pytest.raises(BadReply):
        result_of(Read("s"), HttpResponse(200, {"content-type": JSON, "stream-next-offset": "7"}, DEEP))


def test_a_refusal_too_deep_to_read_is_a_refusal() -> None:
    with pytest.raises(StreamGone):
        result_of(Head("s"), HttpResponse(410, {"content-type": JSON}, DEEP))
    with pytest.raises(BadReply):
        list(PageReader(JSON, None).feed(b'event: control\ndata: {"x":' + DEEP + b"}\n\n"))
