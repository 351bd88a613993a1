"""One HTTP/1.1 exchange as bytes: requests that cannot be forged, replies wherever they are cut, and hostile ones."""

from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstream.backends.remote.replies import MOST_HEAD, BadHttp, Reply, request_head

cuts = st.lists(st.integers(0, 100_000), max_size=12)


def read(data: bytes, at: list[int] = [], *, method: str = "GET", ends: bool = False) -> tuple[Reply, bytes]:  # noqa: B006
    """The reply that `data` is, fed in pieces; `ends`: the connection ends after it."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in at)})
    reply, body = Reply(method), b""
    for begin, end in itertools.pairwise(edges):
        if reply.done:
            break
        body += reply.feed(data[begin:end])
    if ends and not reply.done:
        reply.end()
    return reply, body


def reply_of(body: bytes, *headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *headers, "", ""]).encode() + body


@given(body=st.binary(max_size=200), at=cuts)
def test_a_body_of_known_length(body: bytes, at: list[int]) -> None:
    reply, found = read(reply_of(body, f"Content-Length: {len(body)}", "X-Two: a", "x-two:b "), at)
    assert (found, reply.done, reply.keeps) == (body, True, True)
    assert reply.head is not None
    assert (reply.head.status, reply.head.headers["x-two"]) == (200, "a, b")


@given(pieces=st.lists(st.binary(min_size=1, max_size=50)), at=cuts)
def test_a_body_in_chunks(pieces: list[bytes], at: list[int]) -> None:
    chunks = b"".join(b"%X ;x=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    data = reply_of(chunks + b"0\r\nX-Trailer: x\r\n\r\n", "Transfer-Encoding: chunked")
    reply, found = read(data, at)
    assert (found, reply.done, reply.keeps) == (b"".join(pieces), True, True)


@given(body=st.binary(max_size=200), at=cuts)
def test_a_body_up_to_the_end_of_the_connection(body: bytes, at: list[int]) -> None:
    reply, found = read(reply_of(body), at, ends=True)
    assert (found, reply.done, reply.keeps) == (body, True, False)


@given(body=st.binary(min_size=1, max_size=200), at=cuts)
def test_a_compressed_body(body: bytes, at: list[int]) -> None:
    for coding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        data = reply_of(packed, f"Content-Encoding: {coding}", f"Content-Length: {len(packed)}")
        assert read(data, at)[1] == body
        with pytest.raises(BadHttp, match="compression"):
            read(reply_of(packed[:-1], f"Content-Encoding: {coding}"), at, ends=True)


@given(at=cuts)
def test_what_comes_before_an_answer_and_instead_of_a_body(at: list[int]) -> None:
    early = reply_of(b"", status="HTTP/1.1 100 Continue") + reply_of(b"", "Link: x", status="HTTP/1.1 103 Early")
    reply, _ = read(early + reply_of(b"", status="HTTP/1.1 204 No Content"), at)
    assert reply.head is not None
    assert (reply.head.status, reply.done, reply.keeps) == (204, True, True)
    reply, body = read(reply_of(b"", "Content-Length: 70"), at, method="HEAD")
    assert (body, reply.done, reply.keeps) == (b"", True, True)


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (reply_of(b"", "Content-Length: 0", "Connection: Keep-Alive, CLOSE"), False),
        (reply_of(b"", "Content-Length: 0", status="HTTP/1.0 200 OK"), False),
        (reply_of(b"", "Content-Length: 0", "Connection: keep-alive", status="HTTP/1.0 200 OK"), True),
        (reply_of(b"1HTTP/1.1 200 Smuggled\r\n\r\n", "Content-Length: 1"), False),
        (reply_of(b"0\r\n\r\nHTTP/1.1 200", "Transfer-Encoding: chunked"), False),
        (reply_of(b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 3"), False),
        (b"HTTP/1.1 200\nContent-Length: 0\n\n", True),
    ],
)
def test_which_connections_are_used_again(data: bytes, keeps: bool) -> None:
    reply, _ = read(data)
    assert (reply.done, reply.keeps) == (True, keeps)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        reply_of(b"", status="HTTP/1.1 101 Switching Protocols"),
        reply_of(b"", "no colon"),
        reply_of(b"", "a: b", " folded"),
        reply_of(b"", "bad name: x"),
        reply_of(b"x", "Content-Length: -1"),
        reply_of(b"x", "Content-Length: +1"),
        reply_of(b"x", "Content-Length: 1, 2"),
        reply_of(b"x", "Content-Length: ²"),
        reply_of(b"x", "Transfer-Encoding: gzip, chunked"),
        reply_of(b"x", "Content-Encoding: br"),
        reply_of(b"x\r\n", "Transfer-Encoding: chunked"),
        reply_of(b"-1\r\n", "Transfer-Encoding: chunked"),
        reply_of(b"0x1\r\n", "Transfer-Encoding: chunked"),
        reply_of(b"1\r\nxy\r\n", "Transfer-Encoding: chunked"),
        reply_of(b"FFFFFFFFFFFFFFFFF\r\n", "Transfer-Encoding: chunked"),
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_HEAD,
        reply_of(b"1" * (MOST_HEAD + 1), "Transfer-Encoding: chunked"),
    ],
)
def test_what_is_no_reply_is_said(data: bytes) -> None:
    with pytest.raises(BadHttp):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        reply_of(b"12", "Content-Length: 3"),
        reply_of(b"3\r\nab", "Transfer-Encoding: chunked"),
        reply_of(b"2\r\nab\r\n", "Transfer-Encoding: chunked"),
        reply_of(b"2\r\nab\r\n0\r\n", "Transfer-Encoding: chunked"),
    ],
)
def test_a_reply_that_was_cut_off_is_not_taken_for_whole(data: bytes) -> None:
    with pytest.raises(BadHttp):
        read(data, ends=True)


@given(
    data=st.lists(
        st.one_of(
            st.sampled_from(
                [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 304 x\r\n", b"content-length: 5\r\n", b"\r\n", b"\n", b"5\r\n",
                 b"transfer-encoding: chunked\r\n", b"content-encoding: gzip\r\n", b"0\r\n\r\n", b"hello", b"\r", b":"]
            ),
            st.binary(max_size=20),
        ),
        max_size=12,
    ).map(b"".join),
    at=cuts,
)  # fmt: skip
def test_whatever_comes_is_a_reply_or_bad(data: bytes, at: list[int]) -> None:
    try:
        reply, _ = read(data, at, ends=True)
    except BadHttp:
        return
    assert reply.done


def test_no_header_ends_or_forges_another() -> None:
    for value in ("a\r\nx: y", "a\nb", "\0", "€", "tab\there"):
        with pytest.raises(ValueError, match="x-mine"):
            request_head("GET", "/", "host", {"x-mine": value}, b"")
    for target in ("/a b", "/a\r\nx: y", "/é"):
        with pytest.raises(ValueError):  # noqa: PT011
            request_head("GET", target, "host", {}, b"")
    head = request_head("POST", "/a", "h", {"content-length": "7", "transfer-encoding": "chunked"}, b"12")
    assert head == b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n"
