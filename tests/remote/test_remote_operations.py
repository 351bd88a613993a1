"""The remote backend against the official reference server: every operation, sync and async."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

import pytest
from fault_proxy import FaultProxy
from node_server import NodeServer

from agentstream.backends.base import Backend, DropLease, LeaseHeld, TakeLease
from agentstream.backends.remote import RemoteBackend
from agentstream.errors import SessionBusy, StoreError, Unavailable
from agentstream.protocol import errors as refusals
from agentstream.protocol.operations import (
    NOW,
    START,
    Append,
    Create,
    Delete,
    Follow,
    ForkPoint,
    Head,
    Producer,
    Read,
)


@pytest.fixture
def backend(face: Any, server: NodeServer) -> Any:
    return face.backend(server.place())


def test_it_is_a_backend() -> None:
    assert isinstance(RemoteBackend("http://127.0.0.1:1/v1/stream"), Backend)


def test_a_streams_life(face: Any, backend: Any) -> None:
    made = face.do(backend, Create("a/b%20c", (b'{"n":1}',)))
    assert (made.new, face.do(backend, Create("a/b%20c")).new) == (True, False)
    appended = face.do(backend, Append("a/b%20c", (b'{"n":2}', b"[3]")))
    assert not appended.duplicate
    page = face.do(backend, Read("a/b%20c"))
    assert (page.messages, page.offset, page.up_to_date) == ((b'{"n":1}', b'{"n":2}', b"[3]"), appended.offset, True)
    assert face.do(backend, Read("a/b%20c", made.offset)).messages == (b'{"n":2}', b"[3]")
    assert face.do(backend, Read("a/b%20c", NOW)).offset == appended.offset
    info = face.do(backend, Head("a/b%20c"))
    assert (info.content_type, info.offset, info.closed, info.ttl) == ("application/json", appended.offset, False, None)
    closing = face.do(backend, Append("a/b%20c", close=True))
    assert closing.closed
    assert face.do(backend, Read("a/b%20c")).closed
    with pytest.raises(refusals.StreamClosed) as refused:
        face.do(backend, Append("a/b%20c", (b"4",)))
    assert refused.value.offset == appended.offset
    assert face.do(backend, Delete("a/b%20c")) is None
    with pytest.raises(refusals.StreamNotFound):
        face.do(backend, Head("a/b%20c"))


def test_bytes_and_their_offsets(face: Any, backend: Any) -> None:
    face.do(backend, Create("raw", (b"\x00\xff",), "application/octet-stream", ttl=600))
    face.do(backend, Append("raw", (b"abc", b"def"), "application/octet-stream"))
    page = face.do(backend, Read("raw"))
    assert b"".join(page.messages) == b"\x00\xffabcdef"
    assert face.do(backend, Read("raw", skip=4)).messages == (b"cdef",)
    assert face.do(backend, Head("raw")).ttl == 600
    with pytest.raises(refusals.StreamConflict):
        face.do(backend, Append("raw", (b"1",)))
    with pytest.raises(refusals.StreamConflict):
        face.do(backend, Create("raw"))


def test_expiry_is_read_back(face: Any, backend: Any) -> None:
    face.do(backend, Create("soon", expires_at="2099-01-01T00:00:00Z"))
    assert face.do(backend, Head("soon")).expires_at.startswith("2099-01-01T00:00:00")


def test_producers(face: Any, backend: Any) -> None:
    face.do(backend, Create("p"))
    first = Append("p", (b"1",), producer=Producer("me", 3, 0))
    assert face.do(backend, first).offset
    again = face.do(backend, first)
    assert (again.duplicate, again.offset, again.last_seq) == (True, None, 0)
    with pytest.raises(refusals.SequenceGap) as gap:
        face.do(backend, Append("p", (b"2",), producer=Producer("me", 3, 5)))
    assert (gap.value.expected, gap.value.received) == (1, 5)
    with pytest.raises(refusals.StaleEpoch) as stale:
        face.do(backend, Append("p", (b"2",), producer=Producer("me", 2, 0)))
    assert stale.value.epoch == 3
    last = Append("p", (b"9",), producer=Producer("me", 3, 1), close=True)
    assert face.do(backend, last).closed
    assert face.do(backend, last).duplicate
    face.do(backend, Create("q"))
    closed = face.do(backend, Append("q", producer=Producer("me", 0, 0), close=True))
    assert (closed.duplicate, closed.closed) == (False, True)


def test_stream_seq(face: Any, backend: Any) -> None:
    face.do(backend, Create("seq"))
    face.do(backend, Append("seq", (b"1",), seq="02"))
    with pytest.raises(refusals.SequenceConflict):
        face.do(backend, Append("seq", (b"1",), seq="01"))


def test_forks(face: Any, backend: Any) -> None:
    first = face.do(backend, Create("s", (b"1", b"2"))).offset
    face.do(backend, Append("s", (b"3", b"4")))
    face.do(backend, Create("f", (b"5",), fork=ForkPoint("s", first, 1)))
    assert face.do(backend, Read("f")).messages == (b"1", b"2", b"3", b"5")
    face.do(backend, Create("tail", fork=ForkPoint("s", NOW)))
    assert face.do(backend, Read("tail")).messages == (b"1", b"2", b"3", b"4")
    with pytest.raises(refusals.InvalidRequest):
        face.do(backend, Create("g", fork=ForkPoint("s", START, 1)))
    with pytest.raises(refusals.StreamNotFound):
        face.do(backend, Create("g", fork=ForkPoint("none", first)))
    face.do(backend, Delete("s"))
    with pytest.raises(refusals.StreamGone):
        face.do(backend, Read("s"))
    with pytest.raises(refusals.StreamConflict):
        face.do(backend, Create("s"))


def test_a_page_that_did_not_change(face: Any, backend: Any) -> None:
    face.do(backend, Create("e", (b"1",)))
    page = face.do(backend, Read("e"))
    assert face.do(backend, Read("e", etag=page.etag)).unchanged
    face.do(backend, Append("e", (b"2",)))
    changed = face.do(backend, Read("e", etag=page.etag))
    assert (changed.unchanged, changed.messages) == (False, (b"1", b"2"))


def test_skipping_counts_messages(face: Any, backend: Any) -> None:
    face.do(backend, Create("s", (b"1", b"2", b"3")))
    assert face.do(backend, Read("s", skip=2)).messages == (b"3",)
    assert face.do(backend, Read("s", skip=3)).messages == ()


def test_a_read_waits_for_what_comes(face: Any, backend: Any) -> None:
    offset = face.do(backend, Create("w")).offset
    later = threading.Timer(0.1, lambda: backend.submit(Append("w", (b"1",))).result(60))
    if face.name == "sync":
        later.start()
        page = face.do(backend, Read("w", offset, wait=60))
        later.join()
    else:
        pending = backend.submit(Read("w", offset, wait=60))
        face.do(backend, Append("w", (b"1",)))
        page = pending.result(60)
    assert page.messages == (b"1",)
    face.do(backend, Append("w", close=True))
    assert face.do(backend, Read("w", page.offset, wait=60)).closed


def test_a_read_waits_no_longer_than_asked(face: Any, backend: Any) -> None:
    offset = face.do(backend, Create("w", (b"1",))).offset
    for start in (offset, NOW):
        page = face.do(backend, Read("w", start, wait=0.1))
        assert (page.messages, page.offset, page.up_to_date, page.closed) == ((), offset, True, False)
    assert face.do(backend, Read("w", START, wait=0)).messages == (b"1",)


def test_a_server_that_answers_long_polls_early_is_asked_again(face: Any) -> None:
    server = NodeServer(long_poll=0.02)
    with closing(server), FaultProxy(server.place(), lambda number, method, path: None) as proxy:
        backend = face.backend(proxy.url)
        offset = face.do(backend, Create("w")).offset
        assert face.do(backend, Read("w", offset, wait=0.5)).messages == ()
        asked = [path for _, path, _ in proxy.requests if "live=long-poll" in path]
        assert 1 < len(asked) < 30  # again, but not in a rush


@pytest.mark.parametrize(
    ("content_type", "blocks"),
    [("application/json", (b'{"n":1}', b"2")), ("text/plain", (b"a\n\nb: c\n",)), ("image/png", (b"\x00\n\xff",))],
)
def test_following_live(face: Any, backend: Any, content_type: str, blocks: tuple[bytes, ...]) -> None:
    face.do(backend, Create("live", content_type=content_type))
    for block in blocks:
        face.do(backend, Append("live", (block,), content_type))
    face.do(backend, Append("live", close=True))
    pages = face.pages(backend, Follow("live"), 99)
    assert b"".join(message for page in pages for message in page.messages) == b"".join(blocks)
    assert pages[-1].closed
    assert pages[-1].offset == face.do(backend, Head("live")).offset


def test_leases(face: Any, server: NodeServer) -> None:
    root = server.place()
    mine, other = face.backend(root, lease_ttl=1), face.backend(root, lease_ttl=1)
    face.do(mine, TakeLease("s", "token"))
    for backend in (mine, other):
        assert face.do(backend, LeaseHeld("s", "token"))
        with pytest.raises(SessionBusy):
            face.do(backend, TakeLease("s", "token"))
    face.do(other, DropLease("s", "token"))  # another's: nothing happens
    began = time.monotonic()
    while time.monotonic() - began < 1.5:  # longer than its time to live: it is renewed
        assert face.do(other, LeaseHeld("s", "token"))
    face.do(mine, DropLease("s", "token"))
    assert not face.do(other, LeaseHeld("s", "token"))
    face.do(mine, DropLease("s", "token"))


def test_a_lease_whose_holder_is_gone_lapses(face: Any, server: NodeServer) -> None:
    root = server.place()
    holder, other = face.backend(root, lease_ttl=1), face.backend(root, lease_ttl=1)
    face.do(holder, TakeLease("s", "token"))
    holder._leases._over.set()  # it renews no more, as one that was killed
    give_up = time.monotonic() + 60
    while face.do(other, LeaseHeld("s", "token")):  # and looking does not renew it
        assert time.monotonic() < give_up


def test_closing_lets_go_of_leases(face: Any, server: NodeServer) -> None:
    root = server.place()
    holder, other = RemoteBackend(root), face.backend(root)
    holder.execute(TakeLease("s", "token"))
    holder.close()
    assert not face.do(other, LeaseHeld("s", "token"))
    with pytest.raises(StoreError, match="closed"):
        holder.execute(Head("s"))


def test_nobody_there(face: Any) -> None:
    backend = face.backend("http://127.0.0.1:9/v1/stream")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        face.do(backend, Read("s"))


@pytest.mark.parametrize("url", ["ftp://host/x", "http:///v1", "http://host/v1?x=1", "host/v1"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        RemoteBackend(url)


def test_a_password_in_the_url_is_in_no_message() -> None:
    backend = RemoteBackend("http://me:secret@127.0.0.1:9/v1/stream")
    with pytest.raises(Unavailable) as raised:
        backend._sender.execute(_send(backend))
    assert "secret" not in backend.name + str(raised.value)
    backend.close()


def _send(backend: RemoteBackend) -> Any:
    from agentstream.backends.remote.exchange import Send
    from agentstream.protocol.requests import request_of

    return Send(request_of(Head("s"), backend._sender.root))
