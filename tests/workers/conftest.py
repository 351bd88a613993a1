from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import nothing_made

from agentstream import Client

__all__ = ["client", "nothing_made"]


@pytest.fixture(params=["disk", "memory"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with Client("memory:" if request.param == "memory" else tmp_path / "store") as made:
        yield made
