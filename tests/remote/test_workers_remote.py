"""Workers of several machines on one server: who is woken, and what those that die leave behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import remote_worker
from cli_kit import environment
from fault_proxy import FaultProxy
from node_server import node_server
from our_server import our_server
from workers_kit import WorkerProcess, at_work, step_begun, until

from agentstream import Client, Session, agent
from agentstream.agents import noticing, serving
from agentstream.agents.noticing import subscribed
from agentstream.backends.driving import adrive
from agentstream.protocol.subscriptions import ReleaseWake
from agentstream.sessions.wakes import claimed

SERVERS: dict[str, Callable[[], Any]] = {"ours": our_server, "node": node_server}


@pytest.fixture(params=["ours", "node"])
def place(request: pytest.FixtureRequest) -> str:
    return SERVERS[request.param]().place()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noticing, "WAKE_LEASE", 1.0)
    monkeypatch.setattr(noticing, "TROUBLE", 0.1)
    monkeypatch.setattr(serving, "REMOTE_LEASE", 0.2)


@pytest.fixture
def client(place: str) -> Iterator[Client]:
    with Client(place) as made:
        yield made


class Process:
    """A worker process on a server."""

    def __init__(self, url: str, folder: Path, agent: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("remote_worker.py")), url, str(folder), agent]
        self._process = subprocess.Popen(command, env=environment())

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)


@contextmanager
def workers(url: str, folder: Path, agent: str, count: int = 2) -> Iterator[list[Process]]:
    made = [Process(url, folder, agent) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.kill()


def asked(client: Client, id: str, text: str) -> Session:
    session = client.session(id)
    session.append("message", {"role": "user", "text": text})
    return session


def did(folder: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return [line.partition(" ")[2] for line in (folder / "did").read_text().splitlines()]
    return []


def who(folder: Path, what: str) -> int:
    return int(next(line for line in (folder / "did").read_text().splitlines() if line.endswith(what)).split()[0])


def result(session: Session) -> Any:
    run = session.state().run
    assert run is not None
    return run.result


# --- processes -------------------------------------------------------------------------------------------------------


def test_two_workers_race_and_each_message_is_run_once(client: Client, place: str, tmp_path: Path) -> None:
    with workers(place, tmp_path, "greet"):
        sessions = [asked(client, f"chat/{number}", f"m{number}") for number in range(12)]
        for session in sessions:
            until(session, "finished")
    assert sorted(did(tmp_path)) == sorted(f"m{number}" for number in range(12))
    assert [result(session) for session in sessions] == [f"M{number}" for number in range(12)]


def test_what_a_killed_worker_was_at_is_gone_on_with(client: Client, place: str, tmp_path: Path) -> None:
    with workers(place, tmp_path, "held") as processes:
        session = asked(client, "jobs/1", "x")
        step_begun(session, "hold")
        first = who(tmp_path, " x")
        (tmp_path / "free x").touch()
        next(each for each in processes if each.pid == first).kill()
        until(session, "finished")
    assert did(tmp_path).count("x") == 1  # what had returned is not done again
    assert result(session) == "Xx"


def test_a_sleep_goes_on_though_the_worker_that_knew_of_it_was_killed(
    client: Client, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one finds it by looking around: it claims no wakes, so nobody tells it."""

    async def never(self: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(noticing._Waking, "_woken", never)
    monkeypatch.setattr(noticing, "AROUND", 0.2)
    monkeypatch.setattr("agentstream.agents.waiting.NEAR", 0.5)
    monkeypatch.setattr("agentstream.agents.sleeping.NEAR", 0.5)
    monkeypatch.setattr(remote_worker, "FOLDER", tmp_path)
    with Client(place) as other, at_work(other, remote_worker.patient), workers(place, tmp_path, "patient", 1) as made:
        session = asked(client, "jobs/1", "x")  # which only the process begins
        until(session, "waiting")
        made[0].kill()
        until(session, "finished")
    assert who(tmp_path, "x before") == made[0].pid
    assert who(tmp_path, "x after") == os.getpid()
    assert did(tmp_path) == ["x before", "x after"]


def test_a_run_that_fails_is_tried_again_after_a_pause(client: Client, place: str, tmp_path: Path) -> None:
    with workers(place, tmp_path, "flaky"):
        session = asked(client, "jobs/1", "x")
        until(session, "finished")
    assert did(tmp_path) == ["x"] * 3


def test_the_command_line_takes_a_url(client: Client, place: str, tmp_path: Path) -> None:
    (tmp_path / "bots.py").write_text(
        "from agentstream import agent\n\n@agent\ndef hi(t: str) -> str:\n    return t * 2\n"
    )
    with WorkerProcess(place, tmp_path, "bots:hi", "--on-message", "--match", "chat/*"):
        session = asked(client, "chat/1", "ab")
        until(session, "finished")
    assert result(session) == "abab"


# --- wakes -----------------------------------------------------------------------------------------------------------


@agent
def echo(text: str) -> str:
    return text


def pool(client: Client, match: str = "**") -> str:
    """The subscription that workers of this pattern share."""
    shift: Any = None
    return noticing._Waking(client._core, match, shift).id


def test_a_wake_whose_worker_says_nothing_more_is_claimed_by_another(client: Client) -> None:
    with at_work(client, echo, on_message=True):
        until(asked(client, "a", "one"), "finished")
    subscription = client.subscription(pool(client))
    asked(client, "b", "two")
    while (wake := subscription.claim("dead", wait=60)) is not None and "b" not in {s.id for s in wake.pending}:
        wake.ack(done=True)
    with at_work(client, echo, on_message=True):
        until(asked(client, "c", "three"), "finished")  # comes by the wake alone: the first look around was before
    assert wake is not None


def test_a_subscription_that_the_server_forgot_is_made_again(client: Client) -> None:
    with at_work(client, echo, on_message=True):
        until(asked(client, "a", "one"), "finished")
        client.subscription(pool(client)).delete()
        until(asked(client, "b", "two"), "finished")
        assert client.subscription(pool(client)).get().type == "pull-wake"


def test_a_server_without_subscriptions_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noticing, "AROUND_ALONE", 0.1)
    plan = lambda number, method, path: 404 if "/__ds/" in path else None  # noqa: E731
    with FaultProxy(our_server().place(), plan) as proxy, Client(proxy.url) as client:
        with at_work(client, echo, on_message=True):
            session = asked(client, "a", "one")
            until(session, "finished")
        assert result(session) == "one"


def test_a_worker_without_room_leaves_the_rest_of_a_wake_to_others(client: Client) -> None:
    subscription = client.subscription(f"rest {client.name}")
    subscription.create(pattern="jobs/*")
    for id in ("jobs/a", "jobs/b"):
        client.session(id).append("note", {})

    class Busy:
        """Has room for one."""

        full = False
        taken = 0
        looked = asyncio.Event()

        async def changed(self, path: str) -> None:
            self.full = path == "jobs/b"

        def left(self, path: str) -> bool:
            return path == "jobs/b"

    async def handed() -> None:
        busy: Any = Busy()
        waking = noticing._Waking(client._core, "jobs/*", busy)
        waking.id = subscription.id
        woken: Any = None
        while woken is None or {stream.path for stream in woken.streams if stream.has_pending} != {"jobs/a", "jobs/b"}:
            if woken is not None:
                await client._core.backend.aexecute(
                    ReleaseWake(waking.id, woken.wake_id, woken.generation, woken.token)
                )
            woken = await adrive(claimed(client._core, waking.id, "busy", 60), client._core.backend)
        await waking._hand_out(woken)
        await client.to_async().close()

    with Client(client.name) as own:
        asyncio.run(handed())
        wake = own.subscription(subscription.id).claim(wait=60)
        assert wake is not None
        assert [stream.id for stream in wake.pending] == ["jobs/b"]
        own.subscription(subscription.id).delete()


@pytest.mark.parametrize(
    ("match", "pattern"),
    [
        ("**", "**"),
        ("support/**", "support/**"),
        ("a/*/b", "a/*/b"),
        ("a/x*/b?", "a/*/*"),
        ("a/b**c/d", "a/**"),
        ("plain", "plain"),
    ],
)
def test_what_a_server_is_asked_to_match(match: str, pattern: str) -> None:
    assert subscribed(match) == pattern
