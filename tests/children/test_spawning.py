"""Children: sessions that a run begins, waits for or not, and ends with itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from acting import act, made
from crashing import CrashingBackend
from people_kit import waiting
from pydantic import BaseModel

from agentstream import (
    AgentStreamError,
    Client,
    Diverged,
    NotFound,
    OutcomeUnknown,
    RunCancelled,
    Session,
    SessionExists,
    Unavailable,
    agent,
    ask,
    current_session,
    sleep,
    spawn,
    step,
)
from agentstream.backends.base import Backend


class Point(BaseModel):
    x: int
    y: int = 0


@agent
def child(name: str) -> str:
    return act(name) + act(f"{name}!")


@agent
def parent(count: int) -> list[str]:
    children = [spawn(child, f"c{number}") for number in range(count)]
    return [each.result() for each in children]


def statuses(session: Session) -> dict[str, str | None]:
    return {node.id: node.status for node in session.tree().walk()}


def test_children_are_sessions_and_their_outcomes_steps(client: Client) -> None:
    session = client.session("p")
    assert session.run(parent, 3) == ["C0C0!", "C1C1!", "C2C2!"]
    assert statuses(session) == dict.fromkeys(["p", "p/0", "p/1", "p/2"], "finished")
    assert str(session.tree()).splitlines()[1] == "  p/0  finished  child"
    assert client.session("p/1").state().run.arguments == {"name": "c1"}  # type: ignore[union-attr]
    birth = client.session("p/1").state().events[0].value["parent"]
    assert birth["session"] == "p"
    assert birth["step"].startswith(birth["run"] + "/0/1#")

    raw = [event.raw for each in ("p", "p/0") for event in client.session(each).events()]
    assert session.replay(parent).identical
    assert client.session("p/1").replay(child).identical
    assert raw == [event.raw for each in ("p", "p/0") for event in client.session(each).events()]
    assert len(made) == 6


def test_typed_arguments_and_results(client: Client) -> None:
    @agent
    def moves(point: Point) -> Point:
        return Point(x=point.x + 1, y=point.y)

    @agent
    def moved() -> str:
        point = spawn(moves, Point(x=1)).result()
        assert isinstance(point, Point)
        return f"{point.x} {point.y}"

    session = client.session("p")
    assert session.run(moved) == "2 0"
    assert session.replay(moved).identical


def test_an_error_of_a_child_is_an_outcome(client: Client) -> None:
    @agent
    def breaks() -> None:
        made.append("in the agent")
        raise ValueError("broken")

    @agent
    def catches() -> str:
        try:
            spawn(breaks).result()
        except ValueError as error:
            return act(f"caught {error}")
        return "no error"

    session = client.session("p")
    assert session.run(catches) == "CAUGHT BROKEN"
    assert statuses(session) == {"p": "finished", "p/0": "failed"}
    assert made.count("in the agent") == 1, "it is not run again to know how it ended"
    assert session.replay(catches).identical


def test_crashed_after_every_append_nothing_that_returned_is_made_again(client: Client, backend: Backend) -> None:
    again: set[str] = set()
    for after in range(1, 80):
        made.clear()
        failing = CrashingBackend(backend, after=after)
        try:
            Client(failing).session(f"p{after}").run(parent, 2)
        except Unavailable:
            pass
        else:
            break
        for each in threading.enumerate():  # the children of the crashed process
            if each.name.startswith(f"agentstream-child-p{after}/"):
                each.join()
        failing.let_go()
        session = Client(backend).session(f"p{after}")
        recorded = [name for node in _nodes(session) for name in _acted(client.session(node))]
        made.clear()
        assert session.run(parent, 2) == ["C0C0!", "C1C1!"]
        again |= set(made)
        assert not set(made) & set(recorded), after
        assert [node.id for node in session.tree().walk()] == [f"p{after}", f"p{after}/0", f"p{after}/1"]
        assert session.replay(parent).identical
    else:
        raise AssertionError("the run never came to its end")
    assert again == {"c0", "c0!", "c1", "c1!"}


def _nodes(session: Session) -> list[str]:
    try:
        return [node.id for node in session.tree().walk()]
    except NotFound:
        return []


def _acted(session: Session) -> list[str]:
    try:
        return [found.input["name"] for found in session.state().steps if found.name == "act" and found.outcome]
    except NotFound:
        return []


def test_a_child_that_asks_makes_its_parents_wait(client: Client) -> None:
    @agent
    def asks() -> str:
        return act(ask("Which?"))

    @agent
    def between() -> str:
        return spawn(asks).result()

    @agent
    def top() -> str:
        return act("top") + spawn(between).result()

    session = client.session("p")
    stopped = waiting(lambda: session.run(top))
    assert [question.prompt for question in stopped.questions] == ["Which?"]
    assert "'p/1'" in str(stopped)
    assert statuses(session) == dict.fromkeys(["p", "p/1", "p/1/0"], "waiting")
    assert waiting(lambda: session.run(top)).questions, "asked again it waits again"

    asker = client.session("p/1/0")
    assert [question.session for question in stopped.questions] == [asker.id]
    with pytest.raises(NotFound, match="'p' has no question"):
        session.answer(stopped.questions[0].key, "this")
    session.answer(stopped.questions[0], "this")  # the question says whose it is
    assert session.run(top) == "TOPTHIS"
    assert made == ["top", "this"]
    assert session.replay(top).identical


def test_a_child_that_sleeps_tells_its_parent_until_when(client: Client) -> None:
    @agent
    def sleeps() -> None:
        sleep(3600)

    @agent
    def top() -> None:
        spawn(sleeps).result()

    until = waiting(lambda: client.session("p").run(top)).until
    assert until is not None
    assert until == waiting(lambda: client.session("p/0").resume(sleeps)).until


def test_cancelling_goes_down(client: Client) -> None:
    @agent
    def asks() -> None:
        ask("Well?")

    @agent
    def between() -> None:
        spawn(asks).result()

    @agent
    def top() -> None:
        ended = spawn(child, "done")
        ended.result()
        spawn(between).result()

    session = client.session("p")
    waiting(lambda: session.run(top))
    assert session.cancel()
    assert statuses(session) == {"p": "cancelled", "p/0": "finished", "p/2": "cancelled", "p/2/0": "cancelled"}
    assert not session.cancel()
    assert client.session("p/2/0").questions() == []


def test_a_child_is_cancelled_while_it_works(client: Client) -> None:
    begun, go = threading.Event(), threading.Event()

    @step
    def blocks() -> None:
        begun.set()
        assert go.wait(30)

    @agent
    def works() -> None:
        blocks()
        act("after")

    @agent
    def top() -> list[Any]:
        worker = spawn(works)
        hold(0)
        cancelled = [worker.status(), worker.cancel(), worker.cancel(), worker.status()]
        go.set()
        with pytest.raises(RunCancelled):
            worker.result()
        return cancelled

    @step
    def hold(_: int) -> None:
        assert begun.wait(30)

    session = client.session("p")
    assert session.run(top) == ["running", True, False, "cancelled"]
    assert made == []
    assert session.replay(top).identical


def test_a_child_cancelled_before_it_began_is_never_begun(client: Client, backend: Backend) -> None:
    """The process ends between making the child and beginning it: its parent is cancelled by somebody else."""
    from agentstream.agents import offspring

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offspring.Child, "start", lambda self, in_loop: self.done.set_exception(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            client.session("p").run(parent, 1)
    fresh = Client(backend)
    assert statuses(fresh.session("p"))["p/0"] is None
    assert fresh.session("p").cancel()
    assert statuses(fresh.session("p")) == {"p": "cancelled", "p/0": "cancelled"}
    with pytest.raises(NotFound):
        fresh.session("p/0").resume(child)


def test_a_fork_of_the_parent_waits_for_the_same_child_and_does_not_cancel_it(client: Client) -> None:
    @agent
    def asks() -> str:
        return ask("Well?")

    @agent
    def top() -> str:
        return spawn(asks).result()

    session = client.session("p")
    waiting(lambda: session.run(top))
    branch = session.fork("branch")
    assert [node.id for node in branch.tree().walk()] == ["branch"]
    assert branch.cancel()
    assert statuses(session) == {"p": "waiting", "p/0": "waiting"}

    other = session.fork("other")
    kid = client.session("p/0")
    kid.answer(kid.questions()[0], "yes")
    assert other.run(top) == session.run(top) == "yes"


def test_a_forked_child_shares_what_its_parent_knows(client: Client) -> None:
    @agent
    def looks(way: str) -> list[Any]:
        state = current_session().state()
        seen = [found.result for found in state.steps if found.name == "act"]  # type: ignore[union-attr]
        return [way, seen, act(way)]

    @agent
    def compares() -> list[Any]:
        act("shared")
        ways = [spawn(looks, way, fork=True) for way in ("left", "right")]
        results = [way.result() for way in ways]
        return max(results, key=lambda result: result[0])

    session = client.session("p")
    assert session.run(compares) == ["right", ["SHARED"], "RIGHT"]
    assert statuses(session) == dict.fromkeys(["p", "p/1", "p/2"], "finished")
    assert made == ["shared", "left", "right"] or made == ["shared", "right", "left"]
    assert session.replay(compares).identical
    kid = client.session("p/1")
    assert kid.state().lineage.source == "p"  # type: ignore[union-attr]
    assert kid.replay(looks).identical
    assert not kid.cancel(), "the parent's open run, which it shares, is not its own"
    assert kid.run(child, "more") == "MOREMORE!", "nor is it in the way of another one"


def test_a_name_that_is_taken(client: Client) -> None:
    client.session("taken").append("custom", 1)

    @agent
    def top() -> str:
        try:
            spawn(child, "x", session="taken")
        except SessionExists as error:
            act(type(error).__name__)
        return spawn(child, "y", session="free").result()

    session = client.session("p")
    assert session.run(top) == "YY!"
    assert statuses(session) == {"p": "finished", "free": "finished"}
    assert session.replay(top).identical


def test_a_name_in_the_way_of_an_ordinary_one_is_gone_round(client: Client) -> None:
    client.session("p/0").append("custom", 1)
    assert client.session("p").run(parent, 1) == ["C0C0!"]
    assert statuses(client.session("p")) == {"p": "finished", "p/0-2": "finished"}


def test_after_a_rewind_another_child_is_begun(client: Client) -> None:
    session = client.session("p").with_options(run_id="r")
    session.run(parent, 1)
    index = next(event.index for event in session.events() if event.type == "step")
    session.rewind(at=index)
    assert session.run(parent, 1) == ["C0C0!"]
    assert statuses(session) == {"p": "finished", "p/0-2": "finished"}
    assert made == ["c0", "c0!"] * 2


def test_a_child_that_is_gone(client: Client) -> None:
    @agent
    def asks() -> str:
        return ask("Well?")

    @agent
    def top() -> str:
        return spawn(asks).result()

    session = client.session("p")
    waiting(lambda: session.run(top))
    client.session("p/0").delete()
    assert statuses(session) == {"p": "waiting", "p/0": None}
    with pytest.raises(NotFound, match="p/0"):
        session.run(top)


def test_what_stops_a_child_stops_its_parent(client: Client) -> None:
    crash = [True]

    @step(effect="once")
    def pays() -> str:
        made.append("paid")
        if crash:
            raise KeyboardInterrupt
        return "paid"

    @agent
    def buys() -> str:
        return pays()

    @agent
    def top() -> str:
        try:
            return spawn(buys).result()
        except Exception:
            return "swallowed"

    session = client.session("p")
    with pytest.raises(AgentStreamError, match="KeyboardInterrupt"):
        session.run(top)
    with pytest.raises(OutcomeUnknown) as caught:
        session.run(top)
    client.session("p/0").resolve(caught.value.step, "it was")
    crash.clear()
    assert session.run(top) == "it was"
    assert made == ["paid"]


def test_a_child_asked_otherwise_diverges(client: Client) -> None:
    asked = ["first"]

    @agent
    def top() -> str:
        return spawn(child, asked[0]).result() + ask("Well?")

    session = client.session("p")
    waiting(lambda: session.run(top))
    session.answer(session.questions()[0], "!")
    asked[:] = ["second"]
    with pytest.raises(Diverged):
        session.run(top)
    assert made == ["first", "first!"]


def test_spawning_is_for_a_run(client: Client) -> None:
    with pytest.raises(AgentStreamError, match="outside a run"):
        spawn(child, "x")

    @step
    def inside() -> None:
        spawn(child, "x")

    @agent
    def top() -> None:
        inside()

    with pytest.raises(AgentStreamError, match="inside a step"):
        client.session("p").run(top)
