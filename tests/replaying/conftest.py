from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents_kit import Way
from replaying_kit import Support
from stores import STORES


@pytest.fixture(params=["disk", "hostile"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = STORES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


@pytest.fixture
def support(backend: Any, way: Way) -> Support:
    """A support agent that was run once, in session `s`; nothing counts as made any more."""
    made = Support(way)
    assert way.run(backend, made.agent, "where?") == "m said 4"
    made.made.clear()
    return made
