from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend
from streaming_kit import Streams

from agentstream.backends.embedded import EmbeddedBackend


@pytest.fixture(params=["folder", "memory", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = HostileBackend() if request.param == "hostile" else None
    made = made or EmbeddedBackend(tmp_path / "store" if request.param == "folder" else None)
    yield made
    made.close()


@pytest.fixture(params=["sync", "async", "threaded"])
def way(request: pytest.FixtureRequest) -> Streams:
    return Streams(request.param)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks again for an answer that a test has taken away."""
    monkeypatch.setattr("agentstream.agents.writer.RETRIES", ())
    monkeypatch.setattr("agentstream.sessions.patience.RETRIES", ())
    monkeypatch.setattr("agentstream.agents.steps.FIRST_PAUSE", 0.0001)
