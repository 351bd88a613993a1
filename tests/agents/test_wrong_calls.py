"""Calls that mean nothing are refused with an error that says what happened and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from agentstream import Client, Fenced, RunPending, step
from agentstream.sessions.state import Step


@step
def told(value: int) -> int:
    return value


@step(effect="once")
def gone(value: int) -> int:
    raise KeyboardInterrupt


def lost() -> int:
    return gone(1)


def unknown_step(client: Client) -> Step:
    with pytest.raises(KeyboardInterrupt):
        client.session("s").run(lost)
    return client.session("s").unresolved()[0]


def test_a_session_deleted_under_its_worker_says_so() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        def deletes() -> int:
            session.delete()
            return told(1)

        with pytest.raises(Fenced, match="session 's' was deleted while this worker was at it"):
            session.run(deletes)


def test_a_session_sealed_under_its_worker_says_so() -> None:
    with Client("memory:") as client:
        session = client.session("s")

        def seals() -> int:
            session.with_options(take_over=True).seal()
            return told(1)

        with pytest.raises(Fenced, match="session 's' was sealed after claim 1"):
            session.run(seals)


def test_a_named_run_that_has_finished_is_no_other_calls() -> None:
    with Client("memory:") as client:
        session = client.session("s").with_options(run_id="one")
        session.run(lambda: 1)
        with pytest.raises(RunPending, match="is finished, and this is another call: give it a run_id of its own"):
            session.run(lost)


@pytest.mark.parametrize("error", [ValueError, 3, KeyboardInterrupt()], ids=repr)
def test_an_error_that_is_none_resolves_nothing(error: Any) -> None:
    with Client("memory:") as client:
        unknown = unknown_step(client)
        with pytest.raises(TypeError, match="error= is an exception, or a text"):
            client.session("s").resolve(unknown, error=error)
        assert client.session("s").unresolved()


def test_a_result_and_an_error_resolve_nothing() -> None:
    with Client("memory:") as client:
        unknown = unknown_step(client)
        with pytest.raises(ValueError, match="with a result or with error="):
            client.session("s").resolve(unknown, 1, error="declined")
        assert client.session("s").unresolved()


def test_nothing_to_go_back_to() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(lambda: told(1))
        size = len(list(session.events()))
        with pytest.raises(TypeError, match="rewind needs at="):
            session.rewind(None)  # type: ignore[arg-type]
        assert len(list(session.events())) == size


def test_replacing_what_is_no_mapping() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.run(lambda: told(1))
        with pytest.raises(TypeError, match="replace= maps steps"):
            session.fork("t", replace=[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "condition",
    [{"limit": "9"}, {"limit": True}, {"prefix": 3}, {"since": "yesterday"}, {"until": 3}, {"tag": 3}, {"title": 3},
     {"text": 3}, {"agent": 3}, {"parent": 3}, {"status": 3}],
    ids=str,
)  # fmt: skip
def test_conditions_that_are_none(condition: dict[str, Any]) -> None:
    with Client("memory:") as client, pytest.raises(TypeError, match=r"= is (a|text)|limit is a"):
        client.sessions(**condition)
