"""Compacting: what stays, what goes, what goes on; and a crash at any point of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from failing import FailingBackend
from stores import STORES

from agentstream import AsyncClient, Client, NotFound, SessionBusy, adapters, agent, ask, inbox, step
from agentstream.backends.base import Backend
from agentstream.backends.driving import drive
from agentstream.errors import AgentStreamError, RunWaiting
from agentstream.protocol.operations import Create
from agentstream.sessions.claims import release, win

acts: list[Any] = []
broken: list[int] = []


@step(effect="once")
def pay(n: int) -> dict[str, int]:
    acts.append(("pay", n))
    return {"paid": n}


@step
def look(n: int) -> str:
    acts.append(("look", n))
    return "seen " * 60 + str(n)


@agent
def work(n: int) -> list[Any]:
    found = [pay(n), look(n), look(n)]
    if n in broken:
        raise ValueError("stop here")
    return found


@agent
def asks(n: int) -> Any:
    read = inbox()
    paid = pay(n)
    return [len(read), paid, ask("go on?"), len(inbox())]


@pytest.fixture(params=["disk", "hostile", "ignored"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    acts.clear()
    broken.clear()
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


def begun(backend: Backend) -> Any:
    """A session with two ended runs and one that failed, messages, labels and a user's own events."""
    session = Client(backend).session("a/b")
    session.append("message", {"role": "user", "parts": [{"type": "text", "text": "hello"}]})
    session.label("Title", {"tag": 1})
    session.append("custom", {"mine": [1, 2]})
    session.with_options(run_id="first").run(work, 1)
    session.run(work, 2)
    broken.append(3)
    with pytest.raises(ValueError, match="stop here"):
        session.run(work, 3)
    broken.clear()
    acts.clear()
    return session


def test_what_is_needed_stays_and_the_rest_goes(backend: Backend) -> None:
    session = begun(backend)
    before = session.state()
    old = session.compact()
    after = Client(backend).session("a/b").state()
    assert old is not None
    assert after.index < before.index
    assert after.incarnation != before.incarnation
    assert (after.title, after.tags, after.messages) == (before.title, before.tags, before.messages)
    assert [event.value for event in after.of_type("custom")] == [{"mine": [1, 2]}]
    assert [(r.id, r.status, r.arguments, r.result) for r in after.runs.values()] == [
        (r.id, r.status, r.arguments, r.result) for r in before.runs.values()
    ]
    assert {step.run for step in after.steps} == {before.run.key}
    assert [(s.input, s.result, s.status) for s in after.steps] == [
        (s.input, s.result, s.status) for s in before.steps_of(before.run.key)
    ]
    assert after.highest_claim >= before.highest_claim
    assert all(event.mark is None for event in after.events)


def test_an_open_run_goes_on_with_its_finished_steps(backend: Backend) -> None:
    session = begun(backend)
    session.compact()
    assert session.run(work, 3)[0] == {"paid": 3}
    assert session.with_options(run_id="first").run(work, 1)[0] == {"paid": 1}
    assert acts == []
    assert session.run(work, 4)[0] == {"paid": 4}
    assert ("pay", 4) in acts


def test_a_waiting_run_goes_on_when_it_is_answered(backend: Backend) -> None:
    session = begun(backend)
    session.run(work, 3)
    acts.clear()
    with pytest.raises(RunWaiting):
        session.run(asks, 7)
    session.compact()
    (question,) = session.questions()
    session.append("message", {"role": "user", "parts": []})
    session.answer(question, "yes")
    assert session.run(asks, 7) == [0, {"paid": 7}, "yes", 1]
    assert acts == [("pay", 7)]


def test_the_old_life_is_read_under_its_id_and_its_forks_stay(backend: Backend) -> None:
    session = begun(backend)
    fork = session.fork("fork")
    events = [(event.index, event.type, event.key) for event in session.events()]
    shared = [(event.index, event.type, event.key) for event in fork.events()]
    last = list(session.events())[-1]
    old = session.compact()
    assert old is not None
    fresh = Client(backend)
    assert [(e.index, e.type, e.key) for e in fresh.session(old).events()][: len(events)] == events
    assert [(e.index, e.type, e.key) for e in fresh.session("fork").events()] == shared
    with pytest.raises(ValueError, match="incarnation"):
        session.events(start=last)
    with pytest.raises(AgentStreamError, match="sealed"):
        fresh.session(old).append("custom", 1)
    assert fresh.session(old).replay(work, run="first").identical


def test_forks_of_the_old_life_are_read_whatever_is_deleted(backend: Backend) -> None:
    """Where readers stitch it, nobody deletes what it reads from: not where that is after compacting, either."""
    session = begun(backend)
    fork = session.fork("fork")
    shared = [(event.type, event.key) for event in fork.events()]
    old = str(session.compact())
    for name in (old, "s"):
        with suppress(AgentStreamError):
            Client(backend).session(name).delete()
        assert [(event.type, event.key) for event in Client(backend).session("fork").events()] == shared
    fork.delete()
    with suppress(NotFound):  # where it was refused before
        Client(backend).session(old).delete()
    again = Client(backend).session("s")
    with suppress(NotFound):
        again.delete()
    again.append("custom", 1)
    again.delete()


def test_the_old_life_can_be_dropped_and_the_id_be_used_again(backend: Backend) -> None:
    session = begun(backend)
    assert session.compact(keep_old=False) is None
    again = session.compact()
    assert session.state().title == "Title"
    session.delete()
    with pytest.raises(NotFound):
        session.state()
    session.append("custom", 1)
    assert session.state().index == 2
    assert again is not None
    assert Client(backend).session(again).state().title == "Title"


def test_busy_while_a_worker_lives(backend: Backend) -> None:
    session = begun(backend)
    log = drive(session._core.require("a/b"), backend)
    claim = drive(win(log), backend)
    with pytest.raises(SessionBusy):
        session.compact()
    session.with_options(take_over=True).compact()
    drive(release(claim), backend)


def test_a_follower_of_the_old_life_comes_to_its_end(backend: Backend) -> None:
    session = begun(backend)
    follower = Client(backend).session("a/b").follow()
    first = next(follower)
    session.compact()
    assert first.type == "session"
    with pytest.raises(NotFound, match="deleted"):
        list(follower)


def test_async_too(backend: Backend) -> None:
    begun(backend)

    async def main() -> None:
        session = AsyncClient(backend).session("a/b")
        old = await session.compact()
        assert old is not None
        assert (await session.state()).title == "Title"

    asyncio.run(main())


@pytest.mark.parametrize("name", ["memory", "hostile"])
@pytest.mark.parametrize("keep_old", [True, False])
def test_a_crash_at_any_point_leaves_one_of_both_and_a_second_call_finishes(
    name: str, keep_old: bool, tmp_path: Path
) -> None:
    crashed = 0
    for point in range(60):
        inner = STORES[name](tmp_path)
        acts.clear()
        session = begun(inner)
        before = session.state()
        failing = Crashing(inner, point)
        try:
            Client(failing).session("a/b").compact(keep_old=keep_old)
        except AgentStreamError:
            crashed += 1
        else:
            break
        fresh = Client(inner).session("a/b")
        seen = fresh.state()
        assert seen.title == "Title"
        assert [r.id for r in seen.runs.values()] == [r.id for r in before.runs.values()]
        fresh.with_options(take_over=True).compact(keep_old=keep_old)
        assert fresh.run(work, 3)[0] == {"paid": 3}
        assert acts == []
        inner.close()
    else:
        raise AssertionError("it never came to its end")
    assert crashed > 4


class Crashing(FailingBackend):
    """Stops answering after some writes of any kind, not appends alone."""

    def __init__(self, inner: Backend, writes: int) -> None:
        super().__init__(inner, after=10**9)
        self.left = writes

    def _admit(self, operation: Any) -> None:
        if type(operation).__name__ in ("Create", "Append", "Delete"):
            if self.left == 0:
                self.after, self.dead = 0, True
            self.left -= 1
        super()._admit(operation)


def test_what_is_said_meanwhile_is_taken_along(backend: Backend) -> None:
    session = begun(backend)
    seen = Meanwhile(backend, lambda: session.append("message", {"role": "user", "text": "late"}))
    Client(seen).session("a/b").compact()
    assert seen.said
    state = Client(backend).session("a/b").state()
    assert [message.get("text") for message in state.messages].count("late") == 1


class Meanwhile(FailingBackend):
    """Lets somebody say something when the new life is made, and is not gone over to yet."""

    def __init__(self, inner: Backend, say: Callable[[], Any]) -> None:
        super().__init__(inner, after=10**9)
        self.say = say
        self.said = False

    def execute(self, operation: Any) -> Any:
        done = super().execute(operation)
        if isinstance(operation, Create) and operation.path.startswith("~s/") and not self.said:
            self.said = True
            self.say()
        return done


@agent
def keyed(n: int) -> Any:
    call = adapters.open_step("tool", "charge", {"n": n})
    acts.append(call.idempotency_key)
    if n in broken:
        call.leave()
        raise ValueError("it never came back")
    return call.finish(n)


def test_an_unfinished_step_keeps_its_idempotency_key(backend: Backend) -> None:
    session = Client(backend).session("a/b")
    session.append("message", {"role": "user"})
    session.rewind(at=1)
    broken.append(1)
    with pytest.raises(ValueError, match="never"):
        session.run(keyed, 1)
    broken.clear()
    for _ in range(2):
        session.compact()
    session.run(keyed, 1)
    first, second = acts
    assert first == second
