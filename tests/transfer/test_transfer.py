"""Export and import: the same bytes again, wherever the session is kept."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend
from hypothesis import given
from hypothesis import strategies as st

from agentstream import (
    AgentStreamError,
    AsyncClient,
    Client,
    NotFound,
    Session,
    SessionExists,
    StoreError,
    agent,
    step,
)
from agentstream.backends.driving import drive
from agentstream.protocol.operations import Append, Create
from agentstream.sessions import importing
from agentstream.sessions.events import write_event
from agentstream.sessions.exported import line_of, message_of
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.summaries import listed

MESSAGE = {"role": "user", "parts": [{"type": "text", "text": "ein Gruß\nfrom afar"}]}


@step
def look_up(number: int) -> dict[str, Any]:
    return {"number": number, "text": "ü" * number}


@agent
def helper(question: str) -> str:
    for number in range(3):
        look_up(number)
    return question


@pytest.fixture(params=["disk", "memory", "hostile"])
def new_client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def make() -> Client:
        where = {"memory": "memory:", "disk": tmp_path / f"store{len(clients)}", "hostile": HostileBackend()}
        clients.append(Client(where[request.param]))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def exported(session: Session, **options: Any) -> bytes:
    file = io.BytesIO()
    done = session.export(file, **options)
    assert done.bytes == len(file.getvalue())
    return file.getvalue()


def told(session: Session) -> list[tuple[int, str, str, Any, str | None]]:
    return [(e.index, e.type, e.key, e.value, e.mark) for e in session.events()]


def worked(client: Client, name: str = "support/ü 1") -> Session:
    session = client.session(name)
    session.run(helper, "where?")
    session.append("message", MESSAGE)
    return session


# --- one session -----------------------------------------------------------------------------------------------------


def test_what_is_imported_exports_to_the_same_bytes(new_client: Callable[[], Client]):
    session = worked(new_client())
    first = exported(session)
    other = new_client()
    [imported] = other.import_(io.BytesIO(first))
    assert imported.id == session.id
    assert exported(imported) == first
    assert told(imported) == told(session)
    assert imported.state().messages == [MESSAGE]


def test_the_messages_stand_byte_for_byte_and_the_header_says_what_they_are(tmp_path: Path):
    with Client("memory:") as client:
        session = worked(client)
        done = session.export(tmp_path / "a.jsonl")
        header, *lines = (tmp_path / "a.jsonl").read_bytes().splitlines()
        assert lines == [event.raw for event in session.events()]
        head = json.loads(header)
        assert head["agentstream"] == "export/1"
        assert (head["session"], head["events"], head["sealed"]) == (session.id, len(lines), False)
        assert head["incarnation"] == session.state().incarnation
        assert (done.sessions, done.events) == ((session.id,), len(lines))
        assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_an_imported_session_goes_on_and_is_resumed(new_client: Callable[[], Client]):
    source, calls = new_client(), []

    @step
    def note(number: int) -> int:
        calls.append(number)
        return number

    @agent
    def fragile(break_at: int) -> int:
        note(1)
        if len(calls) == break_at:
            raise RuntimeError("on purpose")
        return note(2)

    with pytest.raises(RuntimeError):
        source.session("a").run(fragile, 1)
    other = new_client()
    [imported] = other.import_(io.BytesIO(exported(source.session("a"))))
    calls.append(0)
    assert imported.run(fragile, 1) == 2
    assert calls == [1, 0, 2]
    assert imported.status() == "finished"


def test_a_run_that_was_going_on_is_abandoned_where_it_is_imported(new_client: Callable[[], Client]):
    source, other = new_client(), new_client()

    held: list[bytes] = []

    @step
    def look_from_outside() -> None:
        held.append(exported(Client(source._core.backend).session("a")))

    @agent
    def looking() -> None:
        look_from_outside()

    source.session("a").run(looking)
    [imported] = other.import_(io.BytesIO(held[0]))
    assert imported.status() == "abandoned"


def test_odd_messages_come_back_as_they_were(tmp_path: Path):
    odd = (
        b'{"type":"custom",\n"key":"k",\r\n"value":{},"headers":{"operation":"insert"}}',
        b'{"$raw":"eyJ0eXBlIjoxfQ=="}',
        b'{ "$raw":"x" }',
        b"[1,2]",
        b'"text"',
        '{"agentstream":"export/1","session":"ü"}'.encode(),
        b"3.0",
    )
    with Client("memory:") as client, Client(tmp_path) as other:
        session = client.session("odd")
        session.append("note", 1)
        client._core.backend.execute(Append("odd", odd))
        first = exported(session)
        assert first.count(b"\n") == 3 + len(odd)
        [imported] = other.import_(io.BytesIO(first))
        assert [event.raw for event in imported.events()][2:] == list(odd)
        assert exported(imported) == first


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_every_message_has_a_line_of_its_own(message: bytes):
    line = line_of(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert message_of(line[:-1]) == message


@pytest.mark.parametrize("batch", [3, 1000])
def test_a_sealed_session_is_sealed_again(
    new_client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch, batch: int
):
    monkeypatch.setattr(importing, "BATCH", batch)
    session = worked(new_client())
    session.seal()
    other = new_client()
    [imported] = other.import_(io.BytesIO(exported(session)))
    with pytest.raises(AgentStreamError, match="sealed"):
        imported.append("note", 1)
    assert exported(imported) == exported(session)


def test_many_batches_are_one_session(new_client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importing, "BATCH", 2)
    session = worked(new_client())
    first, other = exported(session), new_client()
    [imported] = other.import_(io.BytesIO(first))
    assert exported(imported) == first
    imported.append("note", 1)
    assert imported.state().index == session.state().index + 1
    imported.delete()
    with pytest.raises(NotFound):
        imported.status()
    assert exported(*other.import_(io.BytesIO(first))) == first


def test_another_id_and_a_prefix(new_client: Callable[[], Client]):
    session = worked(new_client(), "a")
    first, other = exported(session), new_client()
    assert [s.id for s in other.import_(io.BytesIO(first), id="b")] == ["b"]
    assert [s.id for s in other.import_(io.BytesIO(first), prefix="old/")] == ["old/a"]
    assert told(other.session("b")) == told(other.session("old/a")) == told(session)
    with pytest.raises(NotFound):
        other.session("a").status()


def test_an_id_that_is_taken_is_refused(new_client: Callable[[], Client]):
    session = worked(new_client(), "a")
    other = new_client()
    other.session("a").append("note", "mine")
    before = exported(other.session("a"))
    with pytest.raises(SessionExists, match="'a'"):
        other.import_(io.BytesIO(exported(session)))
    assert exported(other.session("a")) == before


def test_an_id_whose_path_forks_still_hold_can_be_imported_to(new_client: Callable[[], Client]):
    client = new_client()
    session = worked(client, "a")
    first = exported(session)
    session.fork("b", at=1)  # after one append: every server here makes it itself, and holds the path for it
    session.delete()
    for batch in (2, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importing, "BATCH", batch)
            [imported] = client.import_(io.BytesIO(first))
        assert exported(imported) == first
        imported.delete()


def test_a_stitched_fork_is_exported_whole():
    client, other = Client(HostileBackend(forks="ignored")), Client("memory:")
    session = worked(client, "a")
    branch = session.fork("b", at=4)
    branch.append("note", 1)
    [imported] = other.import_(io.BytesIO(exported(branch)))
    assert told(imported) == told(branch)
    assert imported.state().lineage == branch.state().lineage


def test_offsets_that_a_server_adds_stay_there():
    backend = HostileBackend(stamps_offsets=True)
    assert b'"offset"' not in exported(worked(Client(backend)))


def test_async_is_the_same(tmp_path: Path):
    async def both() -> None:
        async with AsyncClient(tmp_path / "a") as client, AsyncClient(tmp_path / "b") as other:
            await client.session("x").run(helper, "q")
            await client.session("x").label("A title", {"team": "a"})
            await client.session("x").set_ttl(60)
            await client.session("x").export(tmp_path / "x.jsonl")
            [imported] = await other.import_(tmp_path / "x.jsonl")
            file = io.BytesIO()
            await imported.export(file)
            assert file.getvalue() == (tmp_path / "x.jsonl").read_bytes()
            assert [summary.id for summary in await other.sessions(tag="team=a")] == ["x"]
            assert (await other.gc(older_than=3600)).removed == ()

    asyncio.run(both())


def test_a_hundred_thousand_events_would_do_with_a_few_megabytes(tmp_path: Path):
    count = 30_000
    birth = fresh_id()
    body = [write_event("session", birth, {"schema": 1, "incarnation": birth})]
    body += [write_event("custom", fresh_id(), {"data": "x" * 400}) for _ in range(count)]
    with Client(tmp_path / "store") as client:
        client._core.backend.execute(Create("big", tuple(body)))
        del body
        tracemalloc.start()
        try:
            assert client.session("big").export(tmp_path / "big.jsonl").events == count + 1
            client.import_(tmp_path / "big.jsonl", id="again")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        size = (tmp_path / "big.jsonl").stat().st_size
        assert size > 15_000_000
        assert peak < 8_000_000
        client.session("again").export(tmp_path / "again.jsonl")
    with open(tmp_path / "big.jsonl", "rb") as one, open(tmp_path / "again.jsonl", "rb") as two:
        assert one.readline() != two.readline()
        assert one.read() == two.read()


def test_wrong_arguments_are_told(tmp_path: Path):
    with Client("memory:") as client:
        session = worked(client, "a")
        with pytest.raises(ValueError, match="jsonl"):
            session.export(tmp_path / "x", format="csv")
        with pytest.raises(TypeError, match="'wb'"):
            session.export(io.StringIO())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="'rb'"):
            client.import_(io.StringIO())  # type: ignore[arg-type]
        with pytest.raises(NotFound):
            client.session("nobody").export(tmp_path / "x")
        with pytest.raises(FileNotFoundError):
            client.import_(tmp_path / "x")
        with pytest.raises(ValueError, match="~"):
            client.import_(io.BytesIO(exported(session)), id="~s/x")
        assert list(tmp_path.iterdir()) == []


def test_a_path_is_replaced_when_the_export_is_whole_and_a_device_is_written_to(tmp_path: Path):
    file, link = tmp_path / "x", tmp_path / "link"
    file.write_text("before")
    link.symlink_to(file)
    with Client("memory:") as client:
        with pytest.raises(NotFound):
            client.session("nobody").export(file)
        assert file.read_text() == "before"
        session = worked(client, "a")
        session.export(link)
        assert link.is_symlink()
        assert file.read_bytes() == exported(session)
        session.export(os.devnull)
        assert not Path(os.devnull).is_file()


# --- families of forks -----------------------------------------------------------------------------------------------


def family(client: Client) -> Session:
    root = worked(client, "a")
    b = root.fork("b", at=6)
    b.append("note", "b")
    c = b.fork("c")
    c.append("note", "c")
    b.append("note", "b again")
    b.fork("d", at=2).append("note", "d, which shares with a")
    root.fork("e", at=4, copy=True)
    root.append("note", "a again")
    return root


NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("target", ["memory", "hostile"])
@pytest.mark.parametrize("batch", [1, 1000])
def test_forks_are_in_one_file_and_what_they_share_once(monkeypatch: pytest.MonkeyPatch, target: str, batch: int):
    monkeypatch.setattr(importing, "BATCH", batch)
    with Client("memory:") as client, Client("memory:" if target == "memory" else HostileBackend()) as other:
        root = family(client)
        text = exported(root, forks=True)
        messages = [line for line in text.splitlines() if b'"export/1"' not in line]
        own = {event.raw for name in NAMES for event in client.session(name).events()}
        assert sorted(messages) == sorted(own)
        made = other.import_(io.BytesIO(text), prefix="x/")
        assert sorted(session.id for session in made) == [f"x/{name}" for name in NAMES]
        for name in NAMES:
            assert told(other.session(f"x/{name}")) == told(client.session(name))
            if target == "memory":
                assert [e.raw for e in other.session(f"x/{name}").events()] == [
                    e.raw for e in client.session(name).events()
                ]
        if target == "memory":
            again = exported(other.session("x/a"), forks=True)
            assert [line for line in again.splitlines() if b'"export/1"' not in line] == messages


def test_a_fork_brings_its_own_forks_only():
    with Client("memory:") as client, Client("memory:") as other:
        family(client)
        made = other.import_(io.BytesIO(exported(client.session("b"), forks=True)))
        assert sorted(session.id for session in made) == ["b", "c", "d"]
        for session in made:
            assert told(session) == told(client.session(session.id))


def test_copies_that_went_on_apart_are_not_taken_for_each_other():
    with Client("memory:") as client, Client("memory:") as other:
        one = client.session("one")
        one.append("note", 1)
        [two] = client.import_(io.BytesIO(exported(one)), id="two")
        one.append("note", "one's")
        two.append("note", "two's")
        two.fork("branch")
        text = exported(one, forks=True)
        made = other.import_(io.BytesIO(text))
        assert [session.id for session in made] == ["one", "branch"]
        for session in made:
            assert told(session) == told(client.session(session.id))


def test_a_fork_and_its_copy_are_told_apart():
    with Client("memory:") as client, Client("memory:") as other:
        root = client.session("a")
        root.append("note", 1)
        root.fork("b").append("note", 2)
        client.import_(io.BytesIO(exported(root, forks=True)), prefix="x/")
        text = exported(root, forks=True)
        made = other.import_(io.BytesIO(text))
        assert sorted(session.id for session in made) == ["a", "b", "x/b"]
        headers = [json.loads(line) for line in text.splitlines() if b'"export/1"' in line]
        assert [header["incarnation"] for header in headers] == [session.state().incarnation for session in made]
        for session in made:
            assert told(session) == told(client.session(session.id))


def test_what_is_shared_is_written_once_whatever_the_names():
    with Client("memory:") as client:
        root = client.session("z")
        root.append("note", 1)
        child = root.fork("m")
        child.append("note", 2)
        child.fork("a").append("note", 3)
        messages = [line for line in exported(root, forks=True).splitlines() if b'"export/1"' not in line]
        assert len(messages) == len(set(messages))


def test_a_session_made_anew_while_it_is_exported_is_told():
    with Client("memory:") as client:
        session = client.session("a")
        session.append("note", 1)

        class Slow(io.BytesIO):
            def write(self, data: Any) -> int:
                if not self.getvalue():
                    session.delete()
                    session.append("note", 1)
                return super().write(data)

        with pytest.raises(StoreError, match="export it again"):
            session.export(Slow())


def test_a_session_imported_again_is_not_taken_for_what_it_became(tmp_path: Path):
    with Client(tmp_path) as client, Client(tmp_path) as other:
        session = client.session("a")
        session.append("note", 1)
        first = exported(session)
        session.append("note", 2)
        assert session.state().index == 3
        other.session("a").delete()
        client.import_(io.BytesIO(first))
        assert exported(session) == first
        assert [event.value for event in session.events() if event.type == "note"] == [1]


def test_an_import_leaves_nothing_beside_the_session(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importing, "BATCH", 2)
    with Client("memory:") as client, Client("memory:") as other:
        other.import_(io.BytesIO(exported(worked(client, "a"))))
        assert [entry.path for entry in drive(listed(""), other._core.backend)] == ["a"]


def test_an_import_of_forks_shares_what_they_share(tmp_path: Path):
    with Client("memory:") as client, Client(tmp_path) as other:
        root = client.session("a")
        root.append("note", "x" * 2_000_000)
        for n in range(10):
            root.fork(f"b{n}")
        other.import_(io.BytesIO(exported(root, forks=True)))
        assert len(list(other.session("b9").events())) == 3
    assert sum(file.stat().st_size for file in tmp_path.iterdir() if file.is_file()) < 9_000_000


def test_forks_are_not_known_where_nothing_can_be_listed():
    client = Client(HostileBackend())
    worked(client, "a")
    with pytest.raises(AgentStreamError, match="cannot list"):
        exported(client.session("a"), forks=True)
