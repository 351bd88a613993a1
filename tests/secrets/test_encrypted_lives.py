"""Encrypted sessions that are compacted, copied, swept, exported, and hand their files on: nothing is lost that should
be kept, and nothing is kept that was erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from failing import FailingBackend
from sealing_kit import KEY, OTHER, PLANTED, bytes_of, key_of
from stores import STORES

from agentstream import (
    AgentStreamError,
    Attachment,
    Client,
    Erased,
    Locked,
    Redact,
    RunWaiting,
    agent,
    ask,
    attach,
    delta,
    step,
)
from agentstream.backends.base import Backend, List
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Delete, Read
from agentstream.sessions import moments
from agentstream.sessions.encryption import form
from agentstream.sessions.encryption.vault import SessionKey, opened
from agentstream.sessions.events import write_event
from agentstream.sessions.log import open_log
from agentstream.sessions.saving import write

SIZE = 15_000
broken: list[bool] = []


@step
def text(size: int) -> str:
    return f"{PLANTED} text " * size


@step
def count(file: Attachment) -> str:
    return f"{PLANTED} {len(file.read())}"


@agent
def filing(size: int) -> str:
    found = text(size)
    said = count(attach(f"{PLANTED} file".encode() * size, name="a.txt"))
    if broken:
        raise ValueError("stop here")
    return f"{len(found)} {said}"


DONE = f"{len(f'{PLANTED} text ') * SIZE} {PLANTED} {len(f'{PLANTED} file') * SIZE}"


@agent
def filed(file: Attachment) -> str:
    return count(file)


@pytest.fixture(params=["disk", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    broken.clear()
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is three days later than the store believes: a collection leaves nothing alone."""
    before = moments.now
    monkeypatch.setattr(moments, "now", lambda: before() + timedelta(days=3))


def reader(backend: Backend) -> Client:
    """One that has nothing in memory."""
    return Client(backend, encrypt=KEY)


def stopped(client: Client, name: str = "s") -> Any:
    """A session whose run has done all its steps and not ended."""
    session = client.session(name)
    broken.append(True)
    with pytest.raises(ValueError, match="stop here"):
        session.run(filing, SIZE)
    broken.clear()
    return session


def read(backend: Backend, name: str) -> Any:
    return reader(backend).session(name).state().run.result  # type: ignore[union-attr]


@pytest.mark.parametrize("keep_old", [False, True])
def test_what_was_compacted_is_read_for_as_long_as_it_lives(backend: Backend, keep_old: bool, later: None) -> None:
    """Its content is sealed by the keys of lives before it."""
    session = stopped(reader(backend))
    session.compact(keep_old=keep_old)
    session.compact(keep_old=keep_old)
    reader(backend).gc(dry_run=False)
    assert reader(backend).session("s").resume(filing) == DONE
    assert reader(backend).session("s").replay(filing).divergence is None
    old = [summary.id for summary in reader(backend).sessions() if summary.id != "s"]
    assert len(old) == (2 if keep_old else 0)


@pytest.mark.parametrize("keep_old", [False, True])
def test_erasing_covers_every_life(backend: Backend, keep_old: bool, later: None) -> None:
    session = stopped(reader(backend))
    keys = {key_of(session)}
    session.fork("of the first life")
    kept = {session.compact(keep_old=keep_old), session.compact(keep_old=keep_old)} - {None}
    session.resume(filing)
    keys.add(key_of(session))
    fork = session.fork("of the last life")
    copy = session.fork("copy", copy=True)
    assert set(reader(backend).session("s").erase()) == {"s", *kept}
    for name in ("s", *kept):
        with pytest.raises(Erased):
            reader(backend).session(name).state()
    assert not {f"~k/{key}" for key in keys} & {each.path for each in backend.execute(List("~k/"))}
    reader(backend).gc(dry_run=False)
    assert reader(backend).session("of the first life").resume(filing) == DONE
    for heir in (fork, copy):
        assert read(backend, heir.id) == DONE
        assert reader(backend).session(heir.id).replay(filing).divergence is None


def test_erasing_with_forks_covers_what_was_compacted_or_copied(backend: Backend) -> None:
    session = stopped(reader(backend))
    for name in ("f", "g"):
        session.fork(name)
    reader(backend).session("g").compact(keep_old=False)
    session.fork("c", copy=True)
    assert set(reader(backend).session("s").erase(forks=True)) == {"s", "f", "g", "c"}
    for name in ("s", "f", "g", "c"):
        with pytest.raises(Erased):
            reader(backend).session(name).state()


@pytest.mark.parametrize("keep_old", [False, True])
@pytest.mark.parametrize("name", ["hostile", "ignored"])
def test_on_servers_that_cannot_fork_or_list(name: str, keep_old: bool, tmp_path: Path) -> None:
    broken.clear()
    backend = STORES[name](tmp_path)
    session = stopped(reader(backend))
    old = session.compact(keep_old=keep_old)
    assert reader(backend).session("s").resume(filing) == DONE
    every = ["s"] if old is None else ["s", old]
    for each in every:
        assert reader(backend).session(each).replay(filing).steps == 3
    assert reader(backend).session("s").erase(forks=True) == every
    for each in every:
        with pytest.raises(Erased):
            reader(backend).session(each).state()


@pytest.mark.parametrize("after", range(14))
def test_erasing_that_breaks_off_is_finished_by_the_next(after: int, tmp_path: Path) -> None:
    broken.clear()
    backend = EmbeddedBackend(tmp_path / "store")
    session = stopped(reader(backend))
    old = session.compact(keep_old=True)
    assert session.resume(filing) == DONE
    session.fork("f")
    failing = Client(FailingBackend(backend, after=after), encrypt=KEY).session("s")
    with suppress(AgentStreamError):
        failing.erase()
    assert read(backend, "f") == DONE
    assert reader(backend).session("s").with_options(take_over=True).erase() == ["s", old]
    for each in ("s", str(old)):
        with pytest.raises(Erased):
            reader(backend).session(each).state()
    assert read(backend, "f") == DONE
    backend.close()


def test_an_old_life_is_erased_by_itself(backend: Backend) -> None:
    session = stopped(reader(backend))
    old = session.compact(keep_old=True)
    assert old is not None
    assert reader(backend).session(old).erase() == [old]
    with pytest.raises(Erased):
        reader(backend).session(old).state()
    assert reader(backend).session("s").resume(filing) == DONE


def test_an_old_life_that_is_not_encrypted_is_in_the_way(backend: Backend) -> None:
    Client(backend, encrypt=False).session("s").append("custom", PLANTED)
    session = reader(backend).session("s")
    old = session.compact(keep_old=True)
    with pytest.raises(AgentStreamError, match=f"'{old}' is not encrypted.*delete it"):
        session.erase()
    assert [event.value for event in session.events() if event.type == "custom"] == [PLANTED]
    reader(backend).session(str(old)).delete()
    assert session.erase() == ["s"]


def test_a_file_that_is_handed_on_is_sealed_anew(backend: Backend, later: None) -> None:
    """The session that it came from may be deleted, swept and erased."""
    client = reader(backend)
    file = client.session("from").attach(f"{PLANTED} file".encode(), name="f")
    for name in ("to", "gone"):
        client.session(name).append("custom", {"files": [file]})
    client.session("to").run(filed, file)
    client.session("gone").erase()
    client.session("from").delete()
    client.gc(dry_run=False)
    found = reader(backend).session("to")
    assert found.state().of_type("custom")[0].value["files"][0].read() == f"{PLANTED} file".encode()
    assert found.run(filed, found.state().of_type("custom")[0].value["files"][0]) == f"{PLANTED} 17"
    with pytest.raises(Erased):
        reader(backend).session("gone").state()


@pytest.mark.parametrize("encrypt", [KEY, False], ids=["sealed", "plain"])
def test_an_imported_run_goes_on_with_its_files(tmp_path: Path, encrypt: Any) -> None:
    """Where content is kept is no part of what was asked."""
    broken.clear()
    with Client(tmp_path / "one", encrypt=KEY) as client:
        stopped(client).export(tmp_path / "out.jsonl")
    with Client(tmp_path / "two", encrypt=encrypt) as client:
        [session] = client.import_(tmp_path / "out.jsonl")
        assert session.resume(filing) == DONE
        assert session.replay(filing).divergence is None


def test_a_client_without_the_key_is_told_so(backend: Backend) -> None:
    file = reader(backend).session("s").attach(b"x", name="f")
    with pytest.raises(Locked):
        Client(backend, encrypt=False).session("plain").append("custom", {"file": file})
    with pytest.raises(Locked):
        Client(backend, encrypt=OTHER).session("other").append("custom", {"file": file})


def test_a_label_under_a_claim_opens_again() -> None:
    message = write_event("session", "k", {"title": PLANTED}, claim=2)
    sealed = form.seal(message, "0123456789abcdef", KEY)
    assert PLANTED.encode() not in sealed
    key = SessionKey("0123456789abcdef", KEY)
    assert form.open_(form.look(sealed), partial(opened, key), None) == message


def test_snapshots_go_with_what_they_are_of(tmp_path: Path, later: None) -> None:
    """With a session that is deleted, compacted or removed by age; and a collection takes one that came too late."""
    backend = EmbeddedBackend(tmp_path / "store")
    sessions = {name: reader(backend).session(name) for name in ("deleted", "compacted", "aged", "kept", "late")}
    for session in sessions.values():
        session.append("custom", PLANTED)
        assert drive(write(opened_log(backend, session.id)), reader(backend)._core.backend) is not None
    late = backend.execute(Read(snapshots_of(backend, "late")))
    sessions["deleted"].delete()
    sessions["compacted"].compact(keep_old=False)
    backend.execute(Delete("late"))
    assert reader(backend).gc(older_than=1, keep=["kept", "compacted"], dry_run=False).removed[0].id == "aged"
    assert late.messages
    assert [each.path for each in backend.execute(List("~snap/"))] == [snapshots_of(backend, "kept")]
    backend.close()


def opened_log(backend: Backend, session: str) -> Any:
    return drive(open_log(session), reader(backend)._core.backend)


def snapshots_of(backend: Backend, session: str) -> str:
    [found] = [each.path for each in backend.execute(List(f"~snap/{session}."))]
    return found


# --- everything at once ----------------------------------------------------------------------------------------------

SECRET = "sk-proj-" + "Zz9" * 12


@step
def leaking(size: int) -> dict[str, Any]:
    delta(f"{PLANTED} says {SECRET}", kind="text")
    return {"long": f"{PLANTED} and {SECRET} " * size, "short": f"{PLANTED} {SECRET}"}


@agent
def everything(password: str, size: int) -> Any:
    found = leaking(size)
    file = attach(f"{PLANTED} file".encode() * size, name="f.txt")
    return [len(found["long"]), len(file.read()), ask(f"{PLANTED} {SECRET}?"), found["short"]]


def test_rules_keys_snapshots_and_large_values_together(tmp_path: Path) -> None:
    """No plain text and no secret is in any byte of the store; a secret is in no export either."""
    backend = EmbeddedBackend(tmp_path / "store")

    def client() -> Client:
        return Client(backend, encrypt=KEY, redact=Redact())

    session = client().session("s")
    with pytest.raises(RunWaiting):
        session.run(everything, SECRET, SIZE)
    session.append("custom", f"{PLANTED} {SECRET}")
    session.label(PLANTED)
    session.fork("f")
    for each in ("s", str(session.compact(keep_old=True))):
        assert drive(write(opened_log(backend, each)), client()._core.backend) is not None
        assert client().session(each).state().title == PLANTED
    assert len(backend.execute(List("~snap/"))) == 2
    session.export(tmp_path / "out.jsonl")
    [again] = client().import_(tmp_path / "out.jsonl", id="again")
    for found in (client().session("s"), again):
        found.answer(found.questions()[0], f"{PLANTED} yes")
        result = found.resume(everything)
        assert result[1:3] == [len(f"{PLANTED} file") * SIZE, f"{PLANTED} yes"]
        assert SECRET not in result[3]
        assert found.replay(everything).divergence is None
    assert SECRET.encode() not in (tmp_path / "out.jsonl").read_bytes()
    backend.close()
    for name, content in bytes_of(tmp_path / "store").items():
        assert PLANTED.encode() not in content, name
        assert SECRET.encode() not in content, name
