"""A lone lane that is crashed after every append, and what a `once` step's start is for."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from agents_kit import WatchingBackend, Way
from failing import FailingBackend

from agentstream import Client, OutcomeUnknown, Unavailable, current_step, recorded, step


class Outside:
    """Five steps of every effect, and what was done by whom."""

    def __init__(self, way: Way) -> None:
        self.did: list[str] = []
        self.got: dict[str, Any] = {}

        def effect(kind: str) -> Any:
            def act(name: str) -> str:
                self.did.append(name)
                return f"{name} done"

            return step(name=f"{kind} step", effect=kind)(way.of(act))  # type: ignore[call-overload]

        self.repeat, self.once, self.pure = effect("repeat"), effect("once"), effect("pure")

        def agent_body(count: int) -> Any:
            for number in range(count):
                for make in (self.repeat, self.once):
                    name = f"{number} {make.__name__} {make is self.once}"
                    self.got[name] = yield lambda make=make, name=name: make(name)
            self.got["none"] = yield lambda: nothing()
            return dict(self.got)

        @step
        @way.of
        def nothing() -> None:
            self.did.append("none")

        self.agent = way.agent(agent_body)


@pytest.mark.usefixtures("unhurried")
def test_nothing_that_returned_is_done_again(backend: Any, way: Way) -> None:
    got: dict[str, Any] = {}
    unknown = 0
    for after in range(1, 60):
        outside = Outside(way)
        failing = FailingBackend(backend, after=after)
        try:
            result = way.run(failing, outside.agent, 3, session=f"s{after}")
        except Unavailable:
            got = dict(outside.got)
        else:
            assert result == outside.got
            assert after > 8
            break
        again = Outside(way)
        try:
            result = way.run(backend, again.agent, 3, session=f"s{after}")
        except OutcomeUnknown as error:
            unknown += 1
            session = Client(backend).session(f"s{after}")
            assert [found.key for found in session.unresolved()] == [error.step]  # noqa: PT017
            assert again.did == []
            session.resolve(error.step, "it was")
            again = Outside(way)
            result = way.run(backend, again.agent, 3, session=f"s{after}")
            assert "it was" in result.values()
        assert not set(got) & set(again.did)
        assert result.keys() == {*(f"{n} act {once}" for n in range(3) for once in (False, True)), "none"}
        assert result["none"] is None
    else:
        raise AssertionError("the run never came to its end")
    assert unknown == 3  # once for each start of a `once` step that had no outcome


@pytest.mark.usefixtures("unhurried")
def test_appends_a_step(backend: Any, way: Way) -> None:
    """`repeat` is one append and `once` two; `pure` rides along, but is durable before the next step acts."""
    watching = WatchingBackend(backend)
    seen: list[list[str]] = []

    @step
    @way.of
    def repeat() -> int:
        seen.append(list(itertools.chain(*watching.appends)))
        return 1

    @step(effect="once")
    @way.of
    def once() -> int:
        seen.append(list(itertools.chain(*watching.appends)))
        return 2

    @step(effect="pure")
    @way.of
    def pure() -> int:
        return 3

    def body() -> Any:
        before = len(watching.appends)
        yield repeat
        assert [*watching.appends[before:]] == [["step", "outcome"]]
        before = len(watching.appends)
        yield once
        assert watching.appends[before:] == [["step"], ["outcome"]]
        before = len(watching.appends)
        yield pure
        assert watching.appends[before:] == []
        yield repeat
        assert watching.appends[before:] == [["step", "outcome", "step"], ["outcome"]]
        return None

    way.run(watching, way.agent(body))
    assert seen[1][-1] == "step"  # the start of `once` was durable when it acted
    assert seen[2][-3:] == ["step", "outcome", "step"]  # and so was the outcome of `pure`


def test_a_crash_in_the_effect(backend: Any, way: Way) -> None:
    """With the same idempotency key it is done again; another one after a rewind and in a fork."""
    seen: list[tuple[str, int]] = []
    crash = True

    @step
    @way.of
    def work() -> int:
        now = current_step()
        seen.append((now.idempotency_key, now.attempt))
        if crash:
            dying.after = 0
        return 1

    def body() -> Any:
        return (yield work)

    dying = FailingBackend(backend, after=100)
    agent = way.agent(body)
    with pytest.raises(Unavailable):
        way.run(dying, agent)
    crash = False
    assert way.run(backend, agent) == 1
    assert seen[0][0] == seen[1][0]
    session = Client(backend).session("s")
    start = next(event for event in session.events() if event.type == "step")
    session.fork("other", start.index)
    assert way.run(backend, agent, session="other") == 1
    session.rewind(start.index)
    assert way.run(backend, agent) == 1
    assert len({key for key, _ in seen}) == 3


def test_clock_and_chance(backend: Any, way: Way) -> None:
    """What nobody wrote yet comes out the same, for uuid4 and random; the time once it was acted upon."""
    lives: list[list[Any]] = []
    crash_at = 0

    @step
    @way.of
    def act() -> int:
        if crash_at == 2:
            dying.after = 0
        return 1

    def body() -> Any:
        values = [recorded.uuid4(), recorded.random(), recorded.uuid4(), recorded.now()]
        lives.append(values)
        if crash_at == 1:
            dying.after = 0
        yield act
        return [str(value) for value in values]

    agent = way.agent(body)
    results = []
    for crash_at in (1, 2, 0):
        dying = FailingBackend(backend, after=100)
        if crash_at:
            with pytest.raises(Unavailable):
                way.run(dying, agent)
        else:
            results = way.run(dying, agent)
    assert lives[0][:3] == lives[1][:3] == lives[2][:3]
    assert lives[0][0] != lives[0][2]
    assert lives[1][3] == lives[2][3]
    assert results == [str(value) for value in lives[2]]
    assert way.replay(backend, agent).identical


def test_an_interrupt_is_resumed(backend: Any, way: Way) -> None:
    """KeyboardInterrupt in a step: its code may tidy up, but nothing of that is recorded."""
    interrupt = True
    did: list[str] = []

    @step
    @way.of
    def work(name: str) -> str:
        did.append(name)
        if interrupt and name == "second":
            raise SystemExit(3)
        return name

    def body() -> Any:
        yield lambda: work("first")
        try:
            yield lambda: work("second")
        finally:
            if interrupt:
                yield lambda: work("tidy up")
        return "done"

    agent = way.agent(body)
    with pytest.raises(SystemExit):
        way.run(backend, agent)
    assert did == ["first", "second"]
    interrupt = False
    assert way.run(backend, agent) == "done"
    assert did == ["first", "second", "second"]


def test_the_run_belongs_to_one_worker(backend: Any, way: Way) -> None:
    """An append refused for good stops the run, whatever its code does about it."""

    @step
    @way.of
    def work(number: int) -> int:
        if number == 1:
            dying.after = 0
        return number

    def body() -> Any:
        for number in range(3):
            try:
                yield lambda number=number: work(number)
            except BaseException:
                reached.append(number)
        return "all is well"

    reached: list[int] = []
    dying = FailingBackend(backend, after=100)
    with pytest.raises(Unavailable):
        way.run(dying, way.agent(body))
    assert reached == [1, 2]
