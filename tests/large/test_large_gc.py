"""Content goes when no session refers to it any more, and never while somebody may."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from large_kit import OVER, blob_streams, digest_of, torn

from agentstream import Client, StoreError
from agentstream.backends.base import DropLease, LeaseHeld, TakeLease
from agentstream.backends.driving import Sleep, drive
from agentstream.protocol.operations import Append, Create, Delete
from agentstream.sessions import collecting, moments
from agentstream.sessions.blobs import BLOBS, BYTES, COLLECTING, TOUCHES, Blobs
from agentstream.sessions.references import Ref
from agentstream.sessions.summaries import listed
from agentstream.sessions.writing import append

DAY = 24 * 3600.0
TEXT = "text " * OVER


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Client(tmp_path) as client:
        yield client


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is two days later than the store believes."""
    before = moments.now
    monkeypatch.setattr(moments, "now", lambda: before() + timedelta(days=2))


def collected(client: Client, *, dry_run: bool = False) -> list[str]:
    return [path for path in client.gc(dry_run=dry_run).streams if path.startswith(BLOBS)]


def test_what_nobody_refers_to_goes_and_what_somebody_does_stays(client: Client, tmp_path: Path, later: None):
    one, two = client.session("one"), client.session("two")
    one.append("note", TEXT)
    two.append("note", TEXT)
    one.append("note", {"deep": [one.attach(b"a file", name="a")]})
    fork = one.fork("fork")
    assert collected(client) == []
    one.delete()
    assert collected(client) == [], "the fork has the first events of the session that was deleted"
    fork.delete()
    assert len(collected(client, dry_run=True)) == 1
    assert len(blob_streams(tmp_path)) == 2, "a dry run removes nothing"
    assert len(collected(client)) == 1
    assert [event.value for event in two.events() if event.type == "note"] == [TEXT]
    two.delete()
    assert len(collected(client)) == 1
    assert blob_streams(tmp_path) == []
    assert collected(client) == []


def test_with_the_session_that_goes_by_age(client: Client, tmp_path: Path, later: None):
    client.session("one").append("note", TEXT)
    dry = client.gc(older_than=DAY)
    assert [gone.id for gone in dry.removed] == ["one"]
    assert len([path for path in dry.streams if path.startswith(BLOBS)]) == 1
    client.gc(older_than=DAY, dry_run=False)
    assert blob_streams(tmp_path) == []


def test_what_is_young_or_was_used_of_late_stays(client: Client, tmp_path: Path):
    client.session("one").append("note", TEXT)
    client.session("one").delete()
    assert collected(client) == [], "written just now: its event may still come"
    now = moments.now().timestamp()
    backend = client._core.backend
    assert len(drive(collecting.unused(now + 2 * DAY, DAY, ()), backend)) == 1
    (before,) = drive(listed(BLOBS), backend)
    with Client(tmp_path) as other:  # finds it there, and says so before it refers to it
        text = TEXT.encode()
        ref = Ref(before.path[len(BLOBS) :], len(text), "", BYTES)
        drive(Blobs(other._core.backend).save(ref, lambda place, size: text[place : place + size]), backend)
    (used,) = drive(listed(TOUCHES), backend)
    assert used.updated > before.updated
    just_then = used.updated + DAY - 0.0005
    assert drive(collecting.unused(just_then, DAY, ()), backend) == [], "its use counts, not its age"
    assert len(drive(collecting.unused(just_then + 1, DAY, ()), backend)) == 1


def test_a_torn_upload_goes_too(client: Client, tmp_path: Path, later: None):
    torn(client._core.backend, "0" * 64, b"half", 2)
    assert collected(client) == [BLOBS + "0" * 64]
    assert blob_streams(tmp_path) == []


def test_a_session_that_cannot_be_read_might_refer_to_anything(
    client: Client, tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch
):
    client.session("one").append("note", TEXT)
    client.session("one").delete()

    def unreadable(path: str, referred: set[str]) -> Any:
        raise StoreError("damaged")
        yield

    client.session("two").append("note", 1)
    monkeypatch.setattr(collecting, "_read_one", unreadable)
    assert collected(client) == []
    assert len(blob_streams(tmp_path)) == 1


@pytest.mark.parametrize("pauses", [False, True])
def test_a_writer_that_comes_in_between_keeps_what_it_needs(client: Client, tmp_path: Path, pauses: bool):
    """At each operation of a collection somebody finds the content there and writes an event that refers to it: at
    once, or when the collection is over."""
    for place in range(60):
        name = f"s{place}"
        client.session(name).append("note", TEXT)
        client.session(name).delete()
        steps = collecting.removed(client._core.blobs, _just_old(client), DAY)
        over = _collected_with_a_writer_at(steps, place, tmp_path, client, name, pauses)
        with Client(tmp_path) as reader:  # one that has nothing in memory
            assert [e.value for e in reader.session(name).events() if e.type == "note"] == [TEXT], place
        client.session(name).delete()
        _expire(client)
        if over:
            return
    raise AssertionError("the collection never ended")


def _just_old(client: Client) -> float:
    """The moment at which the content is old enough, and nothing is that is done from now on."""
    (blob,) = drive(listed(BLOBS), client._core.backend)
    while time.time() < blob.updated + 0.003:
        pass
    return blob.updated + DAY + 0.0015


def _collected_with_a_writer_at(steps: Any, place: int, folder: Path, client: Client, name: str, pauses: bool) -> bool:
    """Whether the collection was over before; then the writer came after it."""
    backend, number = client._core.backend, 0
    writer: Writer | None = None
    result: Any = None
    try:
        while True:
            request = steps.send(result) if not isinstance(result, Exception) else steps.throw(result)
            if number == place:
                writer = Writer(folder, name, pauses)
            number += 1
            result = executed(backend, request)
            if writer is not None:
                writer.go_on()
    except StopIteration:
        pass
    over = writer is None
    writer = writer or Writer(folder, name, False)
    writer.pauses = False
    writer.go_on()
    assert writer.done
    return over


class Writer:
    """A writer of another process, that goes on as far as it can without waiting."""

    def __init__(self, folder: Path, name: str, pauses: bool) -> None:
        self.pauses = pauses
        self.client = Client(folder)
        self.steps = append(self.client._core, name, "note", TEXT)
        self.result: Any = None
        self.done = False
        self.go_on()

    def go_on(self) -> None:
        backend = self.client._core.backend
        while (
            not self.done
            and not (isinstance(self.result, Append) and self.pauses)
            and not (isinstance(self.result, Sleep) and backend.execute(LeaseHeld(*COLLECTING)))
        ):
            result, self.result = self.result, None
            if isinstance(result, Append):  # the event, held back
                result = executed(backend, result)
            try:
                if isinstance(result, Exception):
                    request = self.steps.throw(result)
                else:
                    request = self.steps.send(None if isinstance(result, Sleep) else result)
            except StopIteration:
                self.done = True
                self.client.close()
            else:
                if self.pauses and isinstance(request, Append) and not request.path.startswith("~"):
                    self.result = request
                    return
                self.result = request if isinstance(request, Sleep) else executed(backend, request)


def executed(backend: Any, request: Any) -> Any:
    """The result of a request, or the exception it ended with."""
    try:
        function = getattr(request, "function", None)
        return function() if function is not None else backend.execute(request)
    except Exception as error:
        return error


def _expire(client: Client) -> None:
    """The next turn begins with nothing."""
    backend = client._core.backend
    for prefix in (BLOBS, TOUCHES):
        for each in drive(listed(prefix), backend):
            backend.execute(Delete(each.path))
    client._core.blobs._sure.clear()


def test_an_event_that_comes_while_it_reads_is_seen_although_its_content_is_old(client: Client, later: None):
    """Its writer was stopped for days between the two."""
    backend = client._core.backend
    event = client.session("one").append("note", TEXT)
    client.session("two").append("other", 1)
    client.session("one").delete()
    steps = collecting.removed(client._core.blobs, moments.now().timestamp(), DAY)
    request, ended = next(steps), None
    while ended is None:
        if isinstance(request, TakeLease):
            backend.execute(Append("two", (event.raw,)))
        result = executed(backend, request)
        try:
            request = steps.throw(result) if isinstance(result, Exception) else steps.send(result)
        except StopIteration as stop:
            ended = stop.value
    assert ended == []
    assert client.session("two").state().of_type("note")[0].value == TEXT


def test_who_finds_it_waits_for_a_collection_and_looks_again(client: Client, later: None):
    """The order of things: said to be used, then waited for, then looked whether it is still there."""
    backend = client._core.backend
    content = b"x" * OVER
    ref = Ref(digest_of(content), len(content), "", BYTES)
    backend.execute(Create(BLOBS + ref.sha256, (content,), BYTES, closed=True))
    backend.execute(TakeLease(*COLLECTING))
    steps = Blobs(backend).save(ref, lambda place, size: content[place : place + size])
    done: list[Any] = []
    request = next(steps)
    while not isinstance(request, Sleep):
        done.append(request)
        function = getattr(request, "function", None)
        try:
            result = function() if function is not None else backend.execute(request)
        except Exception as error:
            request = steps.throw(error)
        else:
            request = steps.send(result)
    assert [type(each) for each in done[-2:]] == [Append, LeaseHeld]
    backend.execute(Delete(BLOBS + ref.sha256))  # the collection removes it
    backend.execute(DropLease(*COLLECTING))
    drive(_rest(steps), backend)
    assert drive(Blobs(backend).content(ref), backend) == content, "and it was written anew"


def _rest(steps: Any) -> Any:
    request = steps.send(None)
    while True:
        try:
            result = yield request
        except Exception as error:
            request = steps.throw(error)
        else:
            try:
                request = steps.send(result)
            except StopIteration as stop:
                return stop.value


def test_an_import_is_left_alone(client: Client, tmp_path: Path, later: None):
    client.session("one").append("note", TEXT)
    file = io.BytesIO()
    client.session("one").export(file)
    client.session("one").delete()
    assert len(collected(client)) == 1
    file.seek(0)
    client.import_(file)
    assert collected(client) == []
    assert [event.value for event in client.session("one").events() if event.type == "note"] == [TEXT]
