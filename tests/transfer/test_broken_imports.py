"""What is torn, edited or interrupted leaves nothing behind that could be taken for a session."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend

from agentstream import Client, InvalidExport, NotFound, SessionExists, StoreError
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create
from agentstream.sessions import importing, moments
from agentstream.sessions.events import write_event
from agentstream.sessions.summaries import listed


def made(count: int = 4) -> bytes:
    with Client("memory:") as client:
        session = client.session("a")
        for n in range(count):
            session.append("note", n)
        session.fork("b", at=2)
        file = io.BytesIO()
        session.export(file, forks=True)
        return file.getvalue()


def nothing_in(client: Client) -> bool:
    for name in ("a", "b"):
        with pytest.raises(NotFound):
            client.session(name).status()
    return not client._core.backend.traits.lists or client.sessions() == []


def test_a_file_that_ends_anywhere_is_refused():
    text = made()
    with Client("memory:") as client:
        whole_sessions = text.index(b'{"agentstream"', 1)
        for end in range(len(text) - 1):
            if end in (whole_sessions, whole_sessions - 1):
                continue  # the first session alone, which is whole
            with pytest.raises(InvalidExport, match="Nothing was imported"):
                client.import_(io.BytesIO(text[:end]))
        assert nothing_in(client)
        client.import_(io.BytesIO(text[:-1]))


def test_an_edited_event_is_known():
    header, *lines = made().splitlines(keepends=True)
    text = header + b"".join(lines)
    with Client("memory:") as client:
        for place in range(len(header), len(header) + len(lines[0])):
            changed = bytes([text[place] ^ 1])
            with pytest.raises(InvalidExport):
                client.import_(io.BytesIO(text[:place] + changed + text[place + 1 :]))
        assert nothing_in(client)


def changed(**fields: Any) -> bytes:
    header, rest = made().split(b"\n", 1)
    return json.dumps({**json.loads(header), **fields}).encode() + b"\n" + rest


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "empty"),
        (b"\n", "line 1.*no header"),
        (b"not json\n", "line 1.*no header"),
        (b'{"a":1}\n', "line 1.*no header"),
        (changed(agentstream="export/2"), "export/2.*reads 'export/1'"),
        (changed(session="~s/x"), "line 1.*leading ~"),
        (changed(session="../x"), "segment"),
        (changed(events=-1), "line 1"),
        (changed(events=3), "line 4.*sha256"),
        (changed(events=10**15), "line 7.*no message|torn|sha256"),
        (changed(incarnation="other"), "incarnation"),
        (changed(shares={"session": "z", "events": 1}), "shares"),
        (made() + made(), "twice"),
        (made() + b"\n", "no header"),
        (made().replace(b"\n", b"\r\n"), "sha256"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: bytes, why: str):
    with Client("memory:") as client:
        with pytest.raises(InvalidExport, match=why):
            client.import_(io.BytesIO(text))
        assert nothing_in(client)


def test_a_lineage_without_what_it_shares_is_refused():
    """It would be stitched to whatever session of that name there is."""
    with Client(HostileBackend(forks="ignored")) as client:
        client.session("a").append("note", 1)
        branch = client.session("a").fork("b", at=2)
        file = io.BytesIO()
        branch.export(file)
    line = next(line for line in file.getvalue().splitlines() if b'"lineage"' in line)
    header = {**json.loads(file.getvalue().splitlines()[0]), "events": 1, "sha256": sha256(line + b"\n").hexdigest()}
    with Client("memory:") as client, pytest.raises(InvalidExport, match="lineage"):
        client.import_(io.BytesIO(json.dumps(header).encode() + b"\n" + line + b"\n"))


class Killed(Exception):
    """The process is gone."""


class Dying:
    """A backend that is there for `operations` operations, and then for none."""

    def __init__(self, inner: Any, operations: int) -> None:
        self.inner, self.left = inner, operations
        self.name, self.traits = inner.name, inner.traits

    def execute(self, operation: Any) -> Any:
        if self.left <= 0:
            raise Killed
        self.left -= 1
        return self.inner.execute(operation)

    async def aexecute(self, operation: Any) -> Any:
        return self.execute(operation)

    def submit(self, operation: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None: ...


@pytest.mark.parametrize("make", [lambda: EmbeddedBackend(None), HostileBackend], ids=["embedded", "hostile"])
@pytest.mark.parametrize("batch", [2, 1000])
def test_wherever_an_import_is_killed_each_session_is_whole_or_not_there(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], batch: int
):
    monkeypatch.setattr(importing, "BATCH", batch)
    text = made(7)
    with Client("memory:") as client:
        client.import_(io.BytesIO(text))
        whole = {name: [e.key for e in client.session(name).events()] for name in ("a", "b")}
    killed, finished = 0, False
    while not finished:
        backend = make()
        try:
            Client(Dying(backend, killed)).import_(io.BytesIO(text))
            finished = True
        except Killed:
            killed += 1
        fresh = Client(backend)
        for name, keys in whole.items():
            try:
                assert [e.key for e in fresh.session(name).events()] == keys
            except NotFound:
                assert not finished
        backend.close()
    assert killed > 3


class Refusing(Dying):
    """A store that fails one operation of those that change something, and no other."""

    def execute(self, operation: Any) -> Any:
        if isinstance(operation, (Create, Append)):
            self.left -= 1
            if self.left == 0:
                raise StoreError("the disk is full")
        return self.inner.execute(operation)


@pytest.mark.parametrize("make", [lambda: EmbeddedBackend(None), HostileBackend], ids=["embedded", "hostile"])
@pytest.mark.parametrize("batch", [2, 1000])
def test_an_import_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any], batch: int):
    monkeypatch.setattr(importing, "BATCH", batch)
    text = made(7)
    failed = 1
    while True:
        backend = make()
        try:
            Client(Refusing(backend, failed)).import_(io.BytesIO(text))
            break
        except StoreError:
            failed += 1
        client = Client(backend)
        assert nothing_in(client)
        if backend.traits.lists:
            assert drive(listed(""), backend) == []
        else:
            assert [path for path in backend._logs if not path.startswith("~at/")] == []
        client.import_(io.BytesIO(text))
    assert failed > 2


def test_shares_that_an_earlier_section_does_not_have_are_refused():
    first = made().split(b'{"agentstream"')[1]
    lineage = {"source": "a", "incarnation": "x", "count": 9}
    line = write_event("session", "new", {"schema": 1, "incarnation": "new", "lineage": lineage})
    header = {
        "agentstream": "export/1",
        "session": "b",
        "incarnation": "new",
        "events": 10,
        "sealed": False,
        "sha256": sha256(line + b"\n").hexdigest(),
        "shares": {"session": "a", "events": 9},
    }
    text = b'{"agentstream"' + first + json.dumps(header).encode() + b"\n" + line + b"\n"
    with Client("memory:") as client:
        with pytest.raises(InvalidExport, match="shares"):
            client.import_(io.BytesIO(text))
        assert nothing_in(client)


@pytest.mark.parametrize("batch", [2, 1000])
def test_whichever_reply_is_lost_the_session_is_imported_once(monkeypatch: pytest.MonkeyPatch, batch: int):
    monkeypatch.setattr(importing, "BATCH", batch)
    text = made(7)
    lost = 0
    while True:
        backend = HostileBackend(drop_replies={lost})
        client = Client(backend)
        client.import_(io.BytesIO(text))
        imported = [event.value for event in client.session("a").events() if event.type == "note"]
        assert imported == list(range(7))
        if backend.operations <= lost + 10:
            break
        lost += 1
    assert lost > 3


@pytest.mark.parametrize("kept", ["embedded", "hostile"])
def test_of_two_that_import_the_same_at_once_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str):
    monkeypatch.setattr(importing, "BATCH", 2)
    text = made(9)
    for n in range(10):
        server = HostileBackend()
        clients = [Client(tmp_path if kept == "embedded" else server) for _ in range(3)]
        start = threading.Barrier(len(clients))
        ends: list[str] = []

        def go(client: Client, n: int, start: threading.Barrier, ends: list[str]) -> None:
            start.wait()
            try:
                client.import_(io.BytesIO(text), prefix=f"{n}/")
                ends.append("made")
            except SessionExists:
                ends.append("exists")

        threads = [threading.Thread(target=go, args=(client, n, start, ends)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ends) == 3
        assert ends.count("made") == 1
        notes = [e.value for e in clients[0].session(f"{n}/a").events() if e.type == "note"]
        assert notes == list(range(9))
        for client in clients:
            client.close()


def test_what_a_killed_import_left_is_removed_by_gc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importing, "BATCH", 2)
    backend = EmbeddedBackend(None)
    with pytest.raises(Killed):
        Client(Dying(backend, 8)).import_(io.BytesIO(made(9)))
    with Client(backend) as client:

        def left() -> list[str]:
            return [entry.path for entry in drive(listed("~"), backend)]

        [path] = left()
        assert client.gc(dry_run=False).streams == ()  # it may be going on
        later = moments.now() + timedelta(days=2)
        monkeypatch.setattr(moments, "now", lambda: later)
        assert client.gc().streams == (path,)
        assert left() == [path]
        assert client.gc(dry_run=False).streams == (path,)
        assert left() == []
