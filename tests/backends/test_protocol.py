"""What every backend owes: the protocol's rules, on the embedded one (disk and memory) and on the hostile one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import HostileBackend

from agentstream.backends.base import Backend, DropLease, LeaseHeld, TakeLease
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import SessionBusy
from agentstream.protocol.errors import (
    InvalidRequest,
    SequenceConflict,
    SequenceGap,
    StaleEpoch,
    StreamClosed,
    StreamConflict,
    StreamGone,
    StreamNotFound,
)
from agentstream.protocol.operations import (
    NOW,
    START,
    Append,
    Batch,
    Create,
    Delete,
    ForkPoint,
    Head,
    Producer,
    Read,
)


@pytest.fixture(params=["disk", "memory", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made: Backend
    if request.param == "hostile":
        made = HostileBackend(rewrites_numbers=False)
    else:
        made = EmbeddedBackend(tmp_path / "store" if request.param == "disk" else None)
    yield made
    made.close()


def everything(backend: Backend, path: str) -> list[bytes]:
    messages: list[bytes] = []
    offset = START
    while True:
        batch = backend.execute(Read(path, offset))
        messages += batch.messages
        offset = batch.offset
        if batch.up_to_date:
            return messages


def test_what_is_appended_is_read_in_order(backend: Backend) -> None:
    assert backend.execute(Create("s", (b"1", b"2"))).new
    assert backend.execute(Append("s", (b'{"a":3}',))).offset == backend.execute(Head("s")).offset
    assert everything(backend, "s") == [b"1", b"2", b'{"a":3}']


def test_reading_goes_on_at_the_offset_of_a_page_and_of_an_append(backend: Backend) -> None:
    created = backend.execute(Create("s", (b"1", b"2")))
    first = backend.execute(Append("s", (b"3",)))
    second = backend.execute(Append("s", (b"4", b"5")))
    assert backend.execute(Read("s", created.offset)).messages == (b"3", b"4", b"5")
    assert backend.execute(Read("s", first.offset)).messages == (b"4", b"5")
    at_end = backend.execute(Read("s", second.offset))
    assert (at_end.messages, at_end.offset, at_end.up_to_date) == ((), second.offset, True)
    assert created.offset < first.offset < second.offset


def test_now_is_the_tail(backend: Backend) -> None:
    created = backend.execute(Create("s", (b"1",)))
    batch = backend.execute(Read("s", NOW))
    assert (batch.messages, batch.offset, batch.up_to_date) == ((), created.offset, True)


@pytest.mark.parametrize("offset", ["", "x", "-2", "0", "1.5", "0000000000000001x", "00000000000000001", "\u0660" * 16])
def test_an_offset_that_was_never_minted_is_refused(backend: Backend, offset: str) -> None:
    backend.execute(Create("s", (b"1",)))
    with pytest.raises(InvalidRequest):
        backend.execute(Read("s", offset))
    with pytest.raises(InvalidRequest):
        backend.execute(Create("f", fork=ForkPoint("s", offset)))


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"NaN", b"1 2", b"1,2", b'"\xff"', b"[1", b"'a'"])
def test_a_body_that_is_no_json_is_refused_whole(backend: Backend, body: bytes) -> None:
    backend.execute(Create("s", (b"1",)))
    with pytest.raises(InvalidRequest):
        backend.execute(Append("s", (b"2", body)))
    with pytest.raises(InvalidRequest):
        backend.execute(Create("t", (b"2", body)))
    assert everything(backend, "s") == [b"1"]
    with pytest.raises(StreamNotFound):
        backend.execute(Head("t"))


def test_an_empty_append_is_refused(backend: Backend) -> None:
    backend.execute(Create("s"))
    with pytest.raises(InvalidRequest):
        backend.execute(Append("s"))


def test_a_missing_stream_is_not_found(backend: Backend) -> None:
    for operation in (Read("s"), Head("s"), Append("s", (b"1",)), Delete("s"), Create("f", fork=ForkPoint("s"))):
        with pytest.raises(StreamNotFound):
            backend.execute(operation)


def test_creating_again_is_idempotent_and_appends_nothing(backend: Backend) -> None:
    first = backend.execute(Create("s", (b"1",)))
    again = backend.execute(Create("s", (b"2",)))
    assert (again.new, again.offset) == (False, first.offset)
    assert everything(backend, "s") == [b"1"]


@pytest.mark.parametrize(
    "other",
    [
        Create("s", content_type="text/plain"),
        Create("s", closed=True),
        Create("s", ttl=9),
        Create("s", fork=ForkPoint("o")),
    ],
)
def test_creating_again_otherwise_is_a_conflict(backend: Backend, other: Create) -> None:
    backend.execute(Create("o"))
    backend.execute(Create("s"))
    with pytest.raises(StreamConflict):
        backend.execute(other)


def test_another_content_type_is_a_conflict(backend: Backend) -> None:
    backend.execute(Create("s"))
    with pytest.raises(StreamConflict):
        backend.execute(Append("s", (b"1",), content_type="text/plain"))


def test_bytes_streams_keep_bytes(backend: Backend) -> None:
    backend.execute(Create("s", (b"\x00\xff",), content_type="application/octet-stream"))
    backend.execute(Append("s", (b"ab", b"", b"c"), content_type="application/octet-stream"))
    assert b"".join(everything(backend, "s")) == b"\x00\xffabc"


class TestProducers:
    def test_a_repeated_append_is_a_duplicate(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        append = Append("s", (b"1",), producer=Producer("p", 3, 0))
        assert not backend.execute(append).duplicate
        repeated = backend.execute(append)
        assert (repeated.offset, repeated.duplicate, repeated.closed) == (None, True, False)
        # the body does not count: the tuple is the request's identity
        assert backend.execute(Append("s", (b"2",), producer=Producer("p", 3, 0))).duplicate
        assert everything(backend, "s") == [b"1"]

    def test_a_gap_says_what_was_expected(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        with pytest.raises(SequenceGap) as new:
            backend.execute(Append("s", (b"1",), producer=Producer("p", 0, 1)))
        assert (new.value.expected, new.value.received) == (0, 1)
        backend.execute(Append("s", (b"1",), producer=Producer("p", 0, 0)))
        with pytest.raises(SequenceGap) as gap:
            backend.execute(Append("s", (b"1",), producer=Producer("p", 0, 2)))
        assert (gap.value.expected, gap.value.received) == (1, 2)
        assert everything(backend, "s") == [b"1"]

    def test_a_higher_epoch_fences_a_lower_one(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        backend.execute(Append("s", (b"1",), producer=Producer("p", 0, 0)))
        with pytest.raises(InvalidRequest):
            backend.execute(Append("s", (b"2",), producer=Producer("p", 1, 1)))
        backend.execute(Append("s", (b"2",), producer=Producer("p", 1, 0)))
        with pytest.raises(StaleEpoch) as stale:
            backend.execute(Append("s", (b"3",), producer=Producer("p", 0, 1)))
        assert stale.value.epoch == 1
        assert everything(backend, "s") == [b"1", b"2"]

    def test_producers_do_not_know_each_other(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        for name in "pq":
            backend.execute(Append("s", (b"1",), producer=Producer(name, 0, 0)))
        assert len(everything(backend, "s")) == 2

    def test_forks_and_new_incarnations_inherit_none(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        backend.execute(Append("s", (b"1",), producer=Producer("p", 4, 0)))
        backend.execute(Create("f", fork=ForkPoint("s", NOW)))
        assert not backend.execute(Append("f", (b"2",), producer=Producer("p", 0, 0))).duplicate
        backend.execute(Delete("f"))
        backend.execute(Delete("s"))
        backend.execute(Create("s"))
        assert not backend.execute(Append("s", (b"3",), producer=Producer("p", 0, 0))).duplicate
        assert everything(backend, "s") == [b"3"]


class TestClosure:
    def test_closing_with_a_body_is_one_append(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        assert backend.execute(Append("s", (b"1",), close=True)).closed
        batch = backend.execute(Read("s"))
        assert (batch.messages, batch.closed, batch.up_to_date) == ((b"1",), True, True)
        assert backend.execute(Head("s")).closed

    def test_closing_again_without_a_body_changes_nothing(self, backend: Backend) -> None:
        backend.execute(Create("s", (b"1",)))
        first = backend.execute(Append("s", close=True))
        assert backend.execute(Append("s", close=True)) == first
        assert first.closed

    def test_appending_after_is_refused_with_the_final_offset(self, backend: Backend) -> None:
        final = backend.execute(Create("s", (b"1",), closed=True)).offset
        for operation in (Append("s", (b"2",)), Append("s", (b"2",), close=True)):
            with pytest.raises(StreamClosed) as refused:
                backend.execute(operation)
            assert refused.value.offset == final

    def test_a_repeated_closing_append_is_a_duplicate(self, backend: Backend) -> None:
        backend.execute(Create("s"))
        append = Append("s", (b"1",), close=True, producer=Producer("p", 0, 0))
        backend.execute(append)
        repeated = backend.execute(append)
        assert (repeated.offset, repeated.duplicate, repeated.closed) == (None, True, True)
        with pytest.raises(StreamClosed):
            backend.execute(Append("s", close=True, producer=Producer("q", 0, 0)))

    def test_closed_comes_before_content_type_and_sequence(self, backend: Backend) -> None:
        backend.execute(Create("s", closed=True))
        with pytest.raises(StreamClosed):
            backend.execute(Append("s", (b"x",), content_type="text/plain", seq="0"))


def test_stream_seq_rises_bytewise(backend: Backend) -> None:
    backend.execute(Create("s"))
    backend.execute(Append("s", (b"1",), seq="9"))
    for seq in ("9", "10", "8"):
        with pytest.raises(SequenceConflict):
            backend.execute(Append("s", (b"2",), seq=seq))
    backend.execute(Append("s", (b"2",), seq="a"))
    assert everything(backend, "s") == [b"1", b"2"]


class TestForks:
    def test_a_fork_shares_what_is_before_the_cut_and_nothing_after(self, backend: Backend) -> None:
        offset = backend.execute(Create("s", (b"1", b"2"))).offset
        backend.execute(Append("s", (b"3",)))
        backend.execute(Create("f", (b'"f"',), fork=ForkPoint("s", offset)))
        backend.execute(Append("s", (b"4",)))
        backend.execute(Append("f", (b'"g"',)))
        assert everything(backend, "f") == [b"1", b"2", b'"f"', b'"g"']
        assert everything(backend, "s") == [b"1", b"2", b"3", b"4"]

    def test_skip_cuts_inside_an_append(self, backend: Backend) -> None:
        offset = backend.execute(Create("s", (b"1",))).offset
        backend.execute(Append("s", (b"2", b"3", b"4")))
        backend.execute(Create("f", (b'"f"',), fork=ForkPoint("s", offset, 2)))
        assert everything(backend, "f") == [b"1", b"2", b"3", b'"f"']

    def test_a_cut_beyond_the_tail_is_refused(self, backend: Backend) -> None:
        offset = backend.execute(Create("s", (b"1",))).offset
        with pytest.raises(InvalidRequest):
            backend.execute(Create("f", fork=ForkPoint("s", offset, 1)))
        with pytest.raises(StreamNotFound):
            backend.execute(Head("f"))

    def test_a_fork_of_a_closed_stream_is_open(self, backend: Backend) -> None:
        backend.execute(Create("s", (b"1",), closed=True))
        assert not backend.execute(Create("f", fork=ForkPoint("s", NOW))).closed
        backend.execute(Append("f", (b"2",)))
        assert everything(backend, "f") == [b"1", b"2"]

    def test_a_deleted_parent_lives_on_in_its_forks_and_goes_with_the_last(self, backend: Backend) -> None:
        backend.execute(Create("s", (b"1",)))
        backend.execute(Create("f", (b"2",), fork=ForkPoint("s", NOW)))
        backend.execute(Create("g", (b"3",), fork=ForkPoint("f", NOW)))
        backend.execute(Delete("s"))
        backend.execute(Delete("f"))
        for operation in (Read("s"), Head("s"), Append("s", (b"1",)), Delete("s"), Read("f")):
            with pytest.raises(StreamGone):
                backend.execute(operation)
        for operation in (Create("s"), Create("h", fork=ForkPoint("s"))):
            with pytest.raises(StreamConflict):
                backend.execute(operation)
        assert everything(backend, "g") == [b"1", b"2", b"3"]
        backend.execute(Delete("g"))
        assert backend.execute(Create("s", (b"9",))).new
        assert everything(backend, "s") == [b"9"]

    def test_forking_again_is_idempotent(self, backend: Backend) -> None:
        offset = backend.execute(Create("s", (b"1",))).offset
        fork = Create("f", (b"2",), fork=ForkPoint("s", offset))
        assert backend.execute(fork).new
        assert not backend.execute(fork).new
        with pytest.raises(StreamConflict):
            backend.execute(Create("f", fork=ForkPoint("s", START)))
        assert everything(backend, "f") == [b"1", b"2"]


class TestWaiting:
    def test_a_read_at_the_tail_is_woken_by_an_append(self, backend: Backend) -> None:
        offset = backend.execute(Create("s", (b"1",))).offset
        reading = Reader(backend, Read("s", offset, wait=30))
        backend.execute(Append("s", (b"2",)))
        assert reading.result().messages == (b"2",)

    def test_a_read_at_the_tail_is_woken_by_closure(self, backend: Backend) -> None:
        backend.execute(Create("s", (b"1",)))
        reading = Reader(backend, Read("s", NOW, wait=30))
        backend.execute(Append("s", close=True))
        batch = reading.result()
        assert batch.closed
        assert set(batch.messages) <= {b"1"}  # none, if the read began first; a late NOW may not see it either

    def test_a_read_at_the_end_of_a_closed_stream_returns_at_once(self, backend: Backend) -> None:
        backend.execute(Create("s", closed=True))
        assert backend.execute(Read("s", NOW, wait=3600)).closed

    def test_time_passes(self, backend: Backend) -> None:
        offset = backend.execute(Create("s")).offset
        batch = backend.execute(Read("s", offset, wait=0.01))
        assert (batch.messages, batch.offset, batch.up_to_date, batch.closed) == ((), offset, True, False)

    def test_async_reads_wait_too(self, backend: Backend) -> None:
        async def scenario() -> None:
            offset = (await backend.aexecute(Create("s"))).offset
            reads = [asyncio.ensure_future(backend.aexecute(Read("s", offset, wait=30))) for _ in range(20)]
            await asyncio.sleep(0)
            reads[0].cancel()
            await backend.aexecute(Append("s", (b"1",)))
            results = await asyncio.gather(*reads, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert all(not isinstance(batch, BaseException) and batch.messages == (b"1",) for batch in results[1:])

        asyncio.run(scenario())


class Reader:
    """A read in a thread of its own."""

    def __init__(self, backend: Backend, operation: Read) -> None:
        self._result: list[Batch] = []
        self._thread = threading.Thread(target=lambda: self._result.append(backend.execute(operation)))
        self._thread.start()

    def result(self) -> Batch:
        self._thread.join()
        return self._result[0]


def test_submitted_operations_are_applied_in_order(backend: Backend) -> None:
    futures = [backend.submit(Create("s"))] + [backend.submit(Append("s", (b"%d" % n,))) for n in range(100)]
    assert all(future.result() for future in futures)
    assert everything(backend, "s") == [b"%d" % n for n in range(100)]


def test_a_callback_may_submit_and_execute(backend: Backend) -> None:
    done = threading.Event()

    def go_on(_: object) -> None:
        backend.execute(Append("s", (b"2",)))
        backend.submit(Append("s", (b"3",))).add_done_callback(lambda _: done.set())

    backend.submit(Create("s", (b"1",))).add_done_callback(go_on)
    assert done.wait(30)
    assert everything(backend, "s") == [b"1", b"2", b"3"]


def test_leases_are_held_until_dropped(backend: Backend) -> None:
    assert not backend.execute(LeaseHeld("s", "1"))
    backend.execute(TakeLease("s", "1"))
    assert backend.execute(LeaseHeld("s", "1"))
    assert not backend.execute(LeaseHeld("s", "2"))
    with pytest.raises(SessionBusy):
        backend.execute(TakeLease("s", "1"))
    backend.execute(DropLease("s", "1"))
    backend.execute(DropLease("s", "1"))
    assert not backend.execute(LeaseHeld("s", "1"))
    backend.execute(TakeLease("s", "1"))
