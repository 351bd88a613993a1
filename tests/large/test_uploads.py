"""Blobs as they are written: torn, contended, refused, forgotten; what counts is whole, and what is whole counts."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from failing import FailingBackend
from hostile import HostileBackend
from large_kit import digest_of, is_whole, replace_blob, stored, torn

from agentstream import BlobLost, StoreError, Unavailable
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create, Read
from agentstream.sessions import blobs as module
from agentstream.sessions.blobs import CHUNK, Blobs
from agentstream.sessions.references import BYTES, Ref

CONTENT = bytes(range(256)) * (CHUNK // 256) + b"second" * 100_000 + b"x" * CHUNK + b"the end"
SMALL = b"small" * 1000


def ref_of(content: bytes) -> Ref:
    return Ref(digest_of(content), len(content), "application/octet-stream", BYTES)


def read(content: bytes, place: int, size: int) -> bytes:
    return content[place : place + size]


def save(backend: Any, content: bytes, *, says: Ref | None = None) -> Ref:
    """With a client that knows nothing."""
    ref = says or ref_of(content)
    drive(Blobs(backend).save(ref, partial(read, content)), backend)
    return ref


@pytest.mark.parametrize("content", [b"", b"x", SMALL, b"y" * CHUNK, b"z" * (CHUNK + 1), b"w" * (2 * CHUNK), CONTENT])
def test_what_is_written_is_read(backend: Any, content: bytes):
    ref = save(backend, content)
    assert is_whole(backend, ref)
    assert drive(Blobs(backend).content(ref), backend) == content
    assert save(backend, content) == ref
    assert stored(backend, ref.sha256) == (content, True)


def test_appends_are_of_a_megabyte_at_most(backend: Any):
    sizes: list[int] = []
    inner = backend.execute

    def watched(operation: Any) -> Any:
        if isinstance(operation, (Append, Create)):
            sizes.append(sum(map(len, operation.body)))
        return inner(operation)

    backend.execute = watched
    save(backend, CONTENT)
    assert max(sizes) == CHUNK
    assert sum(sizes) == len(CONTENT)


@pytest.mark.parametrize("chunk", [CHUNK, 1000])
def test_a_torn_upload_does_not_count_and_is_finished_or_remade(backend: Any, chunk: int):
    ref = ref_of(CONTENT)
    torn(backend, ref.sha256, CONTENT, chunk)
    with pytest.raises(BlobLost, match="damaged"):
        drive(Blobs(backend).content(ref), backend)
    with pytest.raises(BlobLost):
        drive(Blobs(backend).rely(ref), backend)
    save(backend, CONTENT)
    assert stored(backend, ref.sha256) == (CONTENT, True)


@pytest.mark.parametrize("content", [SMALL, CONTENT])
def test_closed_and_of_another_size_is_remade(backend: Any, content: bytes):
    ref = save(backend, content)
    replace_blob(backend, ref.sha256, content[:-1])
    save(backend, content)
    assert is_whole(backend, ref)


def test_a_crash_at_any_moment_of_an_upload(backend: Any):
    for after in range(3):
        content = CONTENT + bytes([after])
        ref = ref_of(content)
        with pytest.raises(Unavailable):
            save(FailingBackend(backend, after=after), content)
        with pytest.raises(BlobLost):
            drive(Blobs(backend).content(ref), backend)
        save(backend, content)
        assert is_whole(backend, ref)


@pytest.mark.parametrize("content", [SMALL, CONTENT])
def test_lost_replies(content: bytes):
    """Each answer lost once, in turn; and all of them at once."""
    for lost in (*({number} for number in range(12)), set(range(0, 60, 2))):
        backend = HostileBackend(drop_replies=lost)
        ref = save(backend, content)
        backend.drop_replies = ()
        assert stored(backend, ref.sha256) == (content, True)


def test_a_server_that_forgets_between_the_chunks():
    backend = HostileBackend()
    inner = backend.execute

    def forgetful(operation: Any) -> Any:
        backend.restart()
        return inner(operation)

    backend.execute = forgetful  # type: ignore[method-assign]
    ref = save(backend, CONTENT)
    assert is_whole(backend, ref)


def test_many_write_the_same_at_once(backend: Any):
    ref, errors = ref_of(CONTENT), []
    start = threading.Barrier(4)

    def one() -> None:
        start.wait(60)
        try:
            save(backend, CONTENT)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert stored(backend, ref.sha256) == (CONTENT, True)


@pytest.mark.parametrize("turn", range(12))
def test_two_writers_step_by_step(backend: Any, turn: int):
    """One does `turn` operations, the other all of its own, then the first goes on."""
    first = Blobs(backend).save(ref_of(CONTENT), partial(read, CONTENT))
    try:
        request = next(first)
        for _ in range(turn):
            request = first.send(_done(request, backend))
        save(backend, CONTENT)
        while True:
            try:
                result = _done(request, backend)
            except Exception as error:
                request = first.throw(error)
            else:
                request = first.send(result)
    except StopIteration:
        pass
    assert stored(backend, ref_of(CONTENT).sha256) == (CONTENT, True)


def _done(request: Any, backend: Any) -> Any:
    function = getattr(request, "function", None)
    return function() if function is not None else backend.execute(request)


@pytest.mark.parametrize("content", [SMALL, CONTENT])
def test_content_that_changed_is_refused_and_leaves_nothing_that_counts(backend: Any, content: bytes):
    for says in (ref_of(content[:-1] + b"!"), ref_of(content + b"more")):
        with pytest.raises(ValueError, match="changed while it was read"):
            save(backend, content, says=says)
        with pytest.raises(BlobLost):
            drive(Blobs(backend).content(says), backend)
    save(backend, content[:-1] + b"!")  # what was left behind is no obstacle
    assert is_whole(backend, ref_of(content[:-1] + b"!"))


def test_a_store_that_never_keeps_it_says_so(backend: Any, monkeypatch: pytest.MonkeyPatch):
    def put(*_: Any) -> Any:
        return "doubtful"
        yield

    monkeypatch.setattr(module, "_put", put)
    with pytest.raises(StoreError, match="cannot be kept"):
        save(backend, SMALL)


def test_a_client_that_wrote_it_asks_no_more(backend: Any):
    client = Blobs(backend)
    ref = ref_of(SMALL)
    drive(client.save(ref, partial(read, SMALL)), backend)

    def refuse(operation: Any) -> Any:
        raise AssertionError(f"nothing is to be asked: {operation}")

    backend.execute, before = refuse, backend.execute
    try:
        drive(client.save(ref, partial(read, SMALL)), backend)
        drive(client.rely(ref), backend)
    finally:
        backend.execute = before


def test_a_long_stream_is_read_page_by_page(backend: Any):
    """What one read takes stays small, however long the stream; sync and async alike."""
    import asyncio

    ref = save(backend, CONTENT * 4)
    pages: list[int] = []
    before, abefore = backend.execute, backend.aexecute

    def execute(operation: Any) -> Any:
        done = before(operation)
        if isinstance(operation, Read):
            pages.append(sum(map(len, done.messages)))
        return done

    async def aexecute(operation: Any) -> Any:
        done = await abefore(operation)
        if isinstance(operation, Read):
            pages.append(sum(map(len, done.messages)))
        return done

    backend.execute, backend.aexecute = execute, aexecute

    async def all_of_it() -> bytes:
        return b"".join([piece async for piece in Blobs(backend).apieces(ref)])

    assert b"".join(Blobs(backend).pieces(ref)) == CONTENT * 4
    assert asyncio.run(all_of_it()) == CONTENT * 4
    assert max(pages) <= 4 * CHUNK
    assert sum(pages) == 8 * len(CONTENT)


def test_the_embedded_engine_keeps_and_closes(tmp_path: Any):
    backend = EmbeddedBackend(tmp_path)
    ref = save(backend, CONTENT)
    backend.close()
    again = EmbeddedBackend(tmp_path)
    assert is_whole(again, ref)
    again.close()
