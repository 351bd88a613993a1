"""Following: live, from any cut, across processes, to the seal or the deletion."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend

from agentstream import AsyncClient, Client, NotFound
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import Unavailable
from agentstream.protocol.operations import Create, Read
from agentstream.sessions import reading
from agentstream.sessions.core import Core


def test_everything_is_followed_to_the_seal(client: Client) -> None:
    session = client.session("s")
    session.append("note", 0)
    follower = session.follow()
    assert [next(follower).type for _ in range(2)] == ["session", "note"]
    for n in range(1, 4):
        session.append("note", n)
        assert next(follower).value == n
    session.seal()
    assert [event.type for event in follower] == ["claim"]
    assert list(session.follow()) == list(session.events())


def test_following_begins_at_any_cut(client: Client) -> None:
    session = client.session("s")
    notes = [session.append("note", n) for n in range(4)]
    now = session.follow("now")
    late = session.append("note", "late")
    session.seal()
    events = list(session.events())
    assert [event.index for event in now] == [late.index, late.index + 1]
    for start, first in ((None, 0), (0, 0), (3, 3), (notes[1], 3), (notes[1].position, 3)):
        assert list(session.follow(start)) == events[first:]
    assert list(session.follow("now")) == []
    with pytest.raises(ValueError, match='"now"'):
        session.follow("never")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be cut"):
        session.follow(99)


def test_a_fork_is_followed_with_what_it_shares(client: Client) -> None:
    source = client.session("s")
    for n in range(3):
        source.append("note", n)
    fork = source.fork("f", at=3)
    follower = fork.follow()
    assert [next(follower).type for _ in range(4)] == ["session", "note", "note", "session"]
    source.append("note", "not in the fork")
    event = fork.append("note", "in the fork")
    assert next(follower) == event
    assert event.position.incarnation == fork.state().incarnation


@pytest.mark.parametrize("again", [False, True])
def test_a_follower_is_told_of_a_deletion(client: Client, again: bool) -> None:
    session = client.session("s")
    session.append("note", 0)
    follower = session.follow("now")
    session.delete()
    if again and client._core.backend.traits.skips:
        for n in range(5):
            session.append("note", n)
    with pytest.raises(NotFound, match="deleted while it was followed"):
        next(follower)


def test_a_waiting_follower_is_woken_by_a_deletion(client: Client) -> None:
    session = client.session("s")
    session.append("note", 0)
    follower = reading.Follower(client._core, drive(client._core.require("s"), client._core.backend), 2)
    told: list[Exception] = []

    def wait() -> None:
        try:
            drive(reading.follow(follower, wait=60), client._core.backend)
        except Exception as error:
            told.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    session.delete()
    waiting.join()
    assert isinstance(told[0], NotFound)


def test_marks_are_what_they_are_when_an_event_comes(client: Client) -> None:
    session = client.session("s")
    session.append("note", 1, key="k")
    follower = session.follow("now")
    session.append("note", 2, key="k")
    assert next(follower).mark == "duplicate"
    session.rewind(at=1)
    assert [next(follower).type for _ in range(2)] == ["claim", "rewind"]
    session.append("note", 3, key="k")
    assert next(follower).mark is None


def test_a_follower_asks_again_after_lost_replies() -> None:
    lost: list[Any] = []
    backend = HostileBackend()
    session = Client(backend).session("s")
    session.append("note", 0)
    follower = session.follow()
    backend.drop_replies = lambda op: isinstance(op, Read) and len(lost) < 3 and not lost.append(op)
    assert [next(follower).type for _ in range(2)] == ["session", "note"]
    session.append("note", 1)
    assert next(follower).value == 1
    assert len(lost) == 3
    session.append("note", 2)
    backend.drop_replies = lambda op: isinstance(op, Read)
    with pytest.raises(Unavailable):
        next(follower)


FOLLOWER = """
import sys
from agentstream import Client
with Client(sys.argv[1]) as client:
    for event in client.session("s").follow():
        print(event.index, event.type, event.value if event.type == "note" else "", flush=True)
print("end", flush=True)
"""


def test_another_process_follows(tmp_path: Path) -> None:
    with Client(tmp_path / "store") as client:
        session = client.session("s")
        session.append("note", "a")
        command = [sys.executable, "-c", FOLLOWER, str(tmp_path / "store")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "0 session \n"
            assert follower.stdout.readline() == "1 note a\n"
            for n in range(5):
                session.append("note", n)
                assert follower.stdout.readline() == f"{n + 2} note {n}\n"
            session.seal()
            assert follower.stdout.read() == "7 claim \nend\n"
        assert follower.returncode == 0


def test_tasks_follow(client: Client) -> None:
    async def main() -> None:
        session = client.to_async().session("s")
        await session.append("note", 0)
        seen: list[list[int]] = [[], [], []]
        ready = [asyncio.Event() for _ in seen]

        async def follow(n: int) -> None:
            async for event in session.follow(n):
                seen[n].append(event.index)
                ready[n].set()

        tasks = [asyncio.create_task(follow(n)) for n in range(3)]
        await asyncio.gather(ready[0].wait(), ready[1].wait())
        for n in range(3):
            await session.append("note", n)
        await session.seal()
        await asyncio.gather(*tasks)
        assert seen == [list(range(n, 6)) for n in range(3)]

    asyncio.run(main())


def test_a_task_that_follows_can_be_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path / "store") as client:
            session = client.session("s")
            await session.append("note", 0)
            waits = asyncio.Event()

            async def follow() -> None:
                async for event in session.follow():
                    if event.index == 1:
                        waits.set()

            task = asyncio.create_task(follow())
            await waits.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await session.append("note", 1)).index == 2

    asyncio.run(main())


def test_a_log_that_was_cached_is_checked_before_it_is_used() -> None:
    """Another client deletes the session and makes one as long: the same offsets, another life."""
    backend = EmbeddedBackend(None)
    ours, theirs = Client(backend), Client(backend)
    for n in range(3):
        ours.session("s").append("note", n)
    theirs.session("s").delete()
    for n in "abc":
        theirs.session("s").append("note", n)
    assert [event.value for event in ours.session("s").events() if event.type == "note"] == ["a", "b", "c"]
    theirs.session("s").delete()
    backend.execute(Create("s", (b"{}",)))
    assert [event.type for event in ours.session("s").events()] == [""]
    backend.close()


def test_two_that_read_on_at_once_take_each_event_once() -> None:
    backend = EmbeddedBackend(None)
    session = Client(backend).session("s")
    session.append("note", 0)
    core = Core(backend)
    drive(core.refresh("s"), backend)
    session.append("note", 1)
    both = [core.refresh("s"), core.refresh("s")]
    answers = [backend.execute(next(steps)) for steps in both]  # whose life it is
    answers = [backend.execute(steps.send(answer)) for steps, answer in zip(both, answers, strict=True)]
    ends: list[Any] = []
    for steps, answer in zip(both, answers, strict=True):  # the page that both were sent
        try:
            while True:
                answer = backend.execute(steps.send(answer))
        except StopIteration as stop:
            ends.append(stop.value)
    assert [log.size for log in ends] == [3, 3]
    backend.close()


def test_many_logs_do_not_fill_the_memory() -> None:
    backend = EmbeddedBackend(None)
    core = Core(backend)
    client = Client(backend)
    for n in range(40):
        client.session(f"s{n}").append("note", n)
        drive(core.refresh(f"s{n}"), backend)
    assert len(core._logs) == 32
    backend.close()
