"""Connections of our own: when they are used again, when they are closed, and what they say when things go wrong."""

from __future__ import annotations

import asyncio
import select
import threading
from contextlib import aclosing
from typing import Any

import pytest
from node_server import node_server
from scripted_server import CLOSE, NO_CONTENT, OK, ScriptedServer

from agentstream.backends.remote import RemoteBackend
from agentstream.backends.remote.exchange import Backoff
from agentstream.errors import StoreError, Unavailable
from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.operations import Append, Create, Follow, Head, Read

ONCE = Backoff(tries=1)
BIG = b'"%b"' % (b"x" * 9_000_000)


def test_a_connection_is_used_again_only_after_a_whole_reply(face: Any) -> None:
    answers = [OK, OK, OK + CLOSE, OK, b"HTTP/1.0 200 OK\r\nstream-next-offset: 7\r\n\r\n" + CLOSE, OK]
    with ScriptedServer(answers) as server:
        backend = face.backend(server.url)
        for _ in answers:
            assert face.do(backend, Head("s")).offset == "7"
        assert server.connections == 3


def test_a_reply_that_nobody_asked_for_is_nobodys(face: Any) -> None:
    forged = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    with ScriptedServer([OK + forged, OK, OK]) as server:
        backend = face.backend(server.url)
        for _ in range(3):
            assert face.do(backend, Head("s")).offset == "7"


def test_an_idle_connection_that_the_server_has_closed_loses_no_append() -> None:
    """An append is sent once: on a connection that is known to be closed it would fail for nothing."""
    with ScriptedServer([OK + CLOSE, NO_CONTENT] * 2) as server:
        backend = RemoteBackend(server.url)
        backend.execute(Head("s"))
        ((idle, _),) = backend._sender._sync_client()._idle
        select.select([idle], [], [], 60)  # its end has come
        backend.execute(Append("s", (b"1",)))
        backend.close()

        async def run() -> None:
            backend = RemoteBackend(server.url)
            await backend.aexecute(Head("s"))
            ((idle, _),) = (await backend._sender._async_client())._idle
            while idle.is_quiet:
                await asyncio.sleep(0.001)
            await backend.aexecute(Append("s", (b"1",)))
            await backend.aclose()

        asyncio.run(run())
        assert server.connections == 4


def test_an_append_whose_answer_is_broken_is_not_sent_again(face: Any) -> None:
    for broken in (b"", b"HTTP/1.1 204 No", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"):
        with ScriptedServer([broken + CLOSE]) as server:
            backend = face.backend(server.url)
            with pytest.raises(Unavailable, match="broke off"):
                face.do(backend, Append("s", (b"1",)))
            assert len(server.heads) == 1


def test_what_only_reads_is_asked_again(face: Any) -> None:
    with ScriptedServer([CLOSE, b"HTTP/1.1 200 OK\r\ncontent-" + CLOSE, OK]) as server:
        backend = face.backend(server.url)
        assert face.do(backend, Head("s")).offset == "7"
        assert len(server.heads) == 3


def test_a_server_that_is_not_there(face: Any) -> None:
    with ScriptedServer([]) as server:
        url = server.url
    with pytest.raises(Unavailable, match="cannot be reached"):
        face.do(face.backend(url), Append("s", (b"1",)))


def test_a_refusal_before_the_body_was_read_is_heard(face: Any) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with ScriptedServer([refusal], reads_bodies=False) as server:
        backend = face.backend(server.url, backoff=ONCE)
        with pytest.raises((StoreError, Unavailable), match=r"413|broke off"):  # a reset may overtake the answer
            face.do(backend, Append("s", (BIG,)))


def test_much_goes_both_ways(face: Any) -> None:
    backend = face.backend(node_server().place())
    face.do(backend, Create("s"))
    for _ in range(3):
        face.do(backend, Append("s", (BIG,)))
    page = face.do(backend, Read("s"))
    assert page.messages == (BIG,) * 3


def test_more_at_once_than_connections_are_kept() -> None:
    backend = RemoteBackend(node_server().place())

    async def many() -> None:
        await backend.aexecute(Create("s"))
        await asyncio.gather(*(backend.aexecute(Append("s", (b"%d" % n,))) for n in range(150)))
        assert len((await backend.aexecute(Read("s"))).messages) == 150
        await backend.aclose()

    asyncio.run(many())


def test_a_request_that_was_given_up_leaves_no_answer_to_the_next() -> None:
    """An answer that comes late, on a connection used again, would be taken for another request's."""
    held = threading.Event()

    def slow() -> Any:
        held.wait(60)
        yield b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        while True:
            yield OK

    async def run(server: ScriptedServer) -> None:
        backend = RemoteBackend(server.url)
        task = asyncio.create_task(backend.aexecute(Head("s")))
        while not server.heads:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.set()
        while server.connections < 2:
            assert (await backend.aexecute(Head("s"))).offset == "7"
        await backend.aclose()

    with ScriptedServer(slow()) as server:
        asyncio.run(run(server))


def test_a_live_read_that_is_left_leaves_no_connection_behind() -> None:
    """Its connection holds half an answer: whoever used it again would read the rest of that."""
    backend = RemoteBackend(node_server().place())

    async def run() -> None:
        await backend.aexecute(Create("s", (b"1",)))
        for _ in range(3):
            async with aclosing(backend.afollow(Follow("s"), "application/json")) as pages:
                assert (await pages.__anext__()).messages == (b"1",)
            assert (await backend.aexecute(Read("s"))).messages == (b"1",)

    asyncio.run(run())
    for _ in range(3):
        pages: Any = backend.follow(Follow("s"), "application/json")
        assert next(pages).messages == (b"1",)
        pages.close()
        assert backend.execute(Read("s")).messages == (b"1",)
    backend.close()


def test_no_header_of_a_user_forges_another(face: Any) -> None:
    with ScriptedServer([OK]) as server:
        backend = face.backend(server.url, headers={"x-mine": lambda: "a\r\nx-forged: 1"})
        with pytest.raises(InvalidRequest, match="x-mine"):
            face.do(backend, Head("s"))
        assert not server.heads


def test_what_is_sent(face: Any) -> None:
    with ScriptedServer([NO_CONTENT] * 2) as server:
        backend = face.backend(
            f"{server.url}/a b/é".replace("http://", "http://me:s%C3%A9cret@"), headers={"Host": "h"}
        )
        face.do(backend, Append("s", (b"1",)))
        head = server.heads[0].split("\n")
        assert head[0] == "POST /v1/a%20b/%C3%A9/s HTTP/1.1"
        assert sorted(line.split(":")[0] for line in head[1:]) == [
            "accept-encoding", "authorization", "content-length", "content-type", "host", "user-agent",
        ]  # fmt: skip
        assert "host: h" in head


def test_offsets_are_the_servers_and_are_sent_back_as_they_came(face: Any) -> None:
    odd = 'a+b%c~d:e"f'
    answer = f"HTTP/1.1 200 OK\r\nstream-next-offset: {odd}\r\ncontent-length: 0\r\n\r\n".encode()
    with ScriptedServer([answer] * 2) as server:
        backend = face.backend(server.url)
        offset = face.do(backend, Read("s")).offset
        assert offset == odd
        face.do(backend, Read("s", offset))
        assert server.heads[1].split("\n")[0] == "GET /v1/s?offset=a%2Bb%25c~d%3Ae%22f HTTP/1.1"


def test_the_cursor_of_a_live_read_goes_with_the_next(face: Any) -> None:
    body = b"[1]"
    first = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nstream-next-offset: 8\r\nstream-cursor: 77\r\n"
    with ScriptedServer([first + b"content-length: 3\r\n\r\n" + body] * 2) as server:
        backend = face.backend(server.url)
        face.do(backend, Read("s", "7", wait=30))
        face.do(backend, Read("s", "8", wait=30))
        targets = [head.split("\n")[0] for head in server.heads]
        assert targets == [
            "GET /v1/s?live=long-poll&offset=7 HTTP/1.1",
            "GET /v1/s?cursor=77&live=long-poll&offset=8 HTTP/1.1",
        ]


def test_who_is_sent_elsewhere_takes_no_token_there(face: Any) -> None:
    with ScriptedServer([OK]) as other:
        moved = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {other.url}/s\r\ncontent-length: 0\r\n\r\n".encode()
        with ScriptedServer([moved]) as server:
            backend = face.backend(server.url, headers={"authorization": "Bearer secret"})
            with pytest.raises(StoreError, match="307"):
                face.do(backend, Head("s"))
            assert not other.heads
