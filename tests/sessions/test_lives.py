"""Incarnations: making, deleting and making again, also at once and while forks live; appending and sealing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend
from stores import STITCHED, raw_events

from agentstream import AgentStreamError, AsyncClient, Client, NotFound, NotSerializable
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create, Delete, Read
from agentstream.sessions.ids import path_of, pointer_path


def notes(session: Any) -> list[Any]:
    return [event.value for event in session.events() if event.type == "note" and event.mark is None]


# --- lives ------------------------------------------------------------------------------------------------------------


def test_there_is_no_session_before_it_is_made(client: Client) -> None:
    session = client.session("s")
    for asked in (session.events, session.state, session.status, session.delete, session.seal, session.follow):
        with pytest.raises(NotFound, match="there is no session 's' here"):
            asked()
    session.append("note", 1)
    assert notes(session) == [1]


def test_an_id_can_be_used_again(client: Client) -> None:
    session, other = client.session("s"), Client(client._core.backend).session("s")
    lives = set()
    for life in range(4):
        session.append("note", life)
        lives.add(session.state().incarnation)
        assert notes(session) == notes(other) == [life]
        other.delete()
        with pytest.raises(NotFound):
            session.events()
    assert len(lives) == 4


def test_an_id_can_be_used_again_while_forks_of_it_live(client: Client, request: pytest.FixtureRequest) -> None:
    native = request.node.callspec.params["backend"] not in STITCHED
    session = client.session("a/b")
    branches: list[tuple[Any, list[bytes]]] = []
    for life in range(3):
        session.append("note", life)
        branch = session.fork(f"f{life}", copy=not native)  # only what the server shares outlives its source
        branches.append((branch, raw_events(branch)))
        session.delete()
        with pytest.raises(NotFound):
            session.events()
    session.append("note", "last")
    fresh = Client(client._core.backend)
    assert notes(session) == notes(fresh.session("a/b")) == ["last"]
    for branch, before in branches:
        assert raw_events(branch) == raw_events(fresh.session(branch.id)) == before
        assert branch.state().lineage.incarnation != session.state().incarnation
    lineage = session.fork("g").state().lineage
    assert lineage is not None
    assert lineage.incarnation == session.state().incarnation
    session.append("note", "more")
    session.seal()
    assert notes(fresh.session("a/b")) == ["last", "more"]


def test_a_reader_follows_a_session_that_moved() -> None:
    backend = HostileBackend()
    Client(backend).session("s").append("note", 1)
    session = Client(backend).session("s")
    there = b"".join(backend.execute(Read("s")).messages[:1])
    backend.execute(Delete("s"))
    moved = b'{"type":"session","key":"x","value":{"moved":true},"headers":{"operation":"insert"}}'
    backend.execute(Create("s", (moved,)))
    backend.execute(Create("~s/x", (there,)))
    pointer = b'{"type":"session","key":"y","value":{"path":"~s/x"},"headers":{"operation":"insert"}}'
    backend.execute(Create(pointer_path("s"), (pointer,)))
    session.append("note", 2)
    assert notes(session) == [2]


class AtOnce(HostileBackend):
    """Another client makes the session's next life at a spare path just before this one points at its own."""

    other: Any = None

    def execute(self, operation: Any) -> Any:
        if self.other is not None and isinstance(operation, (Create, Append)) and operation.path == pointer_path("s"):
            other, self.other = self.other, None
            other()
        return super().execute(operation)


@pytest.mark.parametrize("lives", [1, 2])
def test_of_two_that_make_a_next_life_at_once_both_use_the_same(lives: int) -> None:
    backend = AtOnce()
    session = Client(backend).session("s")
    for life in range(lives):
        session.append("note", life)
        session.fork(f"f{life}")
        session.delete()
    backend.other = lambda: Client(backend).session("s").append("note", "theirs")
    session.append("note", "ours")
    assert notes(session) == notes(Client(backend).session("s")) == ["theirs", "ours"]


def test_threads_that_make_one_session_make_one(client: Client) -> None:
    start = threading.Barrier(4)

    def make(n: int) -> None:
        start.wait()
        Client(client._core.backend).session("s").append("note", n)

    threads = [threading.Thread(target=make, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(notes(client.session("s"))) == [0, 1, 2, 3]
    assert [event.type for event in client.session("s").events()].count("session") == 1


MAKER = """
import sys
from agentstream import Client
client = Client(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for n in range(5):
    client.session(f"s{n}").append("note", sys.argv[2])
"""


def test_processes_that_make_one_session_at_once_make_one(tmp_path: Path) -> None:
    store = tmp_path / "store"
    Client(store).close()
    commands = [[sys.executable, "-c", MAKER, str(store), str(n)] for n in range(2)]
    makers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    for maker in makers:
        maker.communicate()
        assert maker.returncode == 0
    with Client(store) as client:
        for n in range(5):
            assert sorted(notes(client.session(f"s{n}"))) == ["0", "1"]


def test_long_ids_of_any_script(client: Client) -> None:
    for id in ("ä" * 256, "会话/二", "a b/%2F?#&=+", "x" * 512, "e\u0301"):
        client.session(id).append("note", id)
        assert notes(Client(client._core.backend).session(id)) == [id]
        assert len(path_of(id)) >= len(id)


# --- appending --------------------------------------------------------------------------------------------------------


def test_what_append_returns_is_the_event_in_the_log(client: Client) -> None:
    session = client.session("s")
    for value in (None, 1, 2**70, "x", [1, (2, 3)], {"a": b"bytes"}, {"data": 1}, float("nan")):
        for type in ("note", "custom"):
            event = session.append(type, value)
            assert list(session.events())[event.index] == event
            assert repr(event.value) == repr([1, [2, 3]] if isinstance(value, list) else value)
    labelled = session.append("session", {"title": "T", "tags": {"a": 1}}, key="k")
    assert (labelled.key, session.state().title, session.state().tags) == ("k", "T", {"a": 1})
    assert session.append("message", {"role": "user", "parts": []}).type == "message"


def test_what_append_refuses(client: Client) -> None:
    session = client.session("s")
    refused: list[tuple[Any, Any, Any, type[Exception]]] = [
        ("step", {}, None, ValueError),
        ("claim", {}, None, ValueError),
        ("", {}, None, ValueError),
        (5, {}, None, ValueError),
        ("\ud800", {}, None, ValueError),
        ("note", {}, "", ValueError),
        ("note", {}, 5, ValueError),
        ("note", {}, "\udfff", ValueError),
        ("note", object(), None, NotSerializable),
        ("message", "text", None, TypeError),
        ("message", {"claim": 3}, None, ValueError),
        ("answer", {"claim": 3}, None, ValueError),
        ("session", {"incarnation": "x"}, None, ValueError),
        ("session", {"lineage": {}}, None, ValueError),
    ]
    for type, value, key, error in refused:
        with pytest.raises(error):
            session.append(type, value, key=key)
    with pytest.raises(NotFound):
        session.events()
    assert session.append("custom", {"claim": 3}).value == {"claim": 3}
    assert list(session.events())[-1].claim is None


def test_a_key_counts_once(client: Client) -> None:
    session = client.session("s")
    first = session.append("note", 1, key="k")
    second = session.append("note", 2, key="k")
    other = session.append("memo", 3, key="k")
    assert (first.mark, second.mark, other.mark) == (None, "duplicate", None)
    assert notes(session) == [1]


def test_lost_replies_never_count_twice() -> None:
    seen: set[int] = set()

    def first_time(operation: Any) -> bool:
        lost = id(operation) not in seen
        seen.add(id(operation))
        return lost

    backend = HostileBackend(drop_replies=first_time)
    kept: list[Any] = []
    execute = backend.execute
    backend.execute = lambda operation: (kept.append(operation), execute(operation))[1]  # type: ignore[method-assign]
    session = Client(backend).session("s")
    for n in range(20):
        session.append("note", n)
        if n % 3 == 0:
            backend.restart()
    assert notes(session) == list(range(20))
    assert len(list(session.events())) == 21


def test_a_server_that_forgets_producers_while_a_reply_is_lost() -> None:
    backend = HostileBackend()
    session = Client(backend).session("s")
    for n in range(3):
        session.append("note", n)
    lost: list[Any] = []

    def lose(operation: Any) -> bool:
        if isinstance(operation, Append) and not lost:
            lost.append(operation)
            for log in backend._logs.values():
                log.producers.clear()
            return True
        return False

    backend.drop_replies = lose
    session.append("note", 3)
    assert notes(session) == [0, 1, 2, 3]
    session.append("note", 4)
    assert notes(session) == [0, 1, 2, 3, 4]


class Producers(HostileBackend):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def _append(self, operation: Append) -> Any:
        assert operation.producer is not None
        self.ids.append(operation.producer.id)
        return super()._append(operation)


def test_a_client_has_one_producer_for_a_stream() -> None:
    backend = Producers()
    client = Client(backend)
    for n in range(9):
        client.session(f"s{n % 2}").append("note", n)
    assert len(set(backend.ids)) == 2
    Client(backend).session("s0").append("note", 9)
    assert len(set(backend.ids)) == 3


def test_a_producer_that_was_copied_with_its_process_loses_nothing(client: Client) -> None:
    client.session("s").append("note", 0)
    twin = Client(client._core.backend)
    twin._core._producers.update((path, list(free)) for path, free in client._core._producers.items())
    client.session("s").append("note", 1)
    twin.session("s").append("note", 2)
    assert notes(client.session("s")) == [0, 1, 2]


def test_threads_append_to_one_session_through_one_client(client: Client) -> None:
    session = client.session("s")

    def write(n: int) -> None:
        for k in range(20):
            assert session.append("note", n * 100 + k).value == n * 100 + k

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(notes(session)) == sorted(n * 100 + k for n in range(4) for k in range(20))
    assert [event.index for event in session.events()] == list(range(81))


def test_tasks_append_to_one_session_through_one_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path / "store") as client:
            session = client.session("s")
            events = await asyncio.gather(*(session.append("note", n) for n in range(50)))
            assert sorted(event.index for event in events) == list(range(1, 51))
            assert [event.value for event in sorted(events, key=lambda event: event.index)] == [
                event.value async for event in session.events(start=1)
            ]

    asyncio.run(main())


def test_a_forked_child_appends_beside_its_parent(tmp_path: Path) -> None:
    client = Client(tmp_path / "store")
    session = client.session("s")
    session.append("note", 0)
    child = os.fork()
    if child == 0:
        try:
            session.append("note", "child")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    session.append("note", "parent")
    assert notes(session) == [0, "child", "parent"]
    client.close()


def test_what_a_user_does_to_a_value_stays_with_the_user(client: Client) -> None:
    session = client.session("s")
    session.append("note", {"a": [1]}).value["a"].append(2)
    next(iter(session.events(start=1))).value.clear()
    assert notes(session) == [{"a": [1]}]


class Reads(EmbeddedBackend):
    read = 0

    def execute(self, operation: Any) -> Any:
        result = super().execute(operation)
        self.read += len(getattr(result, "messages", ()))
        return result


def test_an_append_reads_nothing_of_what_was_read() -> None:
    backend = Reads(None)
    session = Client(backend).session("s")
    session.append("note", 0)
    backend.read = 0
    for n in range(100):
        session.append("note", n, key=f"k{n}")
    assert backend.read <= 3 * 100  # its own event, and twice the birth that says whose log this is
    backend.close()


# --- ending -----------------------------------------------------------------------------------------------------------


def test_a_sealed_session_takes_nothing_more(client: Client) -> None:
    session = client.session("s")
    session.append("note", 1)
    session.seal()
    session.seal()
    for refused in (lambda: session.append("note", 2), lambda: session.rewind(at=1)):
        with pytest.raises(AgentStreamError, match="is sealed"):
            refused()
    assert [event.type for event in session.follow()] == ["session", "note", "claim"]
    session.delete()
    session.append("note", 3)
    assert notes(session) == [3]


def test_a_lost_reply_to_a_deletion_is_no_error() -> None:
    backend = HostileBackend()
    session = Client(backend).session("s")
    session.append("note", 1)
    lost: list[Any] = []
    backend.drop_replies = lambda operation: isinstance(operation, Delete) and not lost and not lost.append(operation)
    session.delete()
    with pytest.raises(NotFound):
        session.delete()
