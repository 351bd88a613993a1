"""A worker takes up what has work, and leaves alone what has none."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from acting import act, made
from crashing import CrashingBackend
from hostile import HostileBackend
from people_kit import waiting
from workers_kit import at_work, until

from agentstream import (
    AgentStreamError,
    Client,
    RunExhausted,
    SessionBusy,
    Unavailable,
    Worker,
    aask,
    agent,
    ask,
    inbox,
    sleep_until,
    spawn,
    step,
)
from agentstream.agents.work import glob


@agent
def asks(topic: str) -> str:
    return act(topic) + ask("Well?")


@agent
async def asks_async(topic: str) -> str:
    return act(topic) + await aask("Well?")


def finished(client: Client, session: str) -> Any:
    until(client.session(session), "finished")
    return client.session(session).state().run.result  # type: ignore[union-attr]


def test_an_answer_wakes(client: Client) -> None:
    waiting(lambda: client.session("before").run(asks, "before"))
    waiting(lambda: client.session("other").run(asks, "other"))
    before = client.session("before")
    before.answer(before.questions()[0], "!")
    with at_work(client, asks):
        assert finished(client, "before") == "BEFORE!"
        waiting(lambda: client.session("after").run(asks, "after"))
        after = client.session("after")
        after.answer(after.questions()[0], "?")
        assert finished(client, "after") == "AFTER?"
    assert client.session("other").status() == "waiting"
    assert made == ["before", "other", "after"]


def test_async_agents_share_one_loop(client: Client) -> None:
    async def begin() -> None:
        sessions = [client.to_async().session(f"s{number}") for number in range(5)]
        await asyncio.gather(*(each.run(asks_async, "x") for each in sessions), return_exceptions=True)

    asyncio.run(begin())
    with at_work(client, asks_async):
        for number in range(5):
            session = client.session(f"s{number}")
            session.answer(session.questions()[0], str(number))
        assert [finished(client, f"s{number}") for number in range(5)] == [f"X{number}" for number in range(5)]


def test_a_message_wakes_who_reads_the_inbox(client: Client) -> None:
    @agent
    def reads() -> str:
        return inbox(wait=True)[0]["text"]

    waiting(lambda: client.session("s").run(reads))
    with at_work(client, reads):
        client.session("s").append("message", {"role": "user", "text": "hello"})
        assert finished(client, "s") == "hello"


def test_a_moment_wakes(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("sleeping", "waiting"):  # what is that near is not left to a worker
        monkeypatch.setattr(f"agentstream.agents.{room}.NEAR", 0.0)
    moment = datetime.now(timezone.utc) + timedelta(seconds=2)

    @agent
    def sleeps() -> str:
        sleep_until(moment)
        return act("woken")

    assert waiting(lambda: client.session("s").run(sleeps)).until is not None
    with at_work(client, sleeps):
        assert finished(client, "s") == "WOKEN"
    assert datetime.now(timezone.utc) >= moment


def test_only_what_matches_and_only_known_agents(client: Client) -> None:
    @agent
    def other(topic: str) -> str:
        return ask("Well?")

    for id, fn in (("support/1", asks), ("sales/1", asks), ("support/2", other)):
        waiting(lambda id=id, fn=fn: client.session(id).run(fn, "x"))
        client.session(id).answer(client.session(id).questions()[0], "!")
    assert Worker(client, asks, match="support/*").run(once=True) == 1
    statuses = [client.session(id).status() for id in ("support/1", "sales/1", "support/2")]
    assert statuses == ["finished", "waiting", "waiting"]


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("**", ["a", "a/b", "a/b/c"], []),
        ("*", ["a", "ab"], ["a/b"]),
        ("support/**", ["support/1", "support/1/2"], ["support", "support1", "sales/support/1"]),
        ("support/*", ["support/1"], ["support/1/2"]),
        ("**/done", ["done", "a/done", "a/b/done"], ["undone", "done/a"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/bz"]),
        ("a.?", ["a.b"], ["aab", "a."]),
    ],
)
def test_patterns(pattern: str, fits: list[str], does_not: list[str]) -> None:
    compiled = glob(pattern)
    assert [each for each in fits if not compiled.fullmatch(each)] == []
    assert [each for each in does_not if compiled.fullmatch(each)] == []


def test_a_crashed_run_is_taken_up_and_what_returned_is_not_made_again(client: Client) -> None:
    @agent
    def works() -> str:
        return act("one") + act("two") + act("three")

    crashing = CrashingBackend(client._core.backend, after=4)
    with pytest.raises(Unavailable):
        Client(crashing).session("s").run(works)
    crashing.let_go()
    recorded = len([found for found in client.session("s").state().steps if found.outcome])
    assert recorded
    begun = list(made)
    assert Worker(client, works).run(once=True) == 1
    assert client.session("s").state().run.result == "ONETWOTHREE"  # type: ignore[union-attr]
    assert made[len(begun) :] == ["one", "two", "three"][recorded:]


def test_a_run_that_fails_is_tried_again_until_it_is_exhausted(client: Client) -> None:
    failing = [True]

    @agent
    def flaky() -> str:
        act("tried")
        if failing:
            raise ValueError("not yet")
        return "at last"

    with pytest.raises(ValueError, match="not yet"):
        client.session("s").run(flaky)
    with at_work(client, flaky, max_attempts=3, first_pause=0.001, longest_pause=0.01):
        until(client.session("s"), "exhausted")
    errors = [event for event in client.session("s").events() if event.type == "error"]
    assert len(errors) == 3
    assert made == ["tried"]
    failing.clear()
    with pytest.raises(RunExhausted):
        client.session("s").run(flaky)
    assert Worker(client, flaky).run(once=True) == 0


def test_how_often_it_failed_is_counted_by_its_events(client: Client) -> None:
    """Every attempt is another worker's, as after a restart; a step that came off begins the count anew."""
    rounds: list[int] = []
    workers: list[Worker] = []

    @agent
    def flaky() -> str:
        rounds.append(len(rounds) + 1)
        for each in workers:
            each.stop()
        if len(rounds) > 2:
            act("progress")
        if len(rounds) < 5:
            raise ValueError(len(rounds))
        return "at last"

    with pytest.raises(ValueError, match="1"):
        client.session("s").run(flaky)
    for status in ("failed", "failed", "failed", "finished"):
        workers[:] = [Worker(client, flaky, max_attempts=3, first_pause=0.0)]
        assert workers[0].run() == 1
        assert client.session("s").status() == status
    assert rounds == [1, 2, 3, 4, 5]


def test_pauses_double_and_are_kept_over_a_restart(client: Client) -> None:
    @agent
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        client.session("s").run(fails)
    size = client.session("s").state().index
    assert Worker(client, fails, first_pause=3600).run(once=True) == 0
    assert client.session("s").state().index == size, "it is not due for half an hour"


def test_a_message_begins_a_run_where_that_is_wanted(client: Client) -> None:
    @agent
    def answers(question: str) -> str:
        return act(question)

    said = {"role": "user", "parts": [{"type": "text", "text": "first"}, {"type": "text", "text": "line"}]}
    client.session("s").append("message", said, key="m1")
    assert Worker(client, answers).run(once=True) == 0
    with at_work(client, answers, on_message=True):
        assert finished(client, "s") == "FIRST\nLINE"
        client.session("s").append("message", {"text": "second"}, key="m2")
        until(client.session("s"), "finished", run="message m2")
    assert Worker(client, answers, on_message=True).run(once=True) == 0, "each message once"
    assert made == ["first\nline", "second"]
    assert [run.id for run in client.session("s").state().runs.values()] == ["message m1", "message m2"]


def test_what_an_inbox_read_begins_nothing(client: Client) -> None:
    @agent
    def talks(question: str) -> str:
        return question + inbox(wait=True)[0]["text"]

    client.session("s").append("message", {"text": "first"})
    with at_work(client, talks, on_message=True):
        until(client.session("s"), "waiting")
        client.session("s").append("message", {"text": "second"})
        assert finished(client, "s") == "firstsecond"
    assert len(client.session("s").state().runs) == 1


def test_a_fork_is_left_to_who_made_it(client: Client) -> None:
    session = client.session("s")
    waiting(lambda: session.run(asks, "x"))
    session.answer(session.questions()[0], "!")
    branch = session.fork("branch")
    earlier = session.fork("earlier", at=session.state().index - 1)
    session.cancel()
    assert Worker(client, asks).run(once=True) == 0
    assert branch.status() == "waiting"
    earlier.answer(earlier.questions()[0], "?")
    assert Worker(client, asks).run(once=True) == 1
    assert earlier.state().run.result == "X?"  # type: ignore[union-attr]


def test_a_child_that_was_answered_goes_on_and_its_parent_too(client: Client) -> None:
    @agent
    def parent() -> str:
        return spawn(asks, "child").result() + act("parent")

    for known in ([parent], [parent, asks]):
        made.clear()
        session = client.session(f"p{len(known)}")
        waiting(lambda session=session: session.run(parent))
        kid = client.session(f"{session.id}/0")
        with at_work(client, known):
            kid.answer(kid.questions()[0], "!")
            assert finished(client, session.id) == "CHILD!PARENT"
        assert made == ["child", "parent"]


def test_a_child_that_nobody_waits_for_is_begun_by_a_worker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentstream.agents import offspring

    @agent
    def child(name: str) -> str:
        return act(name)

    @agent
    def parent() -> None:
        spawn(child, "left")

    with monkeypatch.context() as patch:  # the process ends before the child's thread gets to anything
        patch.setattr(offspring.Child, "start", lambda self, in_loop: None)
        client.session("p").run(parent)
    assert client.session("p/0").status() is None
    fresh = Client(client._core.backend)
    assert Worker(fresh, child).run(once=True) == 1
    assert fresh.session("p/0").state().run.result == "LEFT"  # type: ignore[union-attr]


def test_a_run_that_is_stopped_for_good_is_not_tried_on_and_on(client: Client) -> None:
    @agent(name="works")
    def before() -> str:
        act("one")
        return ask("Well?")

    @agent(name="works")
    def after() -> str:
        act("other")
        return ask("Well?")

    session = client.session("s")
    waiting(lambda: session.run(before))
    session.answer(session.questions()[0], "!")
    claims = len([event for event in session.events() if event.type == "claim"])
    assert Worker(client, after).run(once=True) == 1
    assert made == ["one"]
    assert len([event for event in session.events() if event.type == "claim"]) == claims + 1
    assert Worker(client, before).run(once=True) == 1
    assert session.status() == "finished"


def test_stopping_lets_runs_come_to_their_end_or_interrupts_them(client: Client) -> None:
    begun, go = threading.Event(), threading.Event()

    @step
    def slow() -> str:
        begun.set()
        assert go.wait(30)
        return act("slow")

    @agent
    def works(question: str) -> str:
        return slow()

    @agent
    async def hangs(question: str) -> str:
        begun.set()
        await asyncio.Event().wait()
        return question

    client.session("s").append("message", {"text": "x"})
    with at_work(client, works, on_message=True, match="s") as worker:
        assert begun.wait(30)
        worker.stop()
        go.set()
    assert client.session("s").status() == "finished"

    begun.clear()
    client.session("t").append("message", {"text": "x"})
    with at_work(client, hangs, on_message=True, match="t", grace=0.0):
        assert begun.wait(30)
    assert client.session("t").status() == "abandoned", "interrupted, and nobody holds it"


def test_a_session_is_worked_on_by_one(client: Client) -> None:
    begun, go = threading.Event(), threading.Event()

    @step
    def slow() -> str:
        begun.set()
        assert go.wait(30)
        return act("slow")

    @agent
    def works(question: str) -> str:
        return slow()

    client.session("s").append("message", {"text": "x"})
    with at_work(client, works, on_message=True), at_work(client, works, on_message=True):
        assert begun.wait(30)
        with pytest.raises(SessionBusy):
            client.session("s").resume(works)
        go.set()
        until(client.session("s"), "finished")
    assert made == ["slow"]


def test_more_at_once_than_there_is_room_for(client: Client) -> None:
    @agent
    def works(question: str) -> str:
        return act(question)

    for number in range(12):
        client.session(f"s{number}").append("message", {"text": str(number)})
    assert Worker(client, works, on_message=True, concurrency=2).run(once=True) == 12
    assert sorted(made, key=int) == [str(number) for number in range(12)]


def test_what_a_worker_refuses(client: Client) -> None:
    with pytest.raises(ValueError, match="needs an agent"):
        Worker(client, [])
    with pytest.raises(ValueError, match="one name"):
        Worker(client, [asks, asks])
    with pytest.raises(ValueError, match="pattern"):
        Worker(client, asks, match="")
    with pytest.raises(ValueError, match="concurrency"):
        Worker(client, asks, concurrency=0)
    with pytest.raises(TypeError, match="text alone"):
        Worker(client, agent(lambda a, b: None), on_message=True)
    with pytest.raises(AgentStreamError, match="cannot be watched"):
        Worker(Client(HostileBackend()), asks)
