"""What only the embedded backend promises: exact bytes, exact forks, lists, watching, one fsync for many."""

from __future__ import annotations

import gc
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from agentstream.backends.base import List, TakeLease, Watch
from agentstream.backends.embedded import EmbeddedBackend, records
from agentstream.backends.embedded.committer import Item
from agentstream.backends.embedded.schema import FRAME, PAGE
from agentstream.backends.embedded.writing import Writer
from agentstream.errors import StoreError
from agentstream.protocol.errors import InvalidRequest, StreamConflict, StreamGone, StreamNotFound
from agentstream.protocol.operations import (
    NOW,
    START,
    Append,
    Create,
    Delete,
    ForkPoint,
    Head,
    Producer,
    Read,
)

BYTES = "application/octet-stream"


@pytest.fixture(params=["disk", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedBackend]:
    made = EmbeddedBackend(tmp_path / "store" if request.param == "disk" else None)
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[EmbeddedBackend]:
    made = EmbeddedBackend(tmp_path / "store")
    yield made
    made.close()


def everything(backend: EmbeddedBackend, path: str, limit: int | None = None) -> list[bytes]:
    messages: list[bytes] = []
    offset = START
    while True:
        batch = backend.execute(Read(path, offset, limit=limit))
        messages += batch.messages
        offset = batch.offset
        if batch.up_to_date:
            return messages


class TestMessages:
    def test_json_comes_back_byte_for_byte(self, backend: EmbeddedBackend) -> None:
        body = (
            b"1234567890123456789012345678901234567890",
            b"1.0",
            b"1e400",
            b"-0",
            b'{"b": 1,  "a":2, "a":3}',
            '"ü\u2028\\u00fc"'.encode(),
            b'[",", "\\"", [1 , 2]]',
        )
        backend.execute(Create("s", body))
        for message in body:
            backend.execute(Append("s", (message,)))
        assert everything(backend, "s") == [*body, *body]

    def test_only_white_space_around_a_value_is_dropped(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", (b" 1 ", b"\n[ 2 ]\t")))
        assert everything(backend, "s") == [b"1", b"[ 2 ]"]

    def test_half_a_surrogate_pair_and_deep_nesting_are_refused(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s"))
        for body in (b'"\\ud800"', b"[" * 100_000 + b"]" * 100_000):
            with pytest.raises(InvalidRequest):
                backend.execute(Append("s", (body,)))
        backend.execute(Append("s", (b"[" * 300 + b"]" * 300, b'"' + b"[" * 1000 + b'"')))
        assert len(everything(backend, "s")) == 2

    @pytest.mark.parametrize("size", [0, 1, 100, PAGE - 100, PAGE - 36, PAGE - 8, PAGE, 3 * PAGE, FRAME, 3 * FRAME + 1])
    def test_any_size_on_any_place_of_a_page(self, disk: EmbeddedBackend, size: int) -> None:
        sent = [b'"%b"' % (bytes([97 + n % 26]) * (size + n * 97 % 1500)) for n in range(30)]
        disk.execute(Create("s"))
        for first, second in zip(sent[::2], sent[1::2], strict=True):
            disk.execute(Append("s", (first, second)))
        assert everything(disk, "s") == sent
        for position in (1, 7, 29):
            assert disk.execute(Read("s", skip=position, limit=1)).messages == (sent[position],)

    def test_a_large_append_is_read_in_pages_of_its_messages(self, backend: EmbeddedBackend) -> None:
        body = tuple(b'"%05d%b"' % (n, b"x" * 2000) for n in range(2000))
        backend.execute(Create("s"))
        backend.execute(Append("s", body))
        page = backend.execute(Read("s"))
        assert 1 < len(page.messages) < 1000
        assert everything(backend, "s") == list(body)
        assert everything(backend, "s", limit=999) == list(body)

    def test_pages(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", tuple(b"%d" % n for n in range(10))))
        page = backend.execute(Read("s", skip=3, limit=4))
        assert (page.messages, page.up_to_date) == ((b"3", b"4", b"5", b"6"), False)
        rest = backend.execute(Read("s", page.offset, limit=3))
        assert (rest.messages, rest.up_to_date) == ((b"7", b"8", b"9"), True)
        beyond = backend.execute(Read("s", rest.offset, skip=5))
        assert (beyond.messages, beyond.up_to_date) == ((), True)

    def test_bytes_are_cut_anywhere(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", (b"abc", b"def"), content_type=BYTES))
        backend.execute(Append("s", (b"ghi",), content_type=BYTES))
        assert b"".join(backend.execute(Read("s", skip=4)).messages) == b"efghi"
        backend.execute(Create("f", (b"!",), content_type="", fork=ForkPoint("s", START, 8)))
        assert b"".join(backend.execute(Read("f")).messages) == b"abcdefgh!"
        assert backend.execute(Head("f")).content_type == BYTES

    @pytest.mark.parametrize(
        "operation",
        [
            Create(""),
            Create("a\0b"),
            Create("\ud800"),
            Create("s", ttl=-1),
            Create("s", ttl=1, expires_at="2030-01-01T00:00:00Z"),
            Create("s", expires_at="tomorrow"),
            Create("s", fork=ForkPoint("o", START, -1)),
            Create("s", ("text",)),  # type: ignore[arg-type]
            Append("s", (b"1",), producer=Producer("", 0, 0)),
            Append("s", (b"1",), producer=Producer("p", -1, 0)),
            Append("s", (b"1",), producer=Producer("p", 0, 2**53)),
            Read("s", skip=-1),
            Read("s", limit=0),
            Watch(cursor="x"),
        ],
    )
    def test_malformed_operations_are_refused(self, backend: EmbeddedBackend, operation: object) -> None:
        with pytest.raises(InvalidRequest):
            backend.execute(operation)


class TestForks:
    def test_anywhere_across_appends(self, backend: EmbeddedBackend) -> None:
        messages = [b"%d" % n for n in range(12)]
        backend.execute(Create("s", tuple(messages[:1])))
        for begin, end in ((1, 4), (4, 5), (5, 12)):
            backend.execute(Append("s", tuple(messages[begin:end])))
        before = everything(backend, "s")
        for at in range(13):
            backend.execute(Create(f"f{at}", (b'"f"',), fork=ForkPoint("s", START, at)))
            assert everything(backend, f"f{at}") == [*messages[:at], b'"f"']
            assert everything(backend, f"f{at}", limit=1) == [*messages[:at], b'"f"']
            for cut in range(at + 2):
                backend.execute(Create(f"g{at}.{cut}", (b'"g"',), fork=ForkPoint(f"f{at}", START, cut)))
                kept = [*messages[:at], b'"f"'][:cut]
                assert everything(backend, f"g{at}.{cut}") == [*kept, b'"g"']
        assert everything(backend, "s") == before

    def test_a_page_offset_is_a_fork_point(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", tuple(b"%d" % n for n in range(9))))
        offset = backend.execute(Read("s", limit=4)).offset
        backend.execute(Create("f", fork=ForkPoint("s", offset, 1)))
        assert everything(backend, "f") == [b"0", b"1", b"2", b"3", b"4"]

    def test_waiting_on_a_fork_ignores_its_parent(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", (b"1",)))
        offset = backend.execute(Create("f", fork=ForkPoint("s", NOW))).offset
        backend.execute(Append("s", (b"2",)))
        assert backend.execute(Read("f", offset, wait=0.01)).messages == ()

    def test_type_must_agree(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", content_type="text/plain"))
        with pytest.raises(StreamConflict):
            backend.execute(Create("f", fork=ForkPoint("s")))


class TestTimeToLive:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        now = [1_800_000_000.0]

        def advance(seconds: float) -> None:
            now[0] += seconds

        monkeypatch.setattr("time.time", lambda: now[0])
        return advance

    def test_reads_and_appends_renew_it_and_looking_does_not(
        self, backend: EmbeddedBackend, clock: Callable[[float], None]
    ) -> None:
        backend.execute(Create("s", (b"1",), ttl=100))
        clock(90)
        assert backend.execute(Read("s")).messages == (b"1",)
        clock(90)
        backend.execute(Append("s", (b"2",)))
        clock(90)
        backend.execute(Read("s", NOW))
        clock(90)
        backend.execute(Append("s", close=True))
        clock(90)
        backend.execute(Head("s"))
        clock(16)
        for operation in (Read("s"), Head("s"), Append("s", (b"1",)), Delete("s")):
            with pytest.raises(StreamNotFound):
                backend.execute(operation)
        assert backend.execute(List()) == ()
        assert backend.execute(Create("s", (b"3",))).new
        assert everything(backend, "s") == [b"3"]

    def test_never_early_and_late_by_a_twentieth(
        self, backend: EmbeddedBackend, clock: Callable[[float], None]
    ) -> None:
        backend.execute(Create("s", (b"1",), ttl=100))
        clock(4)  # too little to be written down
        backend.execute(Read("s"))
        clock(99.9)
        backend.execute(Head("s"))
        clock(1.2)
        with pytest.raises(StreamNotFound):
            backend.execute(Head("s"))

    def test_a_moment_of_expiry(self, backend: EmbeddedBackend, clock: Callable[[float], None]) -> None:
        moment = datetime.fromtimestamp(1_800_000_000 + 60, timezone(timedelta(hours=2))).isoformat()
        backend.execute(Create("s", (b"1",), expires_at=moment))
        assert not backend.execute(Create("s", expires_at="2027-01-15T08:01:00.0Z")).new
        clock(59)
        assert backend.execute(Read("s")).messages == (b"1",)
        clock(1)
        with pytest.raises(StreamNotFound):
            backend.execute(Read("s"))

    def test_forks_inherit_it_and_outlive_their_source(
        self, backend: EmbeddedBackend, clock: Callable[[float], None]
    ) -> None:
        backend.execute(Create("s", (b"1",), ttl=100))
        backend.execute(Create("f", fork=ForkPoint("s", NOW)))
        backend.execute(Create("g", (b"2",), ttl=1000, fork=ForkPoint("s", NOW)))
        assert backend.execute(Head("f")).ttl == 100
        clock(200)
        with pytest.raises(StreamNotFound):
            backend.execute(Head("f"))
        with pytest.raises(StreamGone):
            backend.execute(Head("s"))
        assert everything(backend, "g") == [b"1", b"2"]

    def test_what_nobody_asks_for_again_is_removed(
        self, disk: EmbeddedBackend, clock: Callable[[float], None], tmp_path: Path
    ) -> None:
        disk.execute(Create("s", (b'"secret"',), ttl=1))
        clock(100)
        disk.execute(Create("t"))
        rows = sqlite3.connect(tmp_path / "store" / "streams.db")
        assert rows.execute("SELECT path FROM streams").fetchall() == [("t",)]
        rows.close()


class TestLists:
    def test_by_prefix_and_page(self, backend: EmbeddedBackend) -> None:
        for path in ("b", "a/1", "a/2", "a/3", "a", "aé", "a\U0010ffff"):
            backend.execute(Create(path, (b"1", b"2")))
        backend.execute(Append("a/1", (b"3",), close=True))
        backend.execute(Delete("a/3"))
        assert [one.path for one in backend.execute(List("a/"))] == ["a/1", "a/2"]
        assert [one.path for one in backend.execute(List())] == ["a", "a/1", "a/2", "aé", "a\U0010ffff", "b"]
        assert [one.path for one in backend.execute(List("a", after="a/1", limit=2))] == ["a/2", "aé"]
        listed = backend.execute(List("a/1"))[0]
        assert (listed.size, listed.closed, listed.offset) == (3, True, backend.execute(Head("a/1")).offset)
        assert 0 < listed.created <= listed.updated

    def test_a_deleted_stream_that_forks_read_is_not_listed(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s", (b"1",)))
        backend.execute(Create("f", fork=ForkPoint("s", NOW)))
        backend.execute(Delete("s"))
        assert [(one.path, one.size) for one in backend.execute(List())] == [("f", 1)]


class TestWatching:
    def test_every_kind_of_change_is_seen_from_a_cursor(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("other", (b"1",)))
        cursor = backend.execute(Watch(wait=0)).cursor
        changes = [
            Create("a/s"),
            Append("a/s", (b"1",)),
            Append("a/s", close=True),
            Create("a/f", fork=ForkPoint("a/s")),
            Delete("a/s"),
            Delete("a/f"),
        ]
        for operation in changes:
            backend.execute(operation)
            seen = backend.execute(Watch("a/", cursor, wait=0))
            assert operation.path in seen.paths
            assert seen.cursor > cursor
            cursor = seen.cursor
        backend.execute(Append("other", (b"2",)))
        assert backend.execute(Watch("a/", cursor, wait=0)).paths == ()

    def test_it_waits(self, backend: EmbeddedBackend) -> None:
        watched = backend.submit(Watch("a/", backend.execute(Watch(wait=0)).cursor, wait=30))
        backend.execute(Create("b"))
        backend.execute(Create("a/s"))
        assert watched.result().paths == ("a/s",)


class TestCommits:
    def test_what_waits_together_is_one_transaction(self, disk: EmbeddedBackend) -> None:
        commits = Statements(disk, "COMMIT")
        with disk._connections.lock:  # nobody can commit meanwhile
            futures = [disk.submit(Create(f"s{n}", (b"1",))) for n in range(50)]
        assert all(future.result().new for future in futures)
        assert commits.seen <= 2  # the thread may have taken the first before the lock was held

    def test_an_append_alone_is_one_transaction_that_is_synced(self, disk: EmbeddedBackend) -> None:
        disk.execute(Create("s"))
        commits = Statements(disk, "COMMIT")
        for n in range(10):
            disk.execute(Append("s", (b"1",), producer=Producer("p", 0, n)))
        assert commits.seen == 10
        with disk._connections.lock:
            assert disk._connections.writer().execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: one fsync each

    def test_a_refused_operation_spoils_nobody(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s"))
        with backend._connections.lock:
            good = [backend.submit(Append("s", (b"1",), producer=Producer("p", 0, 0)))]
            bad = [
                backend.submit(Append("s", (b"2",), producer=Producer("p", 0, 5))),
                backend.submit(Append("nowhere", (b"1",))),
                backend.submit(Create("f", (b"no json",), fork=ForkPoint("s"))),
                backend.submit(Create("g", fork=ForkPoint("s", START, 99))),
            ]
            good.append(backend.submit(Append("s", (b"2",), producer=Producer("p", 0, 1))))
        assert all(future.result() for future in good)
        assert all(future.exception() is not None for future in bad)
        assert everything(backend, "s") == [b"1", b"2"]
        assert [one.path for one in backend.execute(List())] == ["s"]

    def test_a_failed_transaction_fails_everybody_and_leaves_nothing(
        self, disk: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk.execute(Create("s", (b"1",)))
        disk.execute(Append("s", (b"2",), producer=Producer("p", 0, 0)))

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr("agentstream.backends.embedded.writing.Writer.commit", fail)
            with disk._connections.lock:
                futures = [disk.submit(Append("s", (b"3",), producer=Producer("p", 0, 1))), disk.submit(Create("t"))]
            for future in futures:
                with pytest.raises(StoreError, match="disk failed"):
                    future.result()
        assert everything(disk, "s") == [b"1", b"2"]
        assert disk.execute(Append("s", (b"3",), producer=Producer("p", 0, 1))).duplicate is False
        assert everything(disk, "s") == [b"1", b"2", b"3"]

    def test_an_interrupt_of_the_leader_is_not_the_failure_of_others(
        self, disk: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk.execute(Create("s"))
        begin, interrupts = Writer.begin, [KeyboardInterrupt()]

        def interrupted(writer: Writer) -> None:
            begin(writer)
            if interrupts:
                raise interrupts.pop()

        monkeypatch.setattr(Writer, "begin", interrupted)
        other: Future[object] = Future()
        disk._committer._queue.append(Item(Append("s", (b"1",)), other))
        with pytest.raises(KeyboardInterrupt):
            disk.execute(Append("s", (b"2",)))
        assert other.result(30)
        assert everything(disk, "s") == [b"1"]

    def test_an_interrupt_of_the_leader_keeps_nobody_waiting_for_what_was_committed(
        self, disk: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk.execute(Create("s"))

        def interrupted(*told: object) -> None:
            raise KeyboardInterrupt

        other: Future[object] = Future()
        with monkeypatch.context() as patch:
            patch.setattr(disk._committer, "_notify", interrupted)
            disk._committer._queue.append(Item(Append("s", (b"1",)), other))
            with pytest.raises(KeyboardInterrupt):
                disk.execute(Append("s", (b"2",)))
        assert other.result(30)
        assert everything(disk, "s") == [b"1", b"2"]

    def test_many_threads_at_once(self, disk: EmbeddedBackend) -> None:
        disk.execute(Create("s"))

        def work(name: str) -> None:
            for n in range(50):
                disk.execute(Append("s", (b'["%b",%d]' % (name.encode(), n),), producer=Producer(name, 0, n)))

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        messages = everything(disk, "s")
        assert len(messages) == 400
        for name in b"abcdefgh":
            own = [message for message in messages if message[2] == name]
            assert own == [b'["%c",%d]' % (name, n) for n in range(50)]


class TestLife:
    def test_a_store_opens_again(self, tmp_path: Path) -> None:
        first = EmbeddedBackend(tmp_path / "store")
        first.execute(Create("s", (b"1",)))
        first.execute(Append("s", (b"2",), producer=Producer("p", 0, 0)))
        first.close()
        again = EmbeddedBackend(tmp_path / "store")
        assert again.execute(Append("s", (b"2",), producer=Producer("p", 0, 0))).duplicate
        assert everything(again, "s") == [b"1", b"2"]
        again.close()

    def test_a_closed_backend_says_so(self, backend: EmbeddedBackend) -> None:
        backend.execute(Create("s"))
        waiting = backend.submit(Read("s", NOW, wait=3600))
        last = backend.submit(Append("s", (b"1",)))
        backend.close()
        backend.close()
        assert last.result().offset
        assert waiting.exception() is None or isinstance(waiting.exception(), StoreError)
        for operation in (Create("t"), Read("s"), Head("s"), List(), TakeLease("s", "1"), Watch()):
            with pytest.raises(StoreError, match="closed"):
                backend.execute(operation)
        with pytest.raises(StoreError, match="closed"):
            backend.submit(Create("t")).result()

    def test_the_folder_is_private_and_out_of_version_control(self, disk: EmbeddedBackend, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            disk.execute(Create("s"))
            disk.execute(TakeLease("s", "1"))
        finally:
            os.umask(before)
        for entry in [tmp_path / "store", *(tmp_path / "store").rglob("*")]:
            assert stat.S_IMODE(entry.stat().st_mode) & 0o077 == 0, entry
        assert (tmp_path / "store" / ".gitignore").read_text() == "*\n"

    def test_a_program_that_forgets_to_close_ends(self, tmp_path: Path) -> None:
        program = (
            "import sys, threading\n"
            "from agentstream.backends.embedded import EmbeddedBackend\n"
            "from agentstream.protocol.operations import Create, Read\n"
            "backend = EmbeddedBackend(sys.argv[1])\n"
            "print(backend.submit(Create('s')).result().new)\n"
            "backend.submit(Read('s', 'now', wait=3600))\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "store")], capture_output=True, text=True, timeout=60
        )
        assert (run.stdout, run.stderr, run.returncode) == ("True\n", "", 0)

    def test_a_forgotten_backend_is_collected(self, tmp_path: Path) -> None:
        backend = EmbeddedBackend(tmp_path / "store")
        backend.execute(Create("s"))
        connections = backend._connections
        backend.execute(Head("s"))
        connections.close()  # sqlite3 would warn about what is left open; that is all a collection leaves
        del backend, connections
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, EmbeddedBackend) and str(tmp_path) in one.name]

    def test_grain_is_small(self) -> None:
        assert records.grain(2) <= 0.1
        assert records.grain(10**6) <= 60


class Statements:
    """Counts statements of the writing connection that begin with `word`."""

    def __init__(self, backend: EmbeddedBackend, word: str) -> None:
        self.seen = 0
        self._word = word
        with backend._connections.lock:
            backend._connections.writer().set_trace_callback(self._count)

    def _count(self, statement: str) -> None:
        self.seen += statement.startswith(self._word)
