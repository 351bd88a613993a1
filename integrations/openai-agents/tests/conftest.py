"""The SDK's tracing would send what it sees to its maker: not from tests."""

from __future__ import annotations

import pytest
from agents import set_tracing_disabled


@pytest.fixture(autouse=True)
def _no_tracing() -> None:
    set_tracing_disabled(True)
