"""An error is an outcome: raised first as it is, later as the record has it, and tried again where nobody saw it."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from typing import Any

import pytest
from agents_kit import Way
from failing import FailingBackend

from agentstream import AsyncClient, Client, NotSerializable, OutcomeUnknown, ReplayedError, Unavailable, agent, step

pytestmark = pytest.mark.usefixtures("unhurried")


class Refusal(Exception):
    """An exception that cannot be made from its text."""

    def __init__(self, code: int, *, name: str) -> None:
        super().__init__(f"{name} was refused with {code}")
        self.code = code
        self.name = name
        self.response = object()


def lives(backend: Any, way: Way, make: Callable[[], Any], after: int) -> tuple[Any, Any]:
    """What an agent comes to when it is crashed after so many appends, and when it goes on."""
    with pytest.raises(Unavailable):
        way.run(FailingBackend(backend, after=after), make())
    return way.run(backend, make()), way.replay(backend, make())


@pytest.mark.parametrize(
    ("raised", "caught", "shown"),
    [
        (ValueError("no such thing"), ValueError, "ValueError('no such thing') ('no such thing',)"),
        (KeyError("x"), LookupError, "KeyError('x') ('x',)"),
        (KeyError(), KeyError, "KeyError() ()"),
        (Refusal(7, name="it"), Refusal, "Refusal(7, 'it')"),
        (OSError(errno.ENOENT, "not there"), FileNotFoundError, "FileNotFoundError 2 not there"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError, "bad at 0"),
        (asyncio.QueueEmpty("none"), asyncio.QueueEmpty, "QueueEmpty('none') ('none',)"),
    ],
)
def test_raised_again(backend: Any, way: Way, raised: Exception, caught: type[Exception], shown: str) -> None:
    seen: list[Exception] = []

    def look(error: Exception) -> str:
        if isinstance(error, Refusal):
            return f"Refusal({error.code}, {error.name!r})"
        if isinstance(error, FileNotFoundError):
            return f"FileNotFoundError {error.errno} {error.strerror}"
        if isinstance(error, UnicodeDecodeError):
            return f"{error.reason} at {error.start}"
        return f"{type(error).__name__}{error.args!r} {error.args!r}".replace(",)", ")", 1)

    @step
    @way.of
    def fail() -> None:
        raise raised

    @step
    @way.of
    def after(what: str) -> str:
        return what

    def body() -> Any:
        try:
            yield fail
        except caught as error:
            seen.append(error)
            said = look(error)
            return (yield lambda: after(said))

    def make() -> Any:
        return way.agent(body)

    result, report = lives(backend, way, make, 4)
    assert report.identical
    assert result == shown
    assert seen[0] is raised
    assert not isinstance(seen[0], ReplayedError)
    assert isinstance(seen[1], ReplayedError)
    assert str(seen[1]) == str(raised)


def test_a_class_that_is_gone(backend: Any, way: Way) -> None:
    """Nothing is imported because a record names it."""
    seen: list[ReplayedError] = []
    gone = type("Gone", (Exception,), {"__module__": "nowhere.to.be.found"})

    @step
    @way.of
    def fail() -> None:
        error = gone("lost", 5)
        error.where = "here"  # type: ignore[attr-defined]
        raise error

    @step
    @way.of
    def after() -> int:
        return 1

    def body() -> Any:
        try:
            yield fail
        except Exception as error:
            seen.append(error)  # type: ignore[arg-type]
        return (yield after)

    lives(backend, way, lambda: way.agent(body), 4)
    assert (seen[1].name, seen[1].fields) == ("Gone", {"where": "here"})
    assert type(seen[1]) is ReplayedError


def test_an_error_nobody_saw_is_tried_again(backend: Any, way: Way) -> None:
    attempts: list[int] = []

    @step
    @way.of
    def flaky() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("down")
        return "up"

    def body() -> Any:
        return (yield flaky)

    agent = way.agent(body)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            way.run(backend, agent)
    session = Client(backend).session("s")
    assert session.state().status == "failed"
    assert way.run(backend, agent) == "up"
    (found,) = session.state().steps
    assert [attempt.number for attempt in found.attempts] == [1, 2, 3]
    assert [("error" in attempt.outcome.value) for attempt in found.attempts if attempt.outcome] == [True, True, False]


@pytest.mark.parametrize("effect", ["repeat", "once"])
def test_a_child_that_has_ended_has_seen_its_errors(backend: Any, effect: Any) -> None:
    """What it returned says what it made of them. Tried again, a `once` step would be in a run that nobody resolves."""
    made: list[str] = []
    broken = True

    @step(effect=effect)
    def fail() -> None:
        made.append("fail")
        raise ValueError("no")

    @agent
    def inner() -> str:
        try:
            fail()
        except ValueError:
            return "did without"
        return "had it"

    @agent
    def child() -> str:
        return inner()

    @agent
    def whole() -> str:
        told = child()
        if broken:
            raise KeyError("crash")
        return told

    session = Client(backend).session("s")
    with pytest.raises(KeyError):
        session.run(whole)
    broken = False
    assert session.run(whole) == "did without"
    assert made == ["fail"]
    assert session.replay(whole).identical


def test_who_saw_an_error(backend: Any) -> None:
    """A step begun after it in its lane, in an enclosing one, or in a lane opened later; not one of a sibling."""

    def tried_again(later: str) -> bool:
        ran: list[str] = []
        crash = True

        @step
        async def fail() -> None:
            ran.append("fail")
            raise ValueError("no")

        @step
        async def work(name: str) -> str:
            ran.append(name)
            return name

        async def failing() -> None:
            await started.wait()
            try:
                await fail()
            finally:
                failed.set()
            raise AssertionError

        async def lane(name: str) -> None:
            await work(f"{name} begins")
            started.set()
            await failed.wait()
            if later == "sibling":
                await work("later")

        async def go() -> str:
            if later == "enclosing":
                await work("root begins")
            await asyncio.gather(failing(), lane("sibling"), return_exceptions=True)
            if later == "enclosing":
                await work("later")
            if later == "opened later":
                await asyncio.create_task(work("later"))
            if crash:
                raise KeyError("crash")
            return "done"

        async def main() -> None:
            nonlocal started, failed
            started, failed = asyncio.Event(), asyncio.Event()
            await AsyncClient(backend).session(later).run(go)

        started = failed = asyncio.Event()
        with pytest.raises(KeyError):
            asyncio.run(main())
        ran.clear()
        crash = False
        asyncio.run(main())
        return ran == ["fail"]

    assert [tried_again(later) for later in ("nothing", "sibling", "enclosing", "opened later")] == [
        True,
        True,
        False,
        False,
    ]


def test_retries(backend: Any, way: Way) -> None:
    attempts: list[int] = []

    @step(retries=2)
    @way.of
    def flaky(needed: int) -> int:
        attempts.append(needed)
        if len(attempts) < needed:
            raise ConnectionError(f"attempt {len(attempts)}")
        return len(attempts)

    def body(needed: int) -> Any:
        return (yield lambda: flaky(needed))

    agent = way.agent(body)
    assert way.run(backend, agent, 3) == 3
    (found,) = Client(backend).session("s").state().steps
    assert len(found.attempts) == 3
    attempts.clear()
    with pytest.raises(ConnectionError, match="attempt 3"):
        way.run(backend, agent, 9, session="t")
    assert len(attempts) == 3


def test_a_result_without_a_form_is_not_made_again(backend: Any, way: Way) -> None:
    ran: list[int] = []

    @step(retries=3)
    @way.of
    def make() -> Any:
        ran.append(1)
        return {"an": object()}

    def body() -> Any:
        return (yield make)

    agent = way.agent(body)
    for _ in range(2):
        with pytest.raises(NotSerializable, match=r"result of make\['an'\]|result of make\.an|make"):
            way.run(backend, agent)
    assert ran == [1]


def test_an_argument_without_a_form(backend: Any, way: Way) -> None:
    ran: list[Any] = []

    @step
    @way.of
    def use(thing: Any) -> int:
        ran.append(thing)
        return 1

    @step(key=lambda thing: str(type(thing)))
    @way.of
    def use_by_key(thing: Any) -> int:
        ran.append(thing)
        return 1

    def body() -> Any:
        with pytest.raises(NotSerializable, match="key="):
            yield lambda: use(object())
        return (yield lambda: use_by_key(object()))

    assert way.run(backend, way.agent(body)) == 1
    assert len(ran) == 1


def test_timeout(backend: Any, way: Way) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    def blocked() -> None:
        threading.Event().wait(5)

    work = step(name="late", timeout=0.01)(forever if way.is_async else blocked)
    once = step(name="once", timeout=0.01, effect="once")(forever if way.is_async else blocked)

    @step
    @way.of
    def after() -> int:
        return 1

    def body() -> Any:
        try:
            yield work
        except TimeoutError as error:
            assert "0.01 s" in str(error)  # noqa: PT017
        return (yield after)

    result, report = lives(backend, way, lambda: way.agent(body), 4)
    assert (result, report.identical) == (1, True)

    def unknown() -> Any:
        yield once

    with pytest.raises(OutcomeUnknown):
        way.run(backend, way.agent(unknown), session="t")


def test_a_step_that_raises_stop_iteration(backend: Any) -> None:
    @step
    def empty() -> int:
        return next(iter(()))

    @agent
    def go() -> str:
        try:
            empty()
        except StopIteration:
            return "empty"
        return "?"

    assert Client(backend).session("s").run(go) == "empty"


def test_a_resolved_error_is_seen_once(backend: Any, way: Way) -> None:
    """What a person said is given to the code; where the run fails with it, the next run tries again."""
    ran: list[int] = []

    @step(effect="once")
    @way.of
    def pay() -> str:
        ran.append(1)
        if len(ran) == 1:
            dying.after = 0
        return "paid"

    def body() -> Any:
        return (yield pay)

    dying = FailingBackend(backend, after=100)
    agent = way.agent(body)
    with pytest.raises(Unavailable):
        way.run(dying, agent)
    session = Client(backend).session("s").with_options(take_over=True)
    session.resolve(session.state().steps[0].key, error=PermissionError("never happened"))
    with pytest.raises(PermissionError, match="never happened"):
        way.run(backend, agent)
    assert ran == [1]
    assert way.run(backend, agent) == "paid"
