from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import HostileBackend

from agentstream import AsyncClient, Client
from agentstream.backends.base import Backend
from agentstream.backends.embedded import EmbeddedBackend


@pytest.fixture(params=["disk", "memory", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    kind = request.param
    made: Backend = (
        HostileBackend() if kind == "hostile" else EmbeddedBackend(tmp_path / "store" if kind == "disk" else None)
    )
    yield made
    made.close()


@pytest.fixture
def client(backend: Backend) -> Client:
    return Client(backend)


@pytest.fixture
def aclient(backend: Backend) -> AsyncClient:
    return AsyncClient(backend)
