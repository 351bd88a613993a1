"""Sessions on a server that tells no life of a path from the next: not read whole each time, and never mixed up."""

from __future__ import annotations

from typing import Any

import pytest
from node_server import node_server
from our_server import our_server

from agentstream import Client
from agentstream.backends.remote import RemoteBackend
from agentstream.protocol.operations import Batch


class Counting(RemoteBackend):
    """Counts the messages that it was told."""

    told = 0

    def execute(self, operation: Any) -> Any:
        result = super().execute(operation)
        if isinstance(result, Batch):
            self.told += len(result.messages)
        return result


@pytest.fixture(params=["ours", "node"])
def place(request: pytest.FixtureRequest) -> str:
    return {"ours": our_server, "node": node_server}[request.param]().place()


def test_what_many_appends_read_grows_with_them_only(place: str) -> None:
    with Client(Counting(place)) as client:
        backend: Any = client._core.backend
        session = client.session("s")
        for number in range(10):
            session.append("note", number)
        before = backend.told
        for number in range(50):
            session.append("note", number)
        assert backend.told - before <= 2 * 50
        assert session.state().index == 61


@pytest.mark.parametrize("length", [1, 4, 30])
def test_another_life_of_the_session_is_seen(place: str, length: int) -> None:
    with Client(place) as client, Client(place) as other:
        session, again = client.session("s"), other.session("s")
        for number in range(4):
            session.append("note", f"old {number}")
        again.delete()
        for number in range(length):
            again.append("note", f"new {number}")
        assert [e.value for e in session.events() if e.type == "note"] == [f"new {number}" for number in range(length)]
        session.append("note", "mine")
        assert [e.raw for e in session.events()] == [e.raw for e in again.events()]
        session.append("note", "mine too")
        again.delete()
        again.append("note", "newest")
        session.append("note", "last")
        assert [e.value for e in session.events() if e.type == "note"] == ["newest", "last"]
