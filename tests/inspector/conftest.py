"""Stores that the tests of the inspector look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import worlds


@pytest.fixture(scope="session")
def recorded_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worlds `small` and `hostile`, only to be read."""
    return worlds.make(tmp_path_factory.mktemp("inspected"), "small", "hostile")


@pytest.fixture
def store(recorded_store: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(recorded_store, tmp_path / ".agentstream"))
