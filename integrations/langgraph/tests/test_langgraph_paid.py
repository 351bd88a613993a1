"""A recorded model client in a node, or in a `@task`: broken off after a call, the thread goes on without paying for it
again, and replays as it was."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import langgraph_paid_worker
import pytest
from agentstream_langgraph import areplay, replay
from langgraph_kit import IN_CONTEXT, in_context
from langgraph_paid_worker import CALL, KINDS, STREAM, THREAD, built, call
from stores import ALL
from support.provider import Provider

from agentstream import Client


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider([CALL, STREAM]) as provider:
        yield provider


def goes_on(kind: str, client: Client, provider: Provider) -> None:
    assert len(provider.billed) == 1
    graph = built(kind, client, provider.url, lambda: None)
    assert call(kind, graph, None) == graph.get_state(THREAD).values
    assert len(provider.asked) == 2, "the first call was not made again"
    session = client.session("langgraph/t")
    before = list(session.events())
    found = asyncio.run(areplay(graph, "t")) if kind == "async node" else replay(graph, "t")
    assert (found.identical, found.difference, found.steps) == (True, None, 2)
    assert len(provider.asked) == 2, "and a replay makes none"
    assert list(session.events()) == before


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=in_context) if "async" in kind else kind for kind in KINDS])
def test_a_model_call_in_a_node_that_failed_is_paid_once(kind: str, provider: Provider, tmp_path: Path) -> None:
    def between() -> None:
        raise RuntimeError("fell over")

    with Client(tmp_path) as client:
        with pytest.raises(RuntimeError, match="fell over"):
            call(kind, built(kind, client, provider.url, between), {"done": None})
        goes_on(kind, client, provider)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if IN_CONTEXT or "async" not in kind] if ALL else ["task"])
def test_a_model_call_in_a_node_that_was_killed_is_paid_once(kind: str, provider: Provider, tmp_path: Path) -> None:
    command = [sys.executable, langgraph_paid_worker.__file__, str(tmp_path), provider.url, kind]
    assert subprocess.run(command, check=False, timeout=60).returncode == 9
    with Client(tmp_path) as client:
        goes_on(kind, client, provider)
