"""Encrypted sessions: nothing that anybody said is in the store, and everything works as it does without."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sealing_kit import KEY, OTHER, PLANTED, asker, bytes_of, key_of, look_up, messages, put, tell, wrapped
from stores import NAMES, STORES

from agentstream import AsyncClient, Client, Locked, RunWaiting, StoreError
from agentstream.backends.base import Backend

STORED = ["disk", "memory", "hostile", "ignored", "empty"]


@pytest.fixture(params=STORED)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


def filled(client: Client) -> Any:
    """A session with something secret in every place that takes it."""
    session = client.session("support/1")
    session.run(tell, f"{PLANTED} argument")
    session.append("message", {"role": "user", "parts": [{"type": "text", "text": f"{PLANTED} message"}]})
    session.append("custom", {"deep": [f"{PLANTED} custom"]})
    session.append("note.taken", {"note": f"{PLANTED} note"})
    session.label(f"{PLANTED} title", {"tag": f"{PLANTED} tag"})
    with pytest.raises(RunWaiting):
        session.run(asker, f"{PLANTED} asked")
    session.answer(session.questions()[0], f"{PLANTED} answer", by=f"{PLANTED} somebody")
    session.run(asker, f"{PLANTED} asked")
    return session


def everything(client: Client) -> bytes:
    """All that a backend in memory holds, as its own reads give it."""
    inner: Any = client._core.backend.inner  # type: ignore[attr-defined]
    paths = inner._logs if hasattr(inner, "_logs") else {row[0] for row in _paths(inner)}
    return b"\n".join(message for path in paths for message in messages(inner, path))


def _paths(inner: Any) -> list[tuple[str]]:
    with inner._connections.reading() as connection:
        return connection.execute("SELECT path FROM streams").fetchall()


def test_nothing_that_was_said_is_in_the_store(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    session = filled(client)
    kinds = {event.type for event in session.events()}
    assert {"run", "step", "outcome", "delta", "message", "custom", "note.taken", "question", "answer"} <= kinds
    assert session.state().title == f"{PLANTED} title"
    assert PLANTED.encode() not in everything(client)


def test_nothing_is_in_any_byte_on_disk(tmp_path: Path) -> None:
    with Client(tmp_path / "store", encrypt=KEY) as client:
        session = filled(client)
        session.fork("fork", at=5).resume(tell)
        assert not [name for name, content in bytes_of(tmp_path).items() if PLANTED.encode() in content]
    assert not [name for name, content in bytes_of(tmp_path).items() if PLANTED.encode() in content]


def test_a_session_says_what_it_says_without(backend: Backend, tmp_path: Path) -> None:
    """The same events, byte for byte but for ids and times, and what a birth says of its key."""
    sealed = filled(Client(backend, encrypt=KEY))
    plain = filled(Client(tmp_path / "plain"))

    def told(session: Any) -> list[Any]:
        events = [(e.type, e.operation, sorted(e.value) if e.type == "outcome" else None) for e in session.events()]
        return [event for event in events if event[0] != "delta"]

    assert told(sealed) == told(plain)
    assert sealed.state().messages == plain.state().messages
    assert [step.result for step in sealed.state().steps] == [step.result for step in plain.state().steps]


def test_a_crash_is_gone_on_with(backend: Backend) -> None:
    calls: list[str] = []

    def broken(what: str) -> str:
        found = look_up(what)["found"]
        calls.append(found)
        if len(calls) == 1:
            raise RuntimeError("crash")
        return found

    from agentstream import agent

    stumbling = agent(broken)
    with pytest.raises(RuntimeError):
        Client(backend, encrypt=KEY).session("s").run(stumbling, "a")
    session = Client(backend, encrypt=KEY).session("s")
    assert session.run(stumbling, "a") == f"{PLANTED} result"
    assert len([event for event in session.events() if event.type == "step"]) == 1
    assert session.replay(stumbling).divergence is None


def test_forks_read_what_they_share(backend: Backend) -> None:
    client = Client(backend, encrypt=KEY)
    first = client.session("a")
    first.run(tell, "x")
    first.append("custom", 1)
    second = first.fork("b", at=first.state().index - 1)
    third = second.fork("c")
    copied = third.fork("d", copy=True)
    other = Client(backend, encrypt=KEY)
    for name in ("a", "b", "c", "d"):
        found = other.session(name)
        assert found.state().runs[next(iter(found.state().runs))].result == f"{PLANTED} result"
        assert found.run(tell, name) == f"{PLANTED} result"
    keys = {key_of(other.session(name)) for name in ("a", "b", "c", "d")}
    assert len(keys) == 4
    births = [event.value for event in copied.events() if event.type == "session" and "incarnation" in event.value]
    assert {birth["encrypted"] for birth in births} == {key_of(copied)}


def test_async_and_follow(backend: Backend) -> None:
    async def go() -> list[str]:
        client = AsyncClient(backend, encrypt=KEY)
        session = client.session("s")
        await session.append("custom", f"{PLANTED} 1")
        seen: list[str] = []

        async def follow() -> None:
            async for event in session.follow():
                if event.type == "custom":
                    seen.append(event.value)
                if len(seen) == 3:
                    return

        following = asyncio.ensure_future(follow())
        for number in (2, 3):
            await session.append("custom", f"{PLANTED} {number}")
        await asyncio.wait_for(following, 60)
        return seen

    assert asyncio.run(go()) == [f"{PLANTED} {number}" for number in (1, 2, 3)]


# --- without the key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "reason"), [(False, "no key"), (OTHER, "wrong")])
def test_without_the_key(backend: Backend, key: Any, reason: str, tmp_path: Path) -> None:
    before = filled(Client(backend, encrypt=KEY))
    size = before.state().index
    client = Client(backend, encrypt=key)
    session = client.session("support/1")
    events = list(session.events())
    assert [event.type for event in events] == [event.type for event in before.events()]
    assert [event.key for event in events] == [event.key for event in before.events()]
    assert session.status() == "finished"
    closed = next(event for event in events if event.type == "outcome")
    for asked in (
        lambda: closed.value,
        lambda: session.state().steps,
        lambda: session.state(at=1).title or session.state().title,
        lambda: session.run(tell, "more"),
        lambda: session.append("custom", 1),
        lambda: session.label("other"),
        lambda: session.resume(tell),
        lambda: session.export(tmp_path / "out.jsonl"),
        lambda: session.fork("copy", copy=True),
        lambda: session.replay(tell),
    ):
        with pytest.raises(Locked) as refused:
            asked()
        assert refused.value.reason == reason
    with pytest.raises(Locked, match=rf"session 'support/1': event {closed.index} \(outcome "):
        _ = closed.value
    assert not (tmp_path / "out.jsonl").exists()
    assert Client(backend, encrypt=KEY).session("support/1").state().index == size


@pytest.mark.parametrize("name", ["disk", "memory"])
def test_lists_work_without_the_key(name: str, tmp_path: Path) -> None:
    backend = STORES[name](tmp_path)
    filled(Client(backend, encrypt=KEY)).fork("b")
    for key in (False, OTHER):
        found = {summary.id: summary for summary in Client(backend, encrypt=key).sessions()}
        assert {id: (each.status, each.title, each.agent) for id, each in found.items()} == {
            "support/1": ("finished", None, None),
            "b": ("finished", None, None),
        }
        assert found["b"].parent == "support/1"
    client = Client(backend, encrypt=KEY)
    assert client.sessions(tag="tag", title=PLANTED)[0].agent == "asker"
    assert {summary.id for summary in client.sessions(text="planted-7F3A message")} == {"b", "support/1"}
    backend.close()


def test_a_plain_session_stays_as_it_is(backend: Backend) -> None:
    Client(backend).session("s").append("custom", "in clear")
    session = Client(backend, encrypt=KEY).session("s")
    session.append("custom", "too")
    assert [event.value for event in Client(backend).session("s").events()][1:] == ["in clear", "too"]
    fork = session.fork("f")
    fork.append("custom", PLANTED)
    assert [event.value for event in fork.events() if event.type == "custom"] == ["in clear", "too", PLANTED]
    with pytest.raises(Locked):
        _ = list(Client(backend).session("f").events())[-1].value


def test_a_path_that_holds_another_life_now(backend: Backend) -> None:
    """A client that knew the session before it was deleted and made anew seals with the new one's key."""
    ours, theirs = Client(backend, encrypt=KEY), Client(backend, encrypt=KEY)
    ours.session("s").append("custom", 1)
    old = key_of(ours.session("s"))
    theirs.session("s").delete()
    theirs.session("s").append("custom", 2)
    ours.session("s").append("custom", 3)
    new = key_of(theirs.session("s"))
    assert new != old
    stored = [json.loads(message)["value"] for message in messages(backend, "s")]
    assert {value["$sealed"][0] for value in stored if "$sealed" in value} == {new}


# --- what somebody changed -------------------------------------------------------------------------------------------


def _sealed(message: bytes) -> dict[str, Any]:
    return json.loads(message)


@pytest.mark.parametrize("how", ["bit", "short", "swapped", "key", "claim", "time", "type", "elsewhere"])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_changed_is_never_another_value(name: str, how: str, tmp_path: Path) -> None:
    backend = STORES[name](tmp_path)
    client = Client(backend, encrypt=KEY)
    session = client.session("s")
    session.run(tell, "x")
    client.session("other").run(tell, "y")
    stored = messages(backend, "s")
    places = [n for n, message in enumerate(stored) if b'"$sealed"' in message]
    place, later = places[0], places[1]
    changed = [_sealed(message) for message in stored]
    text = changed[place]["value"]["$sealed"][1]
    match how:
        case "bit":
            middle = len(text) // 2
            other = "A" if text[middle] != "A" else "B"
            changed[place]["value"]["$sealed"][1] = text[:middle] + other + text[middle + 1 :]
        case "short":
            changed[place]["value"]["$sealed"][1] = text[:8]
        case "swapped":
            one, two = changed[place]["value"], changed[later]["value"]
            one["$sealed"], two["$sealed"] = two["$sealed"], one["$sealed"]
        case "key":
            changed[place]["key"] += "0"
        case "claim":
            changed[place]["value"]["claim"] += 1
        case "time":
            changed[place]["headers"]["timestamp"] = "2020-01-01T00:00:00.000Z"
        case "type":
            changed[place]["type"] = "custom"
        case _:
            others = [json.loads(message) for message in messages(backend, "other") if b'"$sealed"' in message]
            changed[place]["value"]["$sealed"] = others[0]["value"]["$sealed"]
    put(backend, "s", [json.dumps(each, separators=(",", ":")).encode() for each in changed])
    event = list(Client(backend, encrypt=KEY).session("s").events())[place]
    with pytest.raises(StoreError, match=rf"session 's': event {place} \(.*was changed, cut off or moved"):
        _ = event.value
    backend.close()


def test_a_wrapped_key_that_was_changed(backend: Backend) -> None:
    session = filled(Client(backend, encrypt=KEY))
    path = f"~k/{key_of(session)}"
    told = json.loads(messages(backend, path)[0])
    told["value"]["wrapped"] = "AAAA" + told["value"]["wrapped"][4:]
    put(backend, path, [json.dumps(told).encode()])
    with pytest.raises(StoreError, match="was changed"):
        _ = Client(backend, encrypt=KEY).session("support/1").state().steps


def test_a_key_that_is_not_in_the_store(backend: Backend) -> None:
    from agentstream.protocol.operations import Delete

    session = filled(Client(backend, encrypt=KEY))
    backend.execute(Delete(f"~k/{key_of(session)}"))
    with pytest.raises(Locked, match="not in this store") as refused:
        _ = Client(backend, encrypt=KEY).session("support/1").state().steps
    assert refused.value.reason == "missing"


# --- the keys --------------------------------------------------------------------------------------------------------


def test_rotation_wraps_keys_and_touches_no_event(tmp_path: Path) -> None:
    backend = STORES["disk"](tmp_path)
    old = Client(backend, encrypt=KEY)
    session = filled(old)
    session.fork("b")
    stored = messages(backend, "support/1")
    assert Client(backend, encrypt=[OTHER, KEY]).rotate_keys() == 2
    assert Client(backend, encrypt=[OTHER, KEY]).rotate_keys() == 0
    assert messages(backend, "support/1") == stored
    assert Client(backend, encrypt=OTHER).session("support/1").state().title == f"{PLANTED} title"
    assert Client(backend, encrypt=KEY).session("support/1").state().title == f"{PLANTED} title"  # wrapped before
    assert len(wrapped(backend, key_of(session))) == 4
    Client(backend, encrypt=OTHER).session("new").append("custom", 1)
    with pytest.raises(Locked, match=r"1 cannot be opened .* those of new"):
        Client(backend, encrypt=[b"k" * 32, KEY]).rotate_keys()
    with pytest.raises(Locked):
        Client(backend).rotate_keys()
    assert asyncio.run(_rotated(backend)) == 3
    backend.close()


async def _rotated(backend: Backend) -> int:
    return await AsyncClient(backend, encrypt=[b"n" * 32, OTHER, KEY, b"k" * 32]).rotate_keys()
