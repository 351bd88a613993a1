"""What the agents of several suites do, and what tells how often: a step that is counted."""

from __future__ import annotations

import pytest

from agentstream import step

made: list[str] = []
"""What `act` was called with, in order, since the test began."""


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


@step
def act(name: str) -> str:
    made.append(name)
    return name.upper()
