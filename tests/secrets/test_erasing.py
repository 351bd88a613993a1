"""Erasing: the key is gone from every byte of the store, and with it the session; forks read on, or go too."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from failing import FailingBackend
from hostile import HostileBackend
from msgspec import json
from sealing_kit import KEY, OTHER, PLANTED, asker, bytes_of, key_of, messages, tell, wrapped
from stores import STORES

from agentstream import AgentStreamError, AsyncClient, Client, Erased, Locked, NotFound, RunWaiting, SessionBusy
from agentstream.backends.base import Backend, TakeLease
from agentstream.backends.driving import drive
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.errors import StreamNotFound
from agentstream.sessions.encryption import vault
from agentstream.sessions.encryption.vault import ErasedKey, left_by


@pytest.fixture(params=["disk", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


def begun(client: Client, name: str = "s") -> Any:
    session = client.session(name)
    session.run(tell, f"{PLANTED} argument")
    session.append("custom", f"{PLANTED} late")
    return session


def test_nobody_reads_it_any_more(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    assert session.erase() == ["s"]
    for reader in (client, Client(backend, encrypt=KEY), Client(backend, encrypt=[OTHER, KEY])):
        found = reader.session("s")
        for asked in (
            lambda found=found: list(found.events()),
            lambda found=found: found.state(),
            lambda found=found: found.run(tell, "more"),
            lambda found=found: found.append("custom", 1),
            lambda found=found: found.fork("f"),
            lambda found=found: found.fork("f", at=2),
            lambda found=found: found.fork("f", copy=True),
        ):
            with pytest.raises(Erased, match="session 's' was erased on 20") as refused:
                asked()
            assert refused.value.at is not None
        assert [(each.id, each.status, each.title) for each in reader.sessions()] == [("s", "erased", None)]
    with pytest.raises(Locked):
        _ = list(Client(backend).session("s").events())[2].value
    assert [each.status for each in Client(backend).sessions()] == ["erased"]
    assert session.erase() == ["s"]  # again: it stays erased
    session.delete()
    with pytest.raises(NotFound):
        session.state()
    assert session.run(tell, "anew") == f"{PLANTED} result"


def test_the_key_is_in_no_byte_of_the_store(tmp_path: Path) -> None:
    """Also after pages were written again and again, with other processes' connections open."""
    backend, other = EmbeddedBackend(tmp_path / "store"), EmbeddedBackend(tmp_path / "store")
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    for number in range(30):
        begun(Client(other, encrypt=KEY), f"filler/{number}")
    for number in range(0, 30, 2):
        client.session(f"filler/{number}").delete()
    keys = wrapped(backend, key_of(session))
    assert _found(tmp_path, keys)
    session.erase()
    assert not _found(tmp_path, keys)
    backend.close()
    other.close()
    assert not _found(tmp_path, keys)


def _found(folder: Path, keys: list[bytes]) -> list[str]:
    return [name for name, content in bytes_of(folder).items() if any(key in content for key in keys)]


def test_forks_read_on(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    fork = session.fork("f", at=6)
    further = fork.fork("g", at=4)
    whole = session.fork("w")
    told = {name: [event.raw for event in client.session(name).events()] for name in ("f", "g")}
    late = list(session.events())[-1]
    session.append("custom", f"{PLANTED} after all forks")
    assert session.erase() == ["s"]
    for reader in (client, Client(backend, encrypt=KEY)):
        for name, events in told.items():
            found = list(reader.session(name).events())
            assert [event.raw for event in found][1:] == events[1:]
            found[0].value.pop("erased", None)
            assert found[0].value == json.decode(events[0])["value"]
        assert list(reader.session("w").events())[late.index].value == f"{PLANTED} late"
    assert fork.resume(tell) == f"{PLANTED} result"
    assert further.resume(tell) == f"{PLANTED} result"
    assert whole.state().messages == []
    with pytest.raises(Erased):
        session.state()


def test_nothing_but_what_forks_share_can_be_opened(backend: Backend) -> None:
    """With the user's key, every stream of keys and the ciphertexts at hand."""
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    key = key_of(session)
    stored = messages(backend, "s")
    session.fork("f", at=6)
    session.erase()
    sealing: Any = Client(backend, encrypt=KEY)._core.backend
    left = drive(sealing.vault.find(key), backend)
    assert isinstance(left, ErasedKey)
    salts = [b64decode(json.decode(each)["value"]["$sealed"][1])[:16] for each in stored if b'"$sealed"' in each]
    shared = [b64decode(json.decode(each)["value"]["$sealed"][1])[:16] for each in stored[:6] if b'"$sealed"' in each]
    assert set(left.shared) == set(shared) < set(salts)


def test_forks_too(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    session.fork("f", at=6).fork("g")
    begun(client, "stranger")
    assert sorted(session.erase(forks=True)) == ["f", "g", "s"]
    assert {each.id: each.status for each in Client(backend, encrypt=KEY).sessions()} == {
        **dict.fromkeys(("f", "g", "s"), "erased"),
        "stranger": "finished",
    }
    for name in ("f", "g", "s"):
        with pytest.raises(Erased):
            Client(backend, encrypt=KEY).session(name).state()


def test_what_was_left_for_forks_goes_with_the_last(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path / "store")
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    fork, other = session.fork("f", at=6), session.fork("g", at=5)
    session.erase()
    left = [f"~k/{id}" for id in drive(left_by(json.decode(messages(backend, "s")[0])["value"]["encrypted"]), backend)]
    assert len(left) == 1
    keys = wrapped(backend, left[0].removeprefix("~k/"))
    fork.erase()
    assert messages(backend, left[0])
    assert other.state().index == 6
    other.erase()
    with pytest.raises(StreamNotFound):
        messages(backend, left[0])
    assert not _found(tmp_path, keys)
    backend.close()


def test_a_fork_is_erased_and_its_source_is_not(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    session = begun(client)
    session.fork("f", at=6).append("custom", PLANTED)
    client.session("f").erase()
    with pytest.raises(Erased):
        client.session("f").state()
    assert session.state().run.result == f"{PLANTED} result"


def test_refusals(backend: Backend) -> None:
    plain = Client(backend).session("plain")
    plain.append("custom", 1)
    with pytest.raises(AgentStreamError, match="is not encrypted, so there is no key to forget: delete it"):
        plain.erase()
    with pytest.raises(NotFound):
        Client(backend, encrypt=KEY).session("nobody").erase()
    session = begun(Client(backend, encrypt=KEY))
    session.fork("f", at=5)
    for key in (False, OTHER):
        with pytest.raises(Locked, match="or erase its forks too"):
            Client(backend, encrypt=key).session("s").erase()
    session.append("custom", "nothing was done")
    assert Client(backend).session("s").erase(forks=True) == ["s", "f"]  # needs no key
    with pytest.raises(Erased):
        Client(backend, encrypt=KEY).session("s").state()


def test_a_worker_at_it(backend: Backend) -> None:
    session = begun(Client(backend, encrypt=KEY))
    claim: Any = session.state().claim
    backend.execute(TakeLease("s", claim.value["nonce"]))
    with pytest.raises(SessionBusy):
        session.erase()
    assert session.state().run.result == f"{PLANTED} result"
    assert session.with_options(take_over=True).erase() == ["s"]


def test_async_sealed_and_waiting_sessions(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    begun(client).seal()
    waiting = client.session("w")
    with pytest.raises(RunWaiting):
        waiting.run(asker, "x")

    async def go() -> None:
        for name in ("s", "w"):
            session = AsyncClient(backend, encrypt=KEY).session(name)
            assert await session.erase() == [name]
            with pytest.raises(Erased):
                await session.state()

    asyncio.run(go())


def test_a_server_that_lists_nothing() -> None:
    backend = HostileBackend()
    session = begun(Client(backend, encrypt=KEY))
    session.fork("f", at=6)
    with pytest.raises(AgentStreamError, match="cannot list"):
        session.erase()
    assert session.erase(forks=True) == ["s"]
    with pytest.raises(Erased):
        Client(backend, encrypt=KEY).session("s").state()
    assert not [path for path in backend._logs if path == f"~k/{key_of_raw(backend)}"]


def key_of_raw(backend: Backend) -> str:
    return json.decode(messages(backend, "s")[0])["value"]["encrypted"]


@pytest.mark.parametrize("after", range(8))
def test_a_crash_on_the_way_is_finished_by_the_next(after: int, tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path / "store")
    session = begun(Client(backend, encrypt=KEY))
    fork = session.fork("f", at=6)
    kept = [event.raw for event in fork.events()][1:]
    failing = FailingBackend(backend, after=after)
    try:
        Client(failing, encrypt=KEY).session("s").erase()
    except AgentStreamError:
        assert [event.raw for event in Client(backend, encrypt=KEY).session("f").events()][1:] == kept
        Client(backend, encrypt=KEY).session("s").with_options(take_over=True).erase()
    with pytest.raises(Erased):
        Client(backend, encrypt=KEY).session("s").state()
    assert [event.raw for event in Client(backend, encrypt=KEY).session("f").events()][1:] == kept
    backend.close()


def test_other_processes_forget_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "FRESH", 0.0)
    here, there = EmbeddedBackend(tmp_path / "store"), EmbeddedBackend(tmp_path / "store")
    reader: Any = Client(there, encrypt=KEY).session("s")
    session = begun(Client(here, encrypt=KEY))
    assert reader.state().run.result == f"{PLANTED} result"
    session.erase()
    with pytest.raises(Erased):
        reader.state()
    with pytest.raises(Erased):
        reader.append("custom", 1)
    here.close()
    there.close()
