"""What is removed by age, and what never is."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from agentstream import Client, OutcomeUnknown, RunWaiting, agent, ask, step
from agentstream.backends.base import Listed, TakeLease
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create
from agentstream.sessions import moments, retention
from agentstream.sessions.events import write_event
from agentstream.sessions.log import open_log
from agentstream.sessions.retention import GcReport
from agentstream.sessions.summaries import listed

DAY = 86400.0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Client(tmp_path / "store") as client:
        yield client


@pytest.fixture
def in_days(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    start = moments.now()

    def to(days: float) -> None:
        monkeypatch.setattr(moments, "now", lambda: start + timedelta(days=days))

    return to


@agent
def greet(name: str) -> str:
    return name


def removed(report: GcReport) -> list[str]:
    return sorted(session.id for session in report.removed)


def kept(report: GcReport) -> dict[str, str]:
    return {session.id: session.reason for session in report.kept}


def here(client: Client) -> list[str]:
    return [summary.id for summary in client.sessions(sort="id")]


def test_old_sessions_are_removed_and_young_ones_stay(client: Client, in_days: Callable[[float], None]):
    client.session("a").run(greet, "x")
    client.session("b").append("note", 1)
    in_days(10)
    assert removed(client.gc(older_than=11 * DAY)) == []
    assert removed(client.gc(older_than=timedelta(days=9))) == ["a", "b"]
    assert here(client) == ["a", "b"]
    report = client.gc(older_than=9 * DAY, dry_run=False)
    assert removed(report) == ["a", "b"]
    assert here(client) == []
    assert client.gc(older_than=9 * DAY, dry_run=False).removed == ()
    assert client.session("a").run(greet, "again") == "again"


def test_a_dry_run_says_what_the_other_does_and_does_nothing(client: Client, in_days: Callable[[float], None]):
    client.session("a").run(greet, "x")
    client.session("a").fork("b").append("note", 1)
    client.session("sealed").append("note", 1)
    client.session("sealed").seal()
    size = sum(len(event.raw) for name in ("a", "sealed") for event in client.session(name).events())
    size += sum(len(event.raw) for event in list(client.session("b").events())[client.session("a").state().index :])
    before = [(entry.path, entry.offset) for entry in drive(listed(""), client._core.backend)]
    in_days(2)
    said = client.gc(older_than=DAY)
    assert said.dry_run
    assert said.bytes == size
    assert [(entry.path, entry.offset) for entry in drive(listed(""), client._core.backend)] == before
    done = client.gc(older_than=DAY, dry_run=False)
    assert not done.dry_run
    assert done.removed == said.removed
    assert removed(done) == ["a", "b", "sealed"]
    assert done.kept == ()
    assert drive(listed(""), client._core.backend) == []


def test_ttl_goes_before_older_than(client: Client, in_days: Callable[[float], None]):
    for name, ttl in {"short": DAY, "long": timedelta(days=30), "none": None}.items():
        client.session(name).append("note", 1)
        client.session(name).set_ttl(ttl)
    client.session("changed").set_ttl(DAY)
    client.session("changed").set_ttl(None)
    in_days(5)
    assert removed(client.gc()) == ["short"]
    assert removed(client.gc(older_than=10 * DAY)) == ["short"]
    assert removed(client.gc(older_than=3 * DAY)) == ["changed", "none", "short"]
    in_days(31)
    assert removed(client.gc()) == ["long", "short"]


def test_ids_that_fit_a_pattern_stay(client: Client, in_days: Callable[[float], None]):
    for name in ("support/1", "support/2/x", "other", "Support/3"):
        client.session(name).append("note", 1)
    in_days(2)
    assert removed(client.gc(older_than=DAY, keep=["support/*"])) == ["Support/3", "other"]
    assert removed(client.gc(older_than=DAY, keep="support/?")) == ["Support/3", "other", "support/2/x"]
    assert kept(client.gc(older_than=DAY, keep="other")) == {"other": "it is to be kept"}


def test_what_is_sealed_waits_for_nobody(client: Client, in_days: Callable[[float], None]):
    """The life that a waiting session had before it was compacted cannot be answered any more."""

    @agent
    def asks() -> Any:
        return ask("go on?")

    session = client.session("s")
    with pytest.raises(RunWaiting):
        session.run(asks)
    old = session.compact()
    in_days(1000)
    report = client.gc(older_than=DAY, dry_run=False)
    assert removed(report) == [old]
    assert kept(report).keys() == {"s"}


def test_what_waits_for_a_person_stays(client: Client, in_days: Callable[[float], None]):
    backend = client._core.backend
    client.session("asks").append("note", 1)
    messages = [
        write_event("claim", "1.n", {"nonce": "n", "run": "r"}, claim=1),
        write_event("run", "r", {"agent": "a", "arguments": {}, "fingerprint": "x"}, claim=1),
        write_event("status", "r", {"status": "waiting"}, claim=1),
    ]
    backend.execute(Append("asks", tuple(messages)))
    client.session("asks").set_ttl(60)
    assert client.session("asks").status() == "waiting"

    @step(effect="once")
    def pay() -> None:
        raise KeyboardInterrupt

    @agent
    def paying() -> None:
        pay()

    with pytest.raises(KeyboardInterrupt):
        client.session("unknown").run(paying)
    with pytest.raises(OutcomeUnknown):
        client.session("unknown").run(paying)
    in_days(1000)
    report = client.gc(older_than=DAY, dry_run=False)
    assert removed(report) == []
    assert kept(report).keys() == {"asks", "unknown"}
    assert "waits for a person" in kept(report)["asks"]
    assert "unresolved" in kept(report)["unknown"]
    [unresolved] = client.session("unknown").unresolved()
    client.session("unknown").resolve(unresolved, None)
    client.session("asks").cancel()
    in_days(2000)
    assert removed(client.gc(older_than=DAY)) == ["asks", "unknown"]


def test_what_a_worker_is_at_stays(client: Client, in_days: Callable[[float], None]):
    reports: list[GcReport] = []

    @step
    def collect() -> None:
        reports.append(client.gc(older_than=DAY, dry_run=False))

    @agent
    def working() -> str:
        collect()
        return "done"

    client.session("other").append("note", 1)
    in_days(5)
    assert client.session("busy").run(working) == "done"
    assert removed(reports[0]) == ["other"]
    assert kept(reports[0]) == {"busy": "a worker is at it"}


def test_a_worker_of_another_process_keeps_its_session(
    client: Client, tmp_path: Path, in_days: Callable[[float], None]
):
    program = (
        "import sys\nfrom agentstream import Client, agent, step\n"
        "@step\ndef wait():\n    print('at it', flush=True)\n    sys.stdin.read()\n"
        "@agent\ndef work():\n    wait()\n"
        f"Client({str(tmp_path / 'store')!r}).session('busy').run(work)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"at it\n"
        in_days(5)
        assert kept(client.gc(older_than=DAY, dry_run=False)) == {"busy": "a worker is at it"}
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    report = client.gc(older_than=DAY, dry_run=False)
    assert removed(report) == ["busy"]
    assert list((tmp_path / "store" / "leases").iterdir()) == []


def test_what_forks_need_stays_until_they_go(client: Client, in_days: Callable[[float], None]):
    root = client.session("a")
    root.append("note", 1)
    child = root.fork("a/b")
    grandchild = child.fork("a/b/c")
    in_days(5)
    assert removed(client.gc(older_than=DAY, keep="a/b/c")) == []
    assert kept(client.gc(older_than=DAY, keep="a/b/c")) == {
        "a": "2 forks need its events",
        "a/b": "1 fork needs its events",
        "a/b/c": "it is to be kept",
    }
    assert removed(client.gc(older_than=DAY)) == ["a", "a/b", "a/b/c"]
    grandchild.delete()
    assert removed(client.gc(older_than=DAY, keep="a/b")) == []
    assert removed(client.gc(older_than=DAY, dry_run=False)) == ["a", "a/b"]


def test_a_fork_at_an_early_place_needs_the_session_it_was_forked_from(
    client: Client, in_days: Callable[[float], None]
):
    client.session("a").append("note", 1)
    client.session("a").append("note", 2)
    client.session("a").fork("b", at=3).fork("c", at=1)
    in_days(5)
    assert kept(client.gc(older_than=DAY, keep="c")).keys() == {"a", "b", "c"}


def test_an_import_is_as_young_as_its_import(client: Client, in_days: Callable[[float], None], tmp_path: Path):
    head, _, _ = write_event("session", "i", {"schema": 1, "incarnation": "i"}).rpartition(b'"timestamp"')
    client._core.backend.execute(Create("old", (head + b'"timestamp":"2001-01-01T00:00:00.000Z"}}',)))
    client.session("old").export(tmp_path / "x")
    assert client.sessions()[0].updated.year == 2001
    assert removed(client.gc(older_than=DAY)) == []
    in_days(2)
    assert removed(client.gc(older_than=DAY)) == ["old"]


def test_a_clock_that_jumped_is_not_believed():
    now = 1_800_000_000.0

    def last(updated: float, *days_ago: float | None) -> float:
        """Days since the last change of a session whose events say these days; None: nothing that can be read."""
        backend = EmbeddedBackend(None)
        body = [write_event("session", "i", {"schema": 1, "incarnation": "i"})]
        body += [write_event("custom", f"{n}", {"data": n}) for n in range(len(days_ago) - 1)]
        stamped: list[bytes] = []
        for message, ago in zip(body, days_ago, strict=True):
            head, _, _ = message.rpartition(b'"timestamp"')
            moment = None if ago is None else datetime.fromtimestamp(now - ago * DAY, timezone.utc)
            text = moments.text(moment) if moment is not None else "soon"
            stamped.append(head + f'"timestamp":"{text}"}}}}'.encode())
        backend.execute(Create("a", tuple(stamped)))
        log = drive(open_log("a"), backend)
        assert log is not None
        entry = Listed("a", 0.0, now - updated * DAY, "0", 1, False)
        return (now - retention._last_change(log, entry, now).timestamp()) / DAY

    assert last(50, 50, 40, 30) == pytest.approx(30)
    assert last(50, 40, 30, 20_000) == pytest.approx(30)  # the last event was written with a clock in 1970
    assert last(20_000, 40, 30, 35) == pytest.approx(30)
    assert last(50, 40, 30, -20_000) == pytest.approx(30)  # or in 2080: that says nothing
    assert last(-20_000, 40, 30) == pytest.approx(30)
    assert last(10, 40, 30) == pytest.approx(10)
    assert last(40, None, None) == pytest.approx(40)
    assert last(-20_000, -20_000, None) == pytest.approx(0)  # nothing can be believed: it is taken to be young


def test_nothing_is_removed_by_a_clock_to_which_all_of_it_lies_ahead(
    client: Client, monkeypatch: pytest.MonkeyPatch, in_days: Callable[[float], None]
):
    client.session("a").append("note", 1)
    in_days(-500)
    assert removed(client.gc(older_than=DAY)) == []


def test_a_store_whose_clock_was_ahead_keeps_nothing_for_ever(client: Client, in_days: Callable[[float], None]):
    for name, ttl in {"a": 0, "b": 100 * 366 * DAY}.items():
        head, _, _ = write_event("session", name, {"schema": 1, "incarnation": name, "ttl": int(ttl)}).rpartition(
            b'"timestamp"'
        )
        client._core.backend.execute(Create(name, (head + b'"timestamp":"2001-01-01T00:00:00.000Z"}}',)))
    in_days(-500)
    assert removed(client.gc(older_than=DAY)) == ["a"]
    assert removed(client.gc()) == []


def test_what_is_written_while_it_is_being_removed_stays(client: Client, in_days: Callable[[float], None]):
    """A message that arrives between the look and the claim."""
    session = client.session("a")
    session.append("note", 1)
    in_days(5)
    backend = client._core.backend
    execute = backend.execute

    def late(operation: Any) -> Any:
        if isinstance(operation, TakeLease):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(backend, "execute", execute)
                session.append("message", {"role": "user", "parts": []})
        return execute(operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "execute", late)
        report = client.gc(older_than=DAY, dry_run=False)
    assert kept(report) == {"a": "it was written to just now"}
    assert session.state().messages == [{"role": "user", "parts": []}]


def test_pointers_to_what_is_gone_are_removed_and_those_in_use_stay(client: Client, in_days: Callable[[float], None]):
    for name in ("gone", "used"):
        session = client.session(name)
        session.append("note", 1)
        session.fork(f"fork of {name}")
        session.delete()
        session.append("note", 2)  # lives at a spare path, which a pointer names
    client.session("gone").delete()

    def own() -> list[str]:
        return [entry.path for entry in drive(listed("~"), client._core.backend)]

    assert len(own()) == 3
    assert client.gc(dry_run=False).streams == ()
    in_days(2)
    assert client.gc().streams == ("~at/gone",)
    assert client.gc(dry_run=False).streams == ("~at/gone",)
    assert len(own()) == 2
    assert [event.value for event in client.session("used").events() if event.type == "note"] == [2]
    client.session("gone").append("note", 3)
    assert [event.value for event in client.session("gone").events() if event.type == "note"] == [3]


def test_lease_files_that_dead_workers_left_are_removed(client: Client, tmp_path: Path):
    program = (
        "import os\nfrom agentstream import Client, agent, step\n"
        "@step\ndef die():\n    os.kill(os.getpid(), 9)\n"
        "@agent\ndef work():\n    die()\n"
        f"Client({str(tmp_path / 'store')!r}).session('a').run(work)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    client.session("a").delete()  # now nobody will ever ask for that lease
    folder = tmp_path / "store" / "leases"
    assert len(list(folder.iterdir())) == 1
    seen: list[Any] = []

    @step
    def collect() -> None:
        seen.append(client.gc(dry_run=True).leases)
        seen.append(len(list(folder.iterdir())))
        seen.append(client.gc(dry_run=False).leases)
        seen.append(len(list(folder.iterdir())))
        seen.append(client.session("b").status())

    @agent
    def working() -> None:
        collect()

    client.session("b").run(working)
    assert seen[:4] == [0, 2, 1, 1]
    assert client.gc(dry_run=False).leases == 0


def test_a_session_that_cannot_be_read_stays_and_is_told(client: Client, in_days: Callable[[float], None]):
    broken = write_event(
        "session", "i", {"schema": 1, "incarnation": "i", "lineage": {"source": "no", "incarnation": "x", "count": 3}}
    )
    client._core.backend.execute(Create("broken", (broken,)))
    client.session("fine").append("note", 1)
    in_days(2)
    report = client.gc(older_than=DAY, dry_run=False)
    assert removed(report) == ["fine"]
    assert "cannot be read" in kept(report)["broken"]


@pytest.mark.parametrize("span", [0, -1, timedelta(0), float("nan"), float("inf"), "1d", True])
def test_wrong_spans_are_told(client: Client, span: Any):
    client.session("a").append("note", 1)
    with pytest.raises((TypeError, ValueError), match="older_than"):
        client.gc(older_than=span, dry_run=False)
    assert here(client) == ["a"]
