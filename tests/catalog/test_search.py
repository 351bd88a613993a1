"""Finding sessions, and that what is kept of them in memory never shows what was."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend
from msgspec.structs import replace

from agentstream import AgentStreamError, Client, agent, spawn, step
from agentstream.backends.base import LeaseHeld
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Create, Read
from agentstream.sessions import moments, search, summaries
from agentstream.sessions.events import write_event


class Counting(EmbeddedBackend):
    """Counts the pages that are read, and holds a lease that a test names."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path)
        self.reads = 0

    def execute(self, operation: Any) -> Any:
        self.reads += isinstance(operation, Read)
        return super().execute(operation)


@pytest.fixture(params=["disk", "memory"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with Client(Counting(tmp_path if request.param == "disk" else None)) as client:
        yield client


@step
def touch() -> None: ...


@agent
def writer(text: str) -> str:
    touch()
    return text


@agent
def breaker() -> None:
    touch()
    raise RuntimeError("on purpose")


def ids(client: Client, **query: Any) -> list[str]:
    return [summary.id for summary in client.sessions(**query)]


def say(client: Client, name: str, text: str) -> None:
    client.session(name).append("message", {"role": "user", "parts": [{"type": "text", "text": text}]})


def dated(client: Client, name: str, *days: int) -> None:
    """A session with one event for each day of January 2026."""

    def at(day: int, message: bytes) -> bytes:
        head, _, _ = message.rpartition(b'"timestamp"')
        return head + f'"timestamp":"2026-01-{day:02d}T12:00:00.000Z"}}}}'.encode()

    birth = write_event("session", name, {"schema": 1, "incarnation": name})
    body = [birth, *(write_event("custom", f"k{day}", {"data": day}) for day in days[1:])]
    body = [at(day, message) for day, message in zip(days, body, strict=True)]
    client._core.backend.execute(Create(name, tuple(body)))


def test_children_are_found_by_who_spawned_them(client: Client):
    """And a fork of a child by the child that it was forked from."""

    @agent
    def parent() -> None:
        for fork in (False, True):
            spawn(writer, "x", fork=fork).result()

    client.session("a").run(parent)
    client.session("a/0").fork("b")
    assert ids(client, parent="a", sort="id") == ["a/0", "a/2"]
    assert ids(client, parent="a/0") == ["b"]
    assert {each.id: each.parent for each in client.sessions()} == {"a": None, "a/0": "a", "a/2": "a", "b": "a/0"}


def test_by_status_agent_title_tag_and_parent(client: Client):
    client.session("a").run(writer, "x")
    client.session("b").append("note", 1)
    with pytest.raises(RuntimeError):
        client.session("c").run(breaker)
    client.session("a").fork("d")
    client.session("b").label("Refund of order A1", {"team": "money", "size": 3})
    client.session("c").label(tags={"team": "people", "size": "3"})
    assert ids(client, sort="id") == ["a", "b", "c", "d"]
    assert ids(client, status="finished", sort="id") == ["a", "d"]
    assert ids(client, status=["failed", "waiting"]) == ["c"]
    assert ids(client, agent="writer", sort="id") == ["a", "d"]
    assert ids(client, title="REFUND OF") == ["b"]
    assert ids(client, tag="team", sort="id") == ["b", "c"]
    assert ids(client, tag="team=money") == ["b"]
    assert ids(client, tag="size=3", sort="id") == ["b", "c"]
    assert ids(client, tag={"size": 3, "team": "money"}) == ["b"]
    assert ids(client, tag={"size": 3, "team": "people"}) == []
    assert ids(client, parent="a") == ["d"]
    assert ids(client, status="finished", parent="a", prefix="d") == ["d"]
    assert ids(client, status="finished", tag="team") == []


def test_by_what_was_said(client: Client):
    say(client, "a", "Die STRASSE ist lang\nund breit")
    say(client, "b", 'quotes " and \\ and "message"')
    client.session("c").append("note", {"message": "strasse"})
    for text, found in {
        "straße": ["a"],
        "lang\nund": ["a"],
        '" and \\': ["b"],
        "nobody": [],
        "parts": [],  # a name of ours, which nobody said
    }.items():
        assert ids(client, text=text) == found
    say(client, "b", "now lang too")
    assert ids(client, text="LANG", sort="id") == ["a", "b"]
    assert ids(client, text="LANG", prefix="b") == ["b"]


def test_text_is_found_on_every_page(client: Client):
    for n in range(3):
        say(client, "a", f"{n}" + "x" * 700_000)
    say(client, "a", "at the end")
    assert ids(client, text="at the end") == ["a"]


def test_by_time(client: Client):
    for name, days in {"a": (1, 5), "b": (2,), "c": (3, 9)}.items():
        dated(client, name, *days)

    def january(day: int) -> datetime:
        return datetime(2026, 1, day, 12, tzinfo=timezone.utc)

    assert ids(client) == ["c", "a", "b"]
    assert ids(client, reverse=True) == ["b", "a", "c"]
    assert ids(client, sort="created") == ["c", "b", "a"]
    assert ids(client, sort="events") == ["a", "c", "b"]
    assert ids(client, sort="events", reverse=True) == ["b", "a", "c"]
    assert ids(client, since=january(5)) == ["c", "a"]
    assert ids(client, until=january(5)) == ["b"]
    assert ids(client, since=january(3), until=january(9)) == ["a"]
    assert ids(client, since=january(5).astimezone(timezone(timedelta(hours=5)))) == ["c", "a"]
    assert ids(client, since=january(5).astimezone().replace(tzinfo=None)) == ["c", "a"]
    assert ids(client, limit=1) == ["c"]
    assert ids(client, limit=2) == ["c", "a"]
    assert ids(client, limit=0) == []
    assert ids(client, limit=1, sort="created", reverse=True) == ["a"]
    assert ids(client, since=timedelta(days=100_000), limit=2) == ["c", "a"]


def test_a_timedelta_counts_back_from_now(client: Client, monkeypatch: pytest.MonkeyPatch):
    client.session("a").append("note", 1)
    assert ids(client, since=timedelta(minutes=5)) == ["a"]
    assert ids(client, until=timedelta(minutes=5)) == []
    later = moments.now() + timedelta(hours=1)
    monkeypatch.setattr(moments, "now", lambda: later)
    assert ids(client, since=timedelta(minutes=5)) == []
    assert ids(client, until=timedelta(minutes=5)) == ["a"]


def test_what_did_not_change_is_not_read_again(client: Client):
    backend = client._core.backend
    assert isinstance(backend, Counting)
    for n in range(30):
        client.session(f"s{n}").append("note", n)
    assert len(ids(client)) == 30
    before = backend.reads
    assert len(ids(client, sort="id")) == 30
    assert backend.reads == before
    client.session("s7").append("note", "more")
    before = backend.reads
    [summary] = [summary for summary in client.sessions() if summary.id == "s7"]
    assert summary.events == 3
    assert backend.reads == before + 1


def test_a_limit_reads_no_more_than_it_shows(client: Client, monkeypatch: pytest.MonkeyPatch):
    for n in range(30):
        client.session(f"s{n}").append("note", n)
    # as if a day lay between any two: what a store took in at one moment may be in any order
    places = summaries.places

    def a_day_apart(core: Any, prefix: str = "") -> Any:
        found = yield from places(core, prefix)
        return [
            summaries.Place(p.id, replace(p.listed, updated=p.listed.updated - 86400 * n)) for n, p in enumerate(found)
        ]

    monkeypatch.setattr(search, "places", a_day_apart)
    backend = client._core.backend
    assert isinstance(backend, Counting)
    before = backend.reads
    assert len(ids(client, limit=1)) == 1
    assert backend.reads <= before + 2


def test_ids_used_again_deleted_and_changed_elsewhere_are_seen(client: Client):
    client.session("a").label("first")
    client.session("b").append("note", 1)
    assert ids(client, title="first") == ["a"]
    client.session("a").delete()
    assert ids(client) == ["b"]
    client.session("a").label("second")
    assert ids(client, title="first") == []
    assert ids(client, title="second") == ["a"]
    with_forks = client.session("a")
    with_forks.fork("c")
    with_forks.delete()
    assert ids(client, sort="id") == ["b", "c"]
    client.session("a").label("third")  # at a spare path, since its own is held by the fork
    assert ids(client, title="third") == ["a"]
    client.session("a").label("fourth")
    assert ids(client, title="third") == []
    assert ids(client, title="fourth", prefix="a") == ["a"]
    assert ids(client, prefix="b") == ["b"]
    assert ids(client, sort="id") == ["a", "b", "c"]


def test_an_id_deleted_and_made_anew_with_as_many_events_is_not_taken_for_the_old_one(tmp_path: Path):
    with Client(tmp_path) as one, Client(tmp_path) as two:
        one.session("a").label("first")
        assert ids(two, title="first") == ["a"]
        one.session("a").delete()
        one.session("a").label("second")
        assert ids(two, title="first") == []
        assert ids(two, title="second") == ["a"]


def test_a_pointer_that_was_set_anew_is_followed(tmp_path: Path):
    with Client(tmp_path) as one, Client(tmp_path) as two:
        session = one.session("a")
        session.append("note", 1)
        for n in range(3):
            session.fork(f"fork{n}")
            session.delete()
            session.label(f"life {n}")
            assert ids(two, title=f"life {n}") == ["a"]
            assert len(ids(two, prefix="a")) == 1


def test_what_was_deleted_is_not_kept_in_memory(client: Client):
    for n in range(5):
        client.session(f"s{n}").append("note", n)
    assert len(ids(client)) == 5
    for n in range(4):
        client.session(f"s{n}").delete()
    assert ids(client, prefix="s3") == []
    assert ids(client) == ["s4"]
    assert list(summaries._of(client._core).entries) == ["s4"]


def test_another_client_is_seen(tmp_path: Path):
    with Client(tmp_path) as one, Client(tmp_path) as two:
        one.session("a").append("note", 1)
        assert [summary.events for summary in two.sessions()] == [2]
        one.session("a").append("note", 2)
        assert [summary.events for summary in two.sessions()] == [3]


def test_a_run_is_abandoned_when_its_worker_is_gone_though_nothing_was_written(client: Client):
    seen: list[str | None] = []

    @step
    def look() -> None:
        seen.extend(summary.status for summary in client.sessions())

    backend = client._core.backend
    held = backend.execute

    def lost(operation: Any) -> Any:
        return False if isinstance(operation, LeaseHeld) else held(operation)

    @step
    def look_when_dead() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "execute", lost)
            seen.extend(summary.status for summary in client.sessions())
            seen.extend(summary.status for summary in client.sessions(status="abandoned"))

    @agent
    def dying() -> None:
        look()
        look_when_dead()

    client.session("a").run(dying)
    assert seen == ["running", "abandoned", "abandoned"]
    assert [summary.status for summary in client.sessions()] == ["finished"]


def test_tags_are_merged_and_taken_away(client: Client):
    session = client.session("a")
    session.label("One", {"x": 1, "y": 2})
    session.label(tags={"y": None, "z": [1.0]})
    session.label("Two")
    assert session.state().title == "Two"
    assert session.state().tags == {"x": 1, "z": [1.0]}
    assert dict(client.sessions()[0].tags) == {"x": 1, "z": [1.0]}
    branch = session.fork("b")
    branch.label(tags={"x": None})
    assert branch.state().tags == {"z": [1.0]}
    assert session.state().tags == {"x": 1, "z": [1.0]}


def test_a_label_inside_a_run_is_a_step(client: Client):
    attempts: list[int] = []

    @agent
    def labelling() -> str:
        client.session("a").label("From inside")
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("on purpose")
        return "done"

    with pytest.raises(RuntimeError):
        client.session("a").run(labelling)
    assert client.session("a").run(labelling) == "done"
    assert [e.type for e in client.session("a").events() if e.type == "session" and "title" in e.value] == ["session"]


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.label(),
        lambda session: session.label(3),
        lambda session: session.label(tags=["a"]),
        lambda session: session.label(tags={1: "a"}),
        lambda session: session.set_ttl(0),
        lambda session: session.set_ttl(-1),
        lambda session: session.set_ttl("1d"),
        lambda session: session.set_ttl(True),
        lambda session: session.set_ttl(float("nan")),
    ],
)
def test_wrong_labels_are_told_before_anything_is_written(client: Client, call: Any):
    with pytest.raises((TypeError, ValueError)):
        call(client.session("a"))
    assert ids(client) == []


def test_wrong_questions_are_told(client: Client):
    with pytest.raises(ValueError, match="sorted by 'size'"):
        client.sessions(sort="size")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="-1"):
        client.sessions(limit=-1)


def test_a_server_is_not_listed():
    client = Client(HostileBackend())
    client.session("a").label("x", {"tag": 1})
    assert client.session("a").state().title == "x"
    for call in (client.sessions, client.gc):
        with pytest.raises(AgentStreamError, match="cannot list"):
            call()


def test_foreign_streams_and_unreadable_ones_do_not_hide_the_others(client: Client):
    backend = client._core.backend
    backend.execute(Create("foreign", (b"[1]", b"3")))
    backend.execute(Create("bytes", (b"abc",), content_type="application/octet-stream"))
    backend.execute(Create("empty"))
    client.session("a").append("note", 1)
    broken = write_event(
        "session", "i", {"schema": 1, "incarnation": "i", "lineage": {"source": "no", "incarnation": "x", "count": 3}}
    )
    backend.execute(Create("broken", (broken,)))
    found = {summary.id: summary for summary in client.sessions()}
    assert found.keys() == {"a", "broken"}
    assert found["broken"].status == "unreadable"
    assert "is gone" in str(found["broken"].title)
    client.session("a").export(io.BytesIO(), forks=True)
