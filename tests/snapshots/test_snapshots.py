"""Snapshots: written in the background, used where they fit, and without any effect but time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hostile import HostileBackend
from msgspec.structs import replace
from snapshots_kit import opened, same, snapshot
from stores import STORES

from agentstream import Client, NotFound, agent, step
from agentstream.backends.base import Backend
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import Append, Create, Delete, Read
from agentstream.sessions import core, history, saving, snapshots
from agentstream.sessions.snapshots import BYTES, Record, chained, snapshot_path, write_record
from agentstream.sessions.state import fold

acts: list[Any] = []
broken: list[int] = []


@step(effect="once")
def pay(n: int) -> int:
    acts.append(n)
    return n


@agent
def work(n: int) -> int:
    for place in range(n):
        pay(place)
        if place in broken:
            raise ValueError("stop here")
    return n


@pytest.fixture(params=["memory", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    acts.clear()
    broken.clear()
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


def begun(backend: Backend, session: str = "s") -> Any:
    """A session with an ended run, messages, and a run that failed after four of six steps."""
    found = Client(backend).session(session)
    found.label("Title", {"n": 1})
    found.run(work, 3)
    found.append("message", {"role": "user", "parts": []}, key="mine")
    broken.append(3)
    with pytest.raises(ValueError, match="stop"):
        found.run(work, 6)
    broken.clear()
    return found


def stored(backend: Backend, path: str = "s") -> bytes:
    return b"".join(backend.execute(Read(snapshot_path(path))).messages)


def store(backend: Backend, data: bytes, path: str = "s") -> None:
    backend.execute(Delete(snapshot_path(path)))
    backend.execute(Create(snapshot_path(path), (data,), content_type=BYTES))


# --- they are used ----------------------------------------------------------------------------------------------------


def test_an_open_run_goes_on_from_a_snapshot(backend: Backend) -> None:
    begun(backend)
    snapshot(backend, "s")
    assert same(backend, "s")
    acts.clear()
    session = Client(backend).session("s")
    assert session.status() == "failed"
    assert session.run(work, 6) == 6
    assert acts == [4, 5]
    assert session.replay(work).identical
    assert same(backend, "s")


def test_what_came_after_it_is_judged_as_without_it(backend: Backend) -> None:
    session = begun(backend)
    snapshot(backend, "s")
    session.append("message", {"role": "user", "parts": []}, key="mine")
    assert same(backend, "s")
    assert list(Client(backend).session("s").events())[-1].mark == "duplicate"
    session.rewind(at=6)
    assert not same(backend, "s")  # the rewind goes back to before it
    snapshot(backend, "s")
    assert same(backend, "s")


def test_they_go_on_from_one_another(backend: Backend) -> None:
    session = begun(backend)
    for n in range(40):
        session.append("message", {"n": n})
        snapshot(backend, "s")
    log = opened(backend, "s")
    assert log.head is not None
    assert log.saved is not None
    assert log.size - log.head.size == 0
    assert log.saved.bytes == len(stored(backend)) < saving.SPARE * (16 * log.size + 4000)
    assert same(backend, "s")


def test_opening_reads_the_tail_and_nothing_else() -> None:
    backend = Counting(None)
    begun(backend)
    snapshot(backend, "s")
    backend.read = 0
    log = opened(backend, "s")
    state = fold(log)
    assert (state.status, state.title, len(state.open_runs)) == ("failed", "Title", 1)
    assert backend.read <= 3, "the first event, and what proves the snapshot"
    assert len(state.messages) == 1
    assert backend.read >= log.size
    backend.close()


class Counting(EmbeddedBackend):
    """Counts the events of session `s` that were read."""

    read = 0

    def execute(self, operation: Any) -> Any:
        done = super().execute(operation)
        if isinstance(operation, Read) and operation.path == "s":
            self.read += len(done.messages)
        return done


def test_a_fork_opens_from_the_snapshots_of_its_source() -> None:
    backend = EmbeddedBackend(None)
    session = begun(backend)
    early = snapshot(backend, "s").size
    for n in range(5):
        session.append("message", {"n": n})
    snapshot(backend, "s")
    for cut in (early - 2, early, early + 3):
        fork = session.fork(f"f{cut}", at=cut)
        fork.append("message", {"text": "in the fork"})
        assert same(backend, fork.id) == (cut >= early)
    log = opened(backend, f"f{early + 3}")
    assert log.head is not None
    assert log.head.size == early
    snapshot(backend, f"f{early + 3}")
    assert same(backend, f"f{early + 3}")
    second = session.fork("second", at=early + 1).fork("third", at=early + 2)
    assert same(backend, second.id)
    backend.close()


# --- in the background ------------------------------------------------------------------------------------------------


def test_whoever_opens_a_long_session_has_one_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (core, saving):
        monkeypatch.setattr(module, "EVERY", 10)
    with Client(tmp_path) as client:
        begun(client._core.backend)
    with Client(tmp_path) as client:
        client.session("s").status()
    with EmbeddedBackendOf(tmp_path) as backend:
        first = opened(backend, "s")
        assert first.head is not None
    with Client(tmp_path) as client:
        client.session("s").run(work, 6)
    with EmbeddedBackendOf(tmp_path) as backend:
        assert same(backend, "s")


class EmbeddedBackendOf(EmbeddedBackend):
    def __enter__(self) -> EmbeddedBackendOf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_store_that_takes_none_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (core, saving):
        monkeypatch.setattr(module, "EVERY", 5)
    backend = Refusing(None)
    client = Client(backend)
    begun(backend)
    assert client.session("s").status() == "failed"
    client._core.finish()
    assert client.session("s").run(work, 6) == 6
    client.close()


class Refusing(EmbeddedBackend):
    """Takes no snapshots."""

    def execute(self, operation: Any) -> Any:
        if isinstance(operation, (Create, Append)) and operation.path.startswith(snapshots.SNAPSHOTS):
            raise ProtocolError("no")
        return super().execute(operation)


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_any_damaged_byte_is_as_good_as_none(backend: Backend) -> None:
    begun(backend)
    snapshot(backend, "s")
    data = stored(backend)
    whole = [event.mark for event in opened(backend, "s", lazy=False).events]
    for place in range(0, len(data), 1 if len(data) < 1500 else 7):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        assert chained(bytes(broken)) == [], place
    for end in (0, 5, 17, len(data) // 2, len(data) - 1):
        assert chained(data[:end]) == []
    store(backend, data[:-1] + b"?")
    log = opened(backend, "s")
    assert log.head is None
    assert [event.mark for event in log.events] == whole
    snapshot(backend, "s")
    assert same(backend, "s")


def test_damage_in_the_middle_leaves_what_was_before_and_is_mended(backend: Backend) -> None:
    session = begun(backend)
    size = snapshot(backend, "s").size
    first = len(stored(backend))
    for n in range(30):
        session.append("message", {"n": n})
    snapshot(backend, "s")
    data = stored(backend)
    assert len(chained(data)) == 2
    store(backend, data[: first + 30] + b"????" + data[first + 34 :])
    log = opened(backend, "s")
    assert log.head is not None
    assert log.head.size == size
    assert same(backend, "s")
    snapshot(backend, "s")
    log = opened(backend, "s")
    assert log.head is not None
    assert log.head.size == log.size


FIELDS: dict[str, Any] = {
    "start": {"start": 1},
    "stop": {"stop": 9},
    "before": {"before": 1},
    "names": {"names": b"1234567"},
    "places": {"places": b"1234"},
    "others": {"others": b"1234567"},
    "marks": {"marks": [(0, 99, "fenced")]},
    "spans": {"spans": [(99, 1, 0, 1)]},
    "roots": {"roots": b"123"},
    "incarnation": {"live": {"incarnation": "another"}},
    "offset": {"live": {"offset": "-1"}},
    "last": {"live": {"last": b"another"}},
    "stitched": {"live": {"stitched": 3}},
    "kept": {"live": {"kept": []}},
    "kept index": {"live": {"kept": [(99, b"{}")]}},
    "firsts": {"live": {"firsts": {"run": 99}}},
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_does_not_fit_is_as_good_as_none(name: str) -> None:
    backend = EmbeddedBackend(None)
    begun(backend)
    snapshot(backend, "s")
    (only,) = chained(stored(backend))
    changes = dict(FIELDS[name])
    live = only.record.live
    assert live is not None
    if "live" in changes:
        changes["live"] = replace(live, **changes["live"])
    store(backend, write_record(replace(only.record, **changes))[0])
    assert opened(backend, "s").head is None
    backend.close()


def test_another_version_or_form_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = EmbeddedBackend(None)
    begun(backend)
    snapshot(backend, "s")
    assert opened(backend, "s").head is not None
    monkeypatch.setattr(snapshots, "VERSION", 2)
    assert opened(backend, "s").head is None
    monkeypatch.undo()
    for body in (msgspec.msgpack.encode([1, 2, 3]), b"\xc1", b""):
        data, _ = write_record(Record(0, 1, 0, b"", b"", b"", b"", [], [], b""))
        assert chained(data)
        header = snapshots._HEADER.pack(snapshots.MAGIC, 1, snapshots.crc32(body), len(body))
        assert chained(header + body) == []
    backend.close()


def test_one_of_another_life_or_session_is_as_good_as_none(backend: Backend) -> None:
    session = begun(backend)
    snapshot(backend, "s")
    data = stored(backend)
    session.delete()
    begun(backend)
    assert opened(backend, "s").head is None
    begun(backend, "other")
    snapshot(backend, "other")
    store(backend, data, "other")
    assert opened(backend, "other").head is None
    assert same(backend, "other") is False


def test_what_is_read_late_is_of_the_same_life_or_missing() -> None:
    backend = EmbeddedBackend(None)
    session = begun(backend)
    snapshot(backend, "s")
    state = fold(opened(backend, "s"))
    session.delete()
    with pytest.raises(NotFound):
        _ = state.messages
    begun(backend)
    with pytest.raises(NotFound):
        _ = state.messages
    assert state.status == "failed"
    backend.close()


def test_it_goes_with_its_session(backend: Backend) -> None:
    session = begun(backend)
    snapshot(backend, "s")
    session.delete()
    with pytest.raises(ProtocolError):
        backend.execute(Read(snapshot_path("s")))
    assert drive(Client(backend)._core.refresh("s"), backend) is None


def test_where_nothing_can_be_skipped_it_is_read_from_the_snapshot_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LEAST", 1)
    backend = CountingHostile()
    session = begun(backend)
    snapshot(backend, "s")
    for n in range(30):
        session.append("message", {"n": n})
    middle = snapshot(backend, "s").size
    for n in range(30):
        session.append("message", {"n": n})
    size = snapshot(backend, "s").size
    log = opened(backend, "s")
    backend.read = 0
    assert [event.index for event in log.events[middle + 3 :]] == list(range(middle + 3, size))
    assert backend.read < 40
    assert same(backend, "s")


class CountingHostile(HostileBackend):
    """Counts the events of session `s` that were read."""

    read = 0

    def execute(self, operation: Any) -> Any:
        done = super().execute(operation)
        if isinstance(operation, Read) and operation.path == "s":
            self.read += len(done.messages)
        return done
