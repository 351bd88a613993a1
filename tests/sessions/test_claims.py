"""Claims, and what is settled under one: cancelling, rewinding, resolving. On every store."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hostile import HostileBackend

from agentstream import Client, Fenced, NotFound, OutcomeUnknown, SessionBusy, agent, step
from agentstream.backends.base import LeaseHeld, TakeLease
from agentstream.backends.driving import drive
from agentstream.protocol.errors import StaleEpoch
from agentstream.protocol.operations import Append, Producer
from agentstream.sessions.claims import WORKER, release, under_claim, win
from agentstream.sessions.core import Core
from agentstream.sessions.log import extend, open_log
from agentstream.sessions.state import fold


class Crash(BaseException):
    """Ends a run as a kill would: nothing is written any more."""


@step(effect="once")
def send(to: str) -> str:
    raise Crash


@step
def look(what: str) -> str:
    return what.upper()


@agent
def sender(to: str) -> str:
    return look(to) + send(to)


def opened(backend: Any, id: str = "s") -> Any:
    log = drive(open_log(id), backend)
    assert log is not None
    return log


def started(backend: Any) -> Any:
    session = Client(backend).session("s")
    session.append("note", 1)
    return session


def test_claims_are_numbered_in_the_log(client: Client, backend: Any) -> None:
    started(backend)
    for number in (1, 2, 3):
        log = opened(backend)
        claim = drive(win(log, run="r"), backend)
        assert claim.number == number == log.events[claim.index].claim
        assert fold(log).claim == log.events[claim.index]
        with pytest.raises(SessionBusy, match="living worker"):
            drive(win(opened(backend)), backend)
        drive(release(claim), backend)


def test_taking_over_fences(backend: Any) -> None:
    started(backend)
    first = drive(win(opened(backend)), backend)
    second = drive(win(opened(backend), take_over=True), backend)
    assert (first.number, second.number) == (1, 2)
    message = b'{"type":"message","key":"%s","value":{"claim":%d},"headers":{"operation":"insert"}}'
    with pytest.raises(StaleEpoch):
        backend.execute(Append("s", (message % (b"late", 1),), producer=first.producer(1)))
    backend.execute(Append("s", (message % (b"unfenced", 1), message % (b"good", 2))))  # a server that does not fence
    assert [event.mark for event in Client(backend).session("s").events()][-2:] == ["fenced", None]
    for claim in (first, second):
        drive(release(claim), backend)


def test_a_claim_with_a_lost_reply_is_won_once() -> None:
    lost: list[Any] = []
    backend = HostileBackend()
    started(backend)
    backend.drop_replies = lambda op: isinstance(op, Append) and not lost and not lost.append(op)
    claim = drive(win(opened(backend)), backend)
    assert claim.number == 1
    assert [event.type for event in opened(backend).events].count("claim") == 1


def test_a_claim_that_was_written_twice_is_won_once() -> None:
    """The reply is lost and the server forgets the producer: the same claim stands in the log two times."""
    backend = HostileBackend()
    started(backend)
    lost: list[Any] = []

    def lose(operation: Any) -> bool:
        if isinstance(operation, Append) and not lost:
            lost.append(operation)
            for log in backend._logs.values():
                log.producers.clear()
            return True
        return False

    backend.drop_replies = lose
    claim = drive(win(opened(backend)), backend)
    claims = [event for event in opened(backend).events if event.type == "claim"]
    assert [(event.claim, event.mark) for event in claims] == [(1, None), (1, "fenced")]
    assert claim.index == claims[0].index


class Rival(HostileBackend):
    """Another worker claims just before this one does, on a server that fences nobody."""

    rival: Any = None

    def execute(self, operation: Any) -> Any:
        if self.rival is not None and isinstance(operation, Append) and b'"claim"' in operation.body[0]:
            rival, self.rival = self.rival, None
            rival()
            self.restart()
        return super().execute(operation)


@pytest.mark.parametrize("alive", [True, False])
def test_of_two_claims_of_one_number_the_first_in_the_log_wins(alive: bool) -> None:
    backend = Rival()
    started(backend)
    rivals: list[Any] = []
    backend.rival = lambda: rivals.append(drive(win(opened(backend)), backend))
    log = opened(backend)
    if alive:
        with pytest.raises(SessionBusy):
            drive(win(log), backend)
        winner = rivals[0]
    else:
        backend.rival = lambda: drive(release(drive(win(opened(backend)), backend)), backend)
        winner = drive(win(log), backend)
    events = opened(backend).events
    claims = [(event.claim, event.mark) for event in events if event.type == "claim"]
    assert claims == ([(1, None), (1, "fenced")] if alive else [(1, None), (1, "fenced"), (2, None)])
    held = fold(opened(backend)).claim
    assert held is not None
    assert held.value["nonce"] == winner.nonce
    assert backend._leases == {("s", winner.nonce)}, "who lost lets go of the lease"


def test_a_number_that_only_the_server_knows_is_passed() -> None:
    """The log lost its tail in a crash, the server still fences by it."""
    backend = HostileBackend()
    started(backend)
    backend.execute(Append("s", (b"1",), producer=Producer(WORKER, 7, 0)))
    assert drive(win(opened(backend)), backend).number == 8


@pytest.mark.parametrize("many", [8])
def test_threads_that_claim_at_once_win_one_after_the_other(backend: Any, many: int) -> None:
    started(backend)
    numbers: list[int] = []
    busy: list[SessionBusy] = []
    start = threading.Barrier(many)

    def take() -> None:
        start.wait()
        try:
            claim = drive(win(opened(backend)), backend)
            numbers.append(claim.number)
            drive(release(claim), backend)
        except SessionBusy as error:
            busy.append(error)

    threads = [threading.Thread(target=take) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) + len(busy) == many
    assert numbers
    assert len(set(numbers)) == len(numbers)
    counted = [event.claim for event in opened(backend).events if event.type == "claim" and event.mark is None]
    assert counted == sorted(counted)
    assert set(numbers) <= set(counted)


def test_under_a_claim_what_came_in_between_counts(backend: Any) -> None:
    started(backend)
    core = Core(backend)
    seen: list[int] = []

    def build(state: Any) -> list[dict[str, Any]]:
        seen.append(state.index)
        if len(seen) == 1:
            Client(backend).session("s").append("note", "meanwhile")
        return []

    drive(under_claim(core, "s", build, close=True), backend)
    assert seen == [2, 4]


def test_what_is_done_under_a_claim_that_was_lost_is_fenced() -> None:
    backend = HostileBackend()
    session = started(backend)

    def build(state: Any) -> list[dict[str, Any]]:
        if state.claim is not None:
            drive(win(opened(backend), take_over=True), backend)
        return [{"kind": "rewind", "key": "r", "value": {"to": 0}}]

    with pytest.raises(Fenced, match="taken over by another worker after claim 1"):
        drive(under_claim(Core(backend), "s", build), backend)
    assert session.state().last_rewind == 0
    assert len(backend._leases) == 1, "its own lease is dropped"


def test_a_duplicate_that_was_never_retried_is_fenced() -> None:
    backend = HostileBackend()
    session = started(backend)

    def build(state: Any) -> list[dict[str, Any]]:
        if state.claim is not None:  # somebody else writes under this very number
            backend.execute(Append("s", (b"0",), producer=Producer(WORKER, state.claim.claim, 1)))
        return [{"kind": "rewind", "key": "r", "value": {"to": 0}}]

    with pytest.raises(Fenced):
        drive(under_claim(Core(backend), "s", build), backend)
    assert not session.state().last_rewind


def test_settling_waits_for_a_living_worker_unless_it_takes_over(backend: Any) -> None:
    session = started(backend)
    claim = drive(win(opened(backend)), backend)
    for busy in (lambda: session.rewind(at=1), session.seal):
        with pytest.raises(SessionBusy):
            busy()
    assert backend.execute(LeaseHeld("s", claim.nonce))
    session.with_options(take_over=True).rewind(at=1)
    assert session.state().last_rewind
    drive(release(claim), backend)


# --- rewinding --------------------------------------------------------------------------------------------------------


def test_a_rewind_takes_back_and_shows(client: Client) -> None:
    session = client.session("s")
    events = [session.append("note", n, key=str(n)) for n in range(4)]
    for at in (events[1], events[1].position, 3):
        session.append("note", "more")
        session.rewind(at=at)
        assert [event.value for event in session.state().of_type("note")] == [0, 1]
    marks = {event.mark for event in session.events() if event.type == "note" and event.index > 2}
    assert marks == {"rewound"}
    assert session.append("note", "again", key="3").mark is None
    assert [event.value for event in session.state().of_type("note")] == [0, 1, "again"]
    assert [event.value for event in session.state(at=5).of_type("note")] == [0, 1, 2, 3]


def test_a_run_that_was_rewound_can_be_made_again_under_its_id(client: Client) -> None:
    calls: list[int] = []

    @step
    def count(n: int) -> int:
        calls.append(n)
        return n

    @agent
    def counter(n: int) -> int:
        return count(n)

    session = client.session("s").with_options(run_id="mine")
    session.append("note", 0)
    assert session.run(counter, 1) == session.run(counter, 1) == 1
    session.rewind(at=2)
    assert session.state().runs == {}
    assert session.run(counter, 2) == session.run(counter, 2) == 2
    assert calls == [1, 2]
    assert session.state().runs["mine"].arguments == {"n": 2}


def test_a_fork_rewinds_into_what_it_inherits(client: Client) -> None:
    source = client.session("s")
    for n in range(4):
        source.append("note", n)
    before = [event.raw for event in source.events()]
    fork = source.fork("f")
    fork.rewind(at=2)
    assert [event.value for event in fork.state().of_type("note")] == [0]
    assert fork.state().lineage is not None
    assert [event.raw for event in source.events()] == before


# --- resolving --------------------------------------------------------------------------------------------------------


def crashed(client: Client) -> Any:
    session = client.session("s")
    with pytest.raises(Crash):
        session.run(sender, "a")
    return session


def test_an_unknown_step_is_shown_and_resolved(client: Client) -> None:
    session = crashed(client)
    (unknown,) = session.unresolved()
    assert (unknown.name.rpartition(".")[2], unknown.effect, unknown.status) == ("send", "once", "running")
    assert session.status() == "abandoned"
    with pytest.raises(OutcomeUnknown):
        session.run(sender, "a")
    for named, error in (("x/0/0", NotFound), ("x", ValueError), (5, ValueError)):
        with pytest.raises(error):
            session.resolve(named, 1)
    looked = session.state().steps[0]
    with pytest.raises(ValueError, match="has its outcome"):
        session.resolve(looked, 1)
    session.resolve(unknown, "sent")
    assert session.unresolved() == []
    assert session.run(sender, "a") == "Asent"
    outcome = session.state().steps[1].outcome
    assert outcome is not None
    assert outcome.value["resolved"] is True


def test_an_unknown_step_is_resolved_by_an_error(client: Client) -> None:
    session = crashed(client)
    session.resolve(session.unresolved()[0].key, error=ValueError("bounced"))
    assert session.unresolved() == []
    assert session.state().steps[1].error == {"name": "ValueError", "text": "bounced", "module": "builtins"}


def test_what_a_living_worker_does_is_not_unknown(client: Client, backend: Any) -> None:
    session = crashed(client)
    nonce = session.state().claim.value["nonce"]
    backend.execute(TakeLease("s", nonce))
    assert session.unresolved() == []
    assert session.status() == "running"
    assert session.state().status == "running"


def test_in_a_fork_nothing_inherited_is_unknown(client: Client) -> None:
    fork = crashed(client).fork("f")
    assert fork.unresolved() == []
    assert [step.name.rpartition(".")[2] for step in fork.state().steps] == ["look"]
    with pytest.raises(Crash):
        fork.run(sender, "a")
    assert [step.attempt for step in fork.unresolved()] == [2]


def test_cancelling_ends_the_open_run(client: Client) -> None:
    session = crashed(client)
    assert session.cancel() is True
    assert session.status() == "cancelled"
    assert session.unresolved() == []
    assert session.cancel() is False
    assert [event.type for event in session.events()].count("claim") == 2, "nothing is claimed in vain"


def test_a_run_left_by_a_crash_is_abandoned_and_open(client: Client) -> None:
    session = crashed(client)
    state = session.state()
    assert state.status == "abandoned"
    assert state.run is not None
    assert state.run.open
    assert session.state(at=state.index).status == "running", "what the events before a cut say"


def test_a_log_goes_on_where_it_was_read(backend: Any) -> None:
    session = started(backend)
    log = opened(backend)
    session.append("note", 2)
    assert [event.value for event in drive(extend(log), backend)] == [2]
    assert drive(extend(log), backend) == []
