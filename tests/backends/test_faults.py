"""Full disks, damaged files, wrong places: a clear error, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentstream import Client
from agentstream.backends.base import List
from agentstream.backends.embedded import EmbeddedBackend, faults
from agentstream.backends.embedded.schema import VERSION
from agentstream.errors import StoreError, Unavailable
from agentstream.protocol.operations import START, Append, Create, ForkPoint, Head, Producer, Read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def everything(store: EmbeddedBackend, path: str) -> list[bytes]:
    messages: list[bytes] = []
    offset = START
    while True:
        batch = store.execute(Read(path, offset))
        messages += batch.messages
        offset = batch.offset
        if batch.up_to_date:
            return messages


def message(n: int, size: int = 2000) -> bytes:
    return b'"%06d%b"' % (n, bytes([97 + n % 26]) * size)


def fill(folder: Path, count: int = 50) -> list[bytes]:
    store = EmbeddedBackend(folder)
    store.execute(Create("s"))
    sent = [message(n) for n in range(count)]
    for one in sent:
        store.execute(Append("s", (one,)))
    store.close()
    return sent


def refused(folder: Path, *, match: str) -> None:
    """Every kind of operation says `match`, and where."""
    store = EmbeddedBackend(folder)
    for operation in (Create("t"), Append("s", (b"1",)), Read("s"), Head("s"), List()):
        with pytest.raises(StoreError, match=match) as failure:
            store.execute(operation)
        assert str(folder) in str(failure.value)
    store.close()


class TestDiskFull:
    def test_everybody_is_told_and_it_works_again_with_room(self, folder: Path) -> None:
        store = EmbeddedBackend(folder)
        store.execute(Create("s", (b"0",)))
        with store._connections.lock:
            writer = store._connections.writer()
            writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0]}")
            futures = [store.submit(Append("s", (message(n),), producer=Producer("p", 0, n))) for n in range(20)]
        for future in futures:
            with pytest.raises(StoreError, match="full") as failure:
                future.result()
            assert str(folder) in str(failure.value)
        # the writer opens afresh, without the limit: there is room again
        for n in range(20):
            assert not store.execute(Append("s", (message(n),), producer=Producer("p", 0, n))).duplicate
        assert everything(store, "s") == [b"0", *(message(n) for n in range(20))]
        store.close()

    def test_a_limit_of_the_operating_system(self, folder: Path) -> None:
        program = """
import resource, sys
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import StoreError
from agentstream.protocol.operations import *
store = EmbeddedBackend(sys.argv[1])
store.execute(Create("s"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
n = 0
try:
    while True:
        store.execute(Append("s", (b'"%06d%b"' % (n, bytes([97 + n % 26]) * 2000),)))
        n += 1
except StoreError as failure:
    assert sys.argv[1] in str(failure), failure
kept = []
offset = START
while True:
    batch = store.execute(Read("s", offset))
    kept += batch.messages
    offset = batch.offset
    if batch.up_to_date: break
assert len(kept) == n, (len(kept), n)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
store.execute(Append("s", (b'"%06d%b"' % (n, bytes([97 + n % 26]) * 2000),)))
store.close()
print(n + 1)
"""
        run = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        count = int(run.stdout)
        assert count > 10
        store = EmbeddedBackend(folder)
        assert everything(store, "s") == [message(n) for n in range(count)]
        store.close()


class TestWrongPlaces:
    def test_a_regular_file(self, tmp_path: Path) -> None:
        (tmp_path / "store").write_text("no folder")
        refused(tmp_path / "store", match="no folder")

    def test_below_a_regular_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        refused(tmp_path / "file" / "store", match="no folder")

    def test_a_database_that_cannot_be_written(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # root may write anything: a read-only connection stands for missing permission
        sent = fill(folder)
        connect = sqlite3.connect

        def read_only(path: Path, **options: object) -> sqlite3.Connection:
            return connect(f"file:{path}?mode=ro", uri=True, **options)  # type: ignore[call-overload]

        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", read_only)
            store = EmbeddedBackend(folder)
            with pytest.raises(StoreError, match="cannot be written"):
                store.execute(Append("s", (b"1",)))
        assert store.execute(Append("s", (b"1",))).offset
        assert everything(store, "s") == [*sent, b"1"]
        store.close()

    def test_another_programs_database(self, folder: Path) -> None:
        folder.mkdir()
        other = sqlite3.connect(folder / "streams.db")
        other.execute("CREATE TABLE theirs(x)")
        other.close()
        refused(folder, match="no store")

    def test_a_store_of_a_newer_version(self, folder: Path) -> None:
        fill(folder, 1)
        newer = sqlite3.connect(folder / "streams.db")
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
        newer.close()
        refused(folder, match="upgrade agentstream")

    def test_a_store_that_vanished_while_open(self, folder: Path) -> None:
        store = EmbeddedBackend(folder)
        store.execute(Create("s"))
        shutil.rmtree(folder)
        with pytest.raises(StoreError, match="removed"):
            store.execute(Append("s", (b"1",)))
        assert store.execute(Create("s")).new
        store.close()

    def test_readers_of_a_store_that_vanished_read_what_is_written_after(self, folder: Path) -> None:
        with Client(folder) as client:
            session = client.session("s")
            session.append("custom", "before")
            assert len(list(session.events())) == 2
            shutil.rmtree(folder)
            with pytest.raises(StoreError, match="removed"):
                session.append("custom", "lost")
            session.append("custom", "after")
            assert [event.value for event in session.events()][1:] == ["after"]
            with Client(folder) as other:
                assert [event.value for event in other.session("s").events()][1:] == ["after"]


class TestDamage:
    def test_a_file_that_is_no_database(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "streams.db").write_bytes(b"not a database at all" * 1000)
        refused(folder, match="damaged")

    def test_a_flipped_bit_is_an_error_and_never_other_data(self, folder: Path) -> None:
        sent = fill(folder)
        file = folder / "streams.db"
        sound = file.read_bytes()
        noticed = 0
        for place in range(100, len(sound), 997):
            file.write_bytes(sound[:place] + bytes([sound[place] ^ 1 << place % 8]) + sound[place + 1 :])
            store = EmbeddedBackend(folder)
            try:
                assert everything(store, "s") == sent
            except StoreError:
                noticed += 1
            finally:
                store.close()
        assert noticed > len(sent) / 2

    def test_damage_names_the_stream_and_spares_the_others(self, folder: Path) -> None:
        fill(folder)
        store = EmbeddedBackend(folder)
        store.execute(Create("t", (b"1",)))
        store.close()
        file = folder / "streams.db"
        data = file.read_bytes()
        place = data.index(message(20)[8:1000]) + 50
        file.write_bytes(data[:place] + b"X" + data[place + 1 :])
        store = EmbeddedBackend(folder)
        with pytest.raises(StoreError, match="stream 's' is damaged"):
            everything(store, "s")
        assert everything(store, "t") == [b"1"]
        assert store.execute(Read("s", skip=40)).messages[0] == message(40)
        store.close()

    @pytest.mark.parametrize(
        ("damage", "operation"),
        [
            ("UPDATE streams SET fork_at = 1 WHERE path = 'f'", Read("f")),
            ("UPDATE streams SET closed = 1 WHERE path = 's'", Append("s", (b"1",))),
            ("UPDATE producers SET seq = 0", Append("s", (b"1",), producer=Producer("p", 0, 1))),
            ("UPDATE frames SET count = 3 WHERE start = 1", Read("s")),
            ("UPDATE frames SET count = 3 WHERE start = 2", Append("s", (b"1",))),
            ("UPDATE frames SET start = 0 WHERE start = 1", Read("s")),
            ("DELETE FROM frames WHERE start = 1", Read("s")),
            ("DELETE FROM frames", Head("s")),
            ("DROP TABLE producers", Read("s")),
            ("ALTER TABLE frames RENAME COLUMN at TO ta", Read("s")),
        ],
    )
    def test_values_that_were_not_written_are_refused(self, folder: Path, damage: str, operation: object) -> None:
        store = EmbeddedBackend(folder)
        store.execute(Create("s", (b"0",)))
        for n in range(2):
            store.execute(Append("s", (b"1",), producer=Producer("p", 0, n)))
        store.execute(Create("f", fork=ForkPoint("s", START, 2)))
        store.close()
        other = sqlite3.connect(folder / "streams.db", isolation_level=None)
        other.execute(damage)
        other.close()
        store = EmbeddedBackend(folder)
        with pytest.raises(StoreError, match="damaged"):
            store.execute(operation)
        store.close()

    @pytest.mark.parametrize("lost", [1, 23, 24, 4096, 5000, 20_000])
    def test_a_torn_log_loses_only_what_was_torn(self, folder: Path, tmp_path: Path, lost: int) -> None:
        store = EmbeddedBackend(folder)
        store.execute(Create("s"))
        sent = [message(n) for n in range(30)]
        for n, one in enumerate(sent):
            store.execute(Append("s", (one,), producer=Producer("p", 0, n)))
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("streams.db", "streams.db-wal"):
            shutil.copy(folder / name, copy / name)
        store.close()
        with open(copy / "streams.db-wal", "r+b") as log:
            log.truncate(log.seek(0, os.SEEK_END) - lost)
        torn = EmbeddedBackend(copy)
        kept = everything(torn, "s")
        assert kept == sent[: len(kept)]
        assert 15 < len(kept) < 30
        # data and producer are of one transaction
        n = len(kept)
        assert torn.execute(Append("s", (b"1",), producer=Producer("p", 0, n - 1))).duplicate
        assert not torn.execute(Append("s", (b"1",), producer=Producer("p", 0, n))).duplicate
        torn.close()


def test_a_store_that_another_process_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "BUSY_SECONDS", 0.05)
    store = EmbeddedBackend(folder)
    store.execute(Create("s"))
    holder = sqlite3.connect(folder / "streams.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.execute(Append("s", (b"1",)))
    assert store.execute(Read("s")).messages == ()
    monkeypatch.undo()
    released = threading.Timer(0.05, lambda: holder.execute("ROLLBACK"))
    released.start()
    assert store.execute(Append("s", (b"2",))).offset
    released.join()
    holder.close()
    assert everything(store, "s") == [b"2"]
    store.close()


def test_every_advice_says_what_to_do() -> None:
    for text in ("database or disk is full", "file is not a database", "database is locked", "something new"):
        assert "/some/store: " in str(faults.store_error(sqlite3.OperationalError(text), "/some/store"))
