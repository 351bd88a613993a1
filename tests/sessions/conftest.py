from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import NAMES, STORES

from agentstream import Client
from agentstream.backends.base import Backend


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    backend = STORES[request.param](tmp_path)
    yield backend
    backend.close()


@pytest.fixture
def client(backend: Backend) -> Client:
    return Client(backend)
