"""Several processes and one store: writing, following, dying, stopping, forking."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentstream.backends.base import DropLease, LeaseHeld, TakeLease, Watch
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import SessionBusy
from agentstream.protocol.operations import START, Append, Create, Delete, Producer, Read

Start = Callable[..., "subprocess.Popen[str]"]

HEAD = """
import sys
from agentstream.backends.base import *
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import *
store = EmbeddedBackend(sys.argv[1])
def say(*words): print(*words, flush=True)
"""

WRITER = (
    HEAD
    + """
name = sys.argv[2]
for n in range(int(sys.argv[3])):
    store.execute(Append("s", (b'["%b",%d]' % (name.encode(), n),), producer=Producer(name, 0, n)))
    say(n)
"""
)

HOLDER = (
    HEAD
    + """
store.execute(TakeLease("s", "1"))
say("held")
sys.stdin.read()
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[EmbeddedBackend]:
    made = EmbeddedBackend(folder)
    made.execute(Create("s"))
    yield made
    made.close()


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(folder), *arguments]
        process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def everything(store: EmbeddedBackend, path: str) -> list[bytes]:
    messages: list[bytes] = []
    offset = START
    while True:
        batch = store.execute(Read(path, offset))
        messages += batch.messages
        offset = batch.offset
        if batch.up_to_date:
            return messages


def test_several_processes_write_one_stream(store: EmbeddedBackend, start: Start) -> None:
    writers = [start(WRITER, name, "60") for name in "abc"]
    for n in range(60):
        store.execute(Append("s", (b'["d",%d]' % n,), producer=Producer("d", 0, n)))
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    messages = everything(store, "s")
    for name in b"abcd":
        assert [m for m in messages if m[2] == name] == [b'["%c",%d]' % (name, n) for n in range(60)]


def test_a_follower_in_another_process_is_woken(store: EmbeddedBackend, start: Start) -> None:
    follower = start(
        HEAD
        + """
offset = store.execute(Read("s")).offset
say("ready")
while True:
    batch = store.execute(Read("s", offset, wait=60))
    offset = batch.offset
    say(*(m.decode() for m in batch.messages), "closed" if batch.closed else "open")
    if batch.closed: break
"""
    )
    assert line(follower) == "ready"
    store.execute(Append("s", (b"1",)))
    assert line(follower) == "1 open"
    store.execute(Append("s", close=True))
    assert line(follower) == "closed"


def test_a_watcher_sees_what_another_process_did(store: EmbeddedBackend, start: Start) -> None:
    cursor = store.execute(Watch(wait=0)).cursor
    actor = start(HEAD + "for c in sys.stdin: store.execute(eval(c)); say('done')\n")
    for operation, path in (
        ("Create('a')", "a"),
        ("Append('a', (b'1',))", "a"),
        ("Append('a', close=True)", "a"),
        ("Delete('a')", "a"),
    ):
        watched = store.submit(Watch("", cursor, wait=60))
        assert actor.stdin is not None
        actor.stdin.write(operation + "\n")
        actor.stdin.flush()
        assert line(actor) == "done"
        seen = watched.result(60)
        assert seen.paths == (path,)
        cursor = seen.cursor


def test_what_another_process_deletes_and_makes_anew_is_not_remembered(store: EmbeddedBackend, start: Start) -> None:
    for n in range(3):
        store.execute(Append("s", (b"1",), producer=Producer("p", 0, n)))
    program = HEAD + "store.execute(Delete('s')); store.execute(Create('s', (b'9',)))\n"
    start(program).communicate()
    assert not store.execute(Append("s", (b"2",), producer=Producer("p", 0, 0))).duplicate
    assert everything(store, "s") == [b"9", b"2"]


def is_locked(folder: Path) -> bool:
    """Whether some process has the store open: SQLite then holds a shared POSIX lock on these bytes."""
    program = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'r+b') as file:\n"
        "    try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)\n"
        "    except BlockingIOError: print('locked')\n"
    )
    asked = [sys.executable, "-c", program, str(folder / "streams.db")]
    return subprocess.run(asked, capture_output=True, check=True).stdout == b"locked\n"


def test_opening_one_more_connection_keeps_the_locks_of_the_others(store: EmbeddedBackend, folder: Path) -> None:
    # Whoever opens and closes a file drops all POSIX locks of its process on it: SQLite's would be gone.
    others = [EmbeddedBackend(folder) for _ in range(2)]
    for other in others:
        other.execute(Read("s"))
    assert is_locked(folder)
    for other in others:
        other.close()
    assert is_locked(folder)
    store.close()
    assert not is_locked(folder)


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_nothing_acknowledged_is_lost_by_a_kill(store: EmbeddedBackend, start: Start, acknowledged: int) -> None:
    writer = start(WRITER, "w", "100000")
    for n in range(acknowledged):
        assert line(writer) == str(n)
    writer.kill()
    assert writer.stdout is not None
    rest = writer.stdout.read().split()  # not communicate(), which reads past what the line reader took in advance
    last = int(rest[-1]) if rest else acknowledged - 1
    messages = everything(store, "s")
    assert messages == [b'["w",%d]' % n for n in range(len(messages))]
    assert len(messages) in (last + 1, last + 2)  # one may have been durable and not yet acknowledged
    # the producer's state was committed with its last append: it goes on exactly there
    again = store.execute(Append("s", (messages[-1],), producer=Producer("w", 0, len(messages) - 1)))
    assert again.duplicate
    assert not store.execute(Append("s", (b"0",), producer=Producer("w", 0, len(messages)))).duplicate


class TestLeases:
    def test_a_lease_is_freed_by_a_kill_and_its_file_goes(
        self, store: EmbeddedBackend, start: Start, folder: Path
    ) -> None:
        holder = start(HOLDER)
        assert line(holder) == "held"
        assert store.execute(LeaseHeld("s", "1"))
        with pytest.raises(SessionBusy):
            store.execute(TakeLease("s", "1"))
        holder.kill()
        holder.wait()
        assert list((folder / "leases").iterdir())
        assert not store.execute(LeaseHeld("s", "1"))
        assert not list((folder / "leases").iterdir())
        store.execute(TakeLease("s", "1"))
        store.execute(DropLease("s", "1"))
        assert not list((folder / "leases").iterdir())

    def test_a_stopped_process_keeps_its_lease(self, store: EmbeddedBackend, start: Start) -> None:
        holder = start(HOLDER)
        assert line(holder) == "held"
        os.kill(holder.pid, signal.SIGSTOP)
        os.waitpid(holder.pid, os.WUNTRACED)
        assert store.execute(LeaseHeld("s", "1"))
        # and does not hinder the others' writes
        assert store.execute(Append("s", (b"1",))).offset

    def test_looking_never_hinders_taking(self, store: EmbeddedBackend, folder: Path) -> None:
        other = EmbeddedBackend(folder)
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                other.execute(LeaseHeld("s", "1"))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for _ in range(300):
                store.execute(TakeLease("s", "1"))
                assert other.execute(LeaseHeld("s", "1"))
                store.execute(DropLease("s", "1"))
        finally:
            ended.set()
            thread.join()
            other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    def run_child(self, work: Callable[[], object]) -> None:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    def test_child_and_parent_go_on(self, store: EmbeddedBackend) -> None:
        store.execute(Append("s", (b"1",), producer=Producer("p", 0, 0)))
        store.submit(Append("s", (b"2",))).result()
        follower = store.submit(Read("s", "now", wait=60))

        def child() -> None:
            assert store.execute(Append("s", (b"1",), producer=Producer("p", 0, 0))).duplicate
            assert store.submit(Append("s", (b"3",))).result(30).offset
            assert everything(store, "s") == [b"1", b"2", b"3"]
            store.close()

        while not store._hub._entries:
            time.sleep(0.001)
        self.run_child(child)
        assert follower.result(60).messages == (b"3",)
        store.execute(Append("s", (b"4",)))
        assert everything(store, "s") == [b"1", b"2", b"3", b"4"]

    def test_the_child_holds_locks_of_its_own(self, store: EmbeddedBackend, folder: Path) -> None:
        # SQLite's memory of locks is copied by a fork, the locks are not.
        store.execute(Read("s"))
        (wait, go), (heard, tell) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                store.execute(Read("s"))
                os.write(tell, b"open")
                os.read(wait, 1)  # until the parent is done, whatever becomes of it
            finally:
                os._exit(0)
        try:
            assert os.read(heard, 4) == b"open"
            store.close()
            assert is_locked(folder)
        finally:
            for end in (go, wait, heard, tell):
                os.close(end)
            os.waitpid(pid, 0)

    def test_leases_stay_with_the_parent(self, store: EmbeddedBackend) -> None:
        store.execute(TakeLease("s", "1"))

        def child() -> None:
            assert store.execute(LeaseHeld("s", "1"))
            store.execute(DropLease("s", "1"))  # not the child's to drop
            store.execute(TakeLease("s", "2"))

        self.run_child(child)
        assert store.execute(LeaseHeld("s", "1"))
        assert not store.execute(LeaseHeld("s", "2"))
        other = EmbeddedBackend(store.name)
        assert other.execute(LeaseHeld("s", "1"))
        other.close()

    def test_forking_while_threads_write(self, store: EmbeddedBackend) -> None:
        ended = threading.Event()

        def write(name: str) -> None:
            n = 0
            while not ended.is_set():
                store.execute(Append("s", (b'["%b",%d]' % (name.encode(), n),), producer=Producer(name, 0, n)))
                everything(store, "s")
                n += 1

        threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        try:
            for n in range(5):
                self.run_child(lambda n=n: [store.execute(Append("s", (b"[%d,%d]" % (n, m),))) for m in range(5)])
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        messages = everything(store, "s")
        assert [m for m in messages if m[1:2].isdigit()] == [b"[%d,%d]" % (n, m) for n in range(5) for m in range(5)]

    def test_memory_is_copied(self) -> None:
        store = EmbeddedBackend(None)
        store.execute(Create("s", (b"1",)))

        def child() -> None:
            store.execute(Append("s", (b"2",)))
            assert everything(store, "s") == [b"1", b"2"]

        self.run_child(child)
        assert everything(store, "s") == [b"1"]
        store.execute(Delete("s"))
        store.close()
