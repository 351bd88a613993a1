"""The backends made for tests do what their knobs say (their protocol is tested in test_protocol.py)."""

from __future__ import annotations

import asyncio
import json

import pytest
from failing import FailingBackend
from hostile import HostileBackend

from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.errors import Unavailable
from agentstream.protocol.errors import InvalidRequest, SequenceGap
from agentstream.protocol.operations import NOW, Append, Create, Delete, ForkPoint, Head, Producer, Read


def test_they_are_backends() -> None:
    assert isinstance(HostileBackend(), Backend)
    assert isinstance(FailingBackend(HostileBackend(), after=1), Backend)
    assert isinstance(EmbeddedBackend(None), Backend)


def test_numbers_are_rewritten_as_javascript_does() -> None:
    backend = HostileBackend()
    backend.execute(Create("s", (b'[12345678901234567890, 1.0, 1.5, true, {"a": -0.0}]',)))
    shown = backend.execute(Read("s")).messages[0]
    assert b"1.0" not in shown
    assert json.loads(shown)[0] != 12345678901234567890
    assert json.loads(shown)[1:4] == [1, 1.5, True]


def test_a_page_ends_where_an_append_ends_and_offsets_are_there_alone() -> None:
    backend = HostileBackend()
    backend.execute(Create("s", (b"1", b"2", b"3")))
    page = backend.execute(Read("s", limit=1))
    assert page.messages == (b"1", b"2", b"3")
    inside = page.offset.replace("3", "2")
    with pytest.raises(InvalidRequest):
        backend.execute(Read("s", inside))
    with pytest.raises(InvalidRequest):
        backend.execute(Read("s", skip=1))


def test_a_forks_skip_ends_with_the_append() -> None:
    backend = HostileBackend()
    offset = backend.execute(Create("s", (b"1",))).offset
    backend.execute(Append("s", (b"2", b"3")))
    backend.execute(Append("s", (b"4",)))
    backend.execute(Create("f", fork=ForkPoint("s", offset, 2)))
    with pytest.raises(InvalidRequest):
        backend.execute(Create("g", fork=ForkPoint("s", offset, 3)))
    HostileBackend(narrow_skip=False)


@pytest.mark.parametrize(("forks", "expected"), [("native", (b"1", b"2")), ("ignored", (b"2",)), ("empty", ())])
def test_forks(forks: str, expected: tuple[bytes, ...]) -> None:
    backend = HostileBackend(forks=forks)  # type: ignore[arg-type]
    backend.execute(Create("s", (b"1",)))
    backend.execute(Create("f", (b"2",), fork=ForkPoint("s", NOW)))
    assert backend.execute(Read("f")).messages == expected


def test_without_soft_delete_a_path_is_free_at_once() -> None:
    backend = HostileBackend(soft_delete=False)
    backend.execute(Create("s", (b"1",)))
    backend.execute(Create("f", fork=ForkPoint("s", NOW)))
    backend.execute(Delete("s"))
    assert backend.execute(Create("s", (b"2",))).new
    assert backend.execute(Read("f")).messages == (b"1",)


def test_a_restart_forgets_producers() -> None:
    backend = HostileBackend()
    backend.execute(Create("s"))
    backend.execute(Append("s", (b"1",), producer=Producer("p", 0, 0)))
    backend.restart()
    with pytest.raises(SequenceGap):
        backend.execute(Append("s", (b"2",), producer=Producer("p", 0, 1)))


def test_a_lost_reply_was_applied() -> None:
    backend = HostileBackend(drop_replies=[1])
    backend.execute(Create("s"))
    append = Append("s", (b"1",), producer=Producer("p", 0, 0))
    with pytest.raises(Unavailable):
        backend.execute(append)
    assert backend.execute(append).duplicate
    some = HostileBackend(drop_replies=lambda operation: isinstance(operation, Append))
    some.execute(Create("s"))
    with pytest.raises(Unavailable):
        asyncio.run(some.aexecute(Append("s", (b"1",))))
    assert some.execute(Read("s")).messages == (b"1",)


def test_it_fails_for_ever_after_an_append() -> None:
    backend = HostileBackend(fail_after=1)
    backend.execute(Create("s"))
    backend.execute(Append("s", (b"1",)))
    for operation in (Append("s", (b"2",)), Read("s"), Head("s"), Read("s")):
        with pytest.raises(Unavailable):
            backend.execute(operation)


def test_change_messages_are_stamped_with_an_offset() -> None:
    backend = HostileBackend()
    offset = backend.execute(Create("s", (b'{"type":"t","headers":{"operation":"insert"}}', b"1"))).offset
    first, second = backend.execute(Read("s")).messages
    assert json.loads(first)["headers"] == {"operation": "insert", "offset": offset}
    assert second == b"1"


def test_a_failing_backend_lets_k_appends_through() -> None:
    inner = EmbeddedBackend(None)
    backend = FailingBackend(inner, after=2)
    backend.execute(Create("s"))
    assert asyncio.run(backend.aexecute(Append("s", (b"0",)))).offset
    assert backend.submit(Append("s", (b"1",))).result().offset
    assert backend.execute(Read("s")).messages == (b"0", b"1")
    with pytest.raises(Unavailable):
        backend.submit(Append("s", (b"2",))).result()
    for operation in (Read("s"), Append("s", (b"3",))):
        with pytest.raises(Unavailable):
            backend.execute(operation)
    assert backend.appends == 2
    assert inner.execute(Read("s")).messages == (b"0", b"1")
    inner.close()
