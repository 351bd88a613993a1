from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents_kit import Way
from stores import ALL, REMOTE, STORES

REMOTE_MODULES = ("test_crash", "test_replay")
"""Tests that run on the Node server every time; the others do so among all tests."""

# They drop an event loop with requests or connections in it, which no HTTP client can tidy up after.
NEVER_REMOTE = ("test_a_run_that_nobody_waits_for_any_more", "test_an_interrupt_is_resumed")

# The one server reads some numbers as the ones beside them, and this draws numbers by chance (docs/remote.md).
LOST = {"test_clock_and_chance": {"rust-memory"}}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = any("backend" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "backend" in metafunc.fixturenames and not own:
        always = metafunc.definition.path.stem in REMOTE_MODULES
        remote = (always or ALL) and metafunc.function.__name__ not in NEVER_REMOTE
        lost = LOST.get(metafunc.function.__name__, set[str]())
        stores = ["disk", "memory", "hostile", *(name for name in REMOTE if remote and name not in lost)]
        metafunc.parametrize("backend", stores, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Every kind of keeper of streams: what holds must hold on all of them."""
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an answer again that a test has taken away, nor long for a lane that it has."""
    monkeypatch.setattr("agentstream.agents.writer.RETRIES", ())
    monkeypatch.setattr("agentstream.sessions.writing.RETRIES", ())
    monkeypatch.setattr("agentstream.agents.steps.FIRST_PAUSE", 0.0001)
    monkeypatch.setattr("agentstream.agents.progress.STALLED", 0.5)
    monkeypatch.setattr("agentstream.agents.lanes.CERTAIN", 0.05)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's start waits for its outcome however slow the machine is: appends can be counted."""
    monkeypatch.setattr("agentstream.agents.calls.START_WITHIN", 3600.0)


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)
