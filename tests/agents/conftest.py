from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents_kit import Way
from hostile import HostileBackend

from agentstream.backends.embedded import EmbeddedBackend


@pytest.fixture(params=["folder", "memory", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Every kind of keeper of streams: what holds must hold on all of them."""
    made: Any = HostileBackend() if request.param == "hostile" else None
    made = made or EmbeddedBackend(tmp_path / "store" if request.param == "folder" else None)
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


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)
