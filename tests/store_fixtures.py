"""Fixtures of the suites that run on every kind of store: on disk, in memory, and hostile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import STORES

from agentstream import AsyncClient, Client
from agentstream.backends.base import Backend


@pytest.fixture(params=["disk", "memory", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(backend: Backend) -> Client:
    return Client(backend)


@pytest.fixture
def aclient(backend: Backend) -> AsyncClient:
    return AsyncClient(backend)
