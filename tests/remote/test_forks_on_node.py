"""Forks at every event on the official reference server: made by it, or stitched, and nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from node_server import NodeServer
from stores import raw_events

from agentstream import AgentStreamError, Client, agent, step
from agentstream.protocol.operations import Read
from agentstream.sessions.births import declared_birth
from agentstream.sessions.events import read_event


@step
def shout(word: str) -> str:
    return word.upper()


@agent
def talk(words: list[str]) -> list[str]:
    return [shout(word) for word in words]


def births_at(client: Client, id: str) -> list[int]:
    """Where births stand in the session's own stream."""
    backend: Any = client._core.backend
    events = [read_event(message, index) for index, message in enumerate(backend.execute(Read(id)).messages)]
    return [event.index for event in events if declared_birth(event) is not None]


def test_a_fork_at_each_event(server: NodeServer) -> None:
    with Client(server.place()) as client:
        session = client.session("s")
        session.run(talk, ["a", "b"])
        before = raw_events(session)
        for cut in range(len(before) + 1):
            with Client(client.name) as fresh:
                branch = fresh.session("s").fork(f"cut/{cut}", at=cut)
                assert raw_events(branch)[:cut] == before[:cut]
                assert branch.state().lineage.count == cut  # type: ignore[union-attr]
                # one offset a response: only the end is a place where this server can cut
                assert births_at(fresh, f"cut/{cut}") == ([0, cut] if cut == len(before) else [0])
        assert raw_events(session) == before
        branch = client.session("cut/5").fork("cut/5/again", at=4)
        assert raw_events(branch)[:4] == before[:4]


def test_a_branch_goes_on(server: NodeServer) -> None:
    with Client(server.place()) as client:
        session = client.session("s")
        session.run(talk, ["a", "b"])
        (last,) = [event for event in session.events() if event.type == "outcome"][1:2]
        branch = session.fork("b", replace={last: "other"})
        assert branch.run(talk, ["a", "b"]) == ["A", "other"]
        assert session.run(talk, ["a", "b"]) == ["A", "B"]


def test_an_offset_of_somewhere_else_is_not_believed(server: NodeServer) -> None:
    """This server answers 201 to it, with an empty stream or odd data."""
    with Client(server.place()) as client:
        session = client.session("s")
        session.run(talk, ["a", "b"])
        before = raw_events(session)
        event = list(session.events())[3]
        for offset in ("0000000000000000_0000000000000007", "0000000000000000_0000000000099999", "nonsense", "now"):
            branch = session.fork(f"b/{offset}", at=replace(event.position, offset=offset, skip=0))
            assert raw_events(branch)[:4] == before[:4]
            assert branch.state().lineage.count == 4  # type: ignore[union-attr]


def test_what_forks_read_from_is_not_deleted(server: NodeServer) -> None:
    with Client(server.place()) as client:
        session = client.session("s")
        session.run(talk, ["a"])
        kept = session.fork("end")
        before = raw_events(kept)
        stitched = session.fork("middle", at=3)
        with pytest.raises(AgentStreamError, match="middle"):
            session.delete()
        stitched.delete()
        session.delete()
        assert raw_events(kept) == before
        session.run(talk, ["anew"])
        assert raw_events(kept) == before
