"""Positions: what they say, their text, and what they are refused for before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from hostile import HostileBackend
from hypothesis import given
from hypothesis import strategies as st

from agentstream import Client, Position
from agentstream.backends.embedded import EmbeddedBackend

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBER = st.integers(0, 10**17)


@given(st.builds(Position, TEXT, TEXT, NUMBER, TEXT, NUMBER))
def test_text_reads_back(position: Position) -> None:
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "a@1", "a@-1:i:o+0", "a@1:i:o", "a@1:i:o+x", "a@\u0661:i:o+0", None, 5, " a@1:i:o+0 "]
)
def test_other_text_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a position"):
        Position.parse(text)  # type: ignore[arg-type]


def test_position_is_the_cut_after_its_event(client: Client) -> None:
    session = client.session("a/b")
    for n in range(5):
        session.append("note", n)
    events = list(session.events())
    assert [event.position.index for event in events] == [1, 2, 3, 4, 5, 6]
    for event in events:
        position = Position.parse(str(event.position))
        assert position == event.position
        assert position.session == "a/b"
        assert list(session.events(start=position)) == events[event.index + 1 :]
        assert list(session.events(stop=position)) == events[: event.index + 1]
        assert list(session.events(start=event)) == list(session.events(start=event.index + 1))


def test_another_life_of_the_id_refuses_the_old_positions(client: Client) -> None:
    session = client.session("s")
    old = [session.append("note", n) for n in range(3)]
    session.delete()
    for n in range(9):
        session.append("note", n)
    for at in (old[1], old[1].position):
        for refused in (
            lambda at=at: session.events(start=at),
            lambda at=at: session.events(stop=at),
            lambda at=at: session.state(at=at),
            lambda at=at: session.fork("f", at=at),
            lambda at=at: session.rewind(at=at),
            lambda at=at: session.follow(at),
        ):
            with pytest.raises(ValueError, match="is not in the history of session 's'"):
                refused()
    assert len(list(session.events())) == 10


def test_a_fork_takes_its_sources_positions_as_far_as_they_share(client: Client) -> None:
    source = client.session("s")
    events = [source.append("note", n) for n in range(6)]
    fork = source.fork("f", at=events[2])
    fork.append("note", "mine")
    deeper = fork.fork("g", at=5)
    for session in (fork, deeper):
        assert session.state(at=events[2]).index == 4
        assert session.state(at=events[0].position).index == 2
        with pytest.raises(ValueError, match="what they share"):
            session.state(at=events[3])
    with pytest.raises(ValueError, match="is not in the history"):
        source.state(at=list(fork.events())[4])


@pytest.mark.parametrize("at", [-1, 4, 10**9])
def test_a_number_beyond_the_session_is_refused(client: Client, at: int) -> None:
    session = client.session("s")
    session.append("note", 1)
    session.append("note", 2)
    for refused in (lambda: session.state(at=at), lambda: session.fork("f", at=at), lambda: session.rewind(at=at)):
        with pytest.raises(ValueError, match="cannot be cut at"):
            refused()
    assert len(list(session.events())) == 3


@pytest.mark.parametrize("at", ["3", 1.0, True])
def test_what_is_no_cut_is_a_type_error(client: Client, at: Any) -> None:
    session = client.session("s")
    session.append("note", 1)
    for refused in (lambda: session.state(at=at), lambda: session.fork("f", at=at), lambda: session.rewind(at=at)):
        with pytest.raises(TypeError, match="at= is a number of events"):
            refused()


def test_events_between_two_cuts(client: Client) -> None:
    session = client.session("s")
    notes = [session.append("note", n) for n in range(6)]
    assert [event.value for event in session.events(start=2, stop=notes[3])] == [1, 2, 3]
    assert list(session.events(start=7)) == []
    assert list(session.events(start=5, stop=3)) == []


class Counting:
    """Counts the messages that reads hand out."""

    def __init__(self) -> None:
        self.inner = EmbeddedBackend(None)
        self.name, self.traits, self.messages = "counting:", self.inner.traits, 0

    def execute(self, operation):
        result = self.inner.execute(operation)
        self.messages += len(getattr(result, "messages", ()))
        return result

    async def aexecute(self, operation):
        return await self.inner.aexecute(operation)

    def submit(self, operation):
        return self.inner.submit(operation)

    def close(self) -> None:
        self.inner.close()


def test_a_fork_at_a_known_place_reads_nothing_of_a_long_session() -> None:
    backend = Counting()
    events = [Client(backend).session("s").append("note", n) for n in range(50)]
    for at in (events[30], events[30].position, 32):
        backend.messages = 0
        fresh = Client(backend)
        fresh.session("s").fork(f"f{type(at).__name__}", at=at)
        assert backend.messages <= 2
    forks = [list(Client(backend).session(f"f{name}").events())[:32] for name in ("Event", "Position", "int")]
    assert forks[0] == forks[1] == forks[2] == list(Client(backend).session("s").events())[:32]


def test_a_fork_of_a_fork_by_number_names_the_forks_own_life() -> None:
    for backend in (EmbeddedBackend(None), HostileBackend()):
        source = Client(backend).session("s")
        for n in range(5):
            source.append("note", n)
        fork = source.fork("f", at=4)
        fork.append("note", "mine")
        incarnation = fork.state().incarnation
        Client(backend).session("f").fork("g", at=6)  # a client that has read nothing yet
        lineage = Client(backend).session("g").state().lineage
        assert lineage is not None
        assert (lineage.source, lineage.incarnation, lineage.count) == ("f", incarnation, 6)
