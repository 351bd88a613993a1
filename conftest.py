"""What holds for the tests of the core and of every integration."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadlines: how fast a shared machine is says nothing about the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", settings.get_profile("default"), max_examples=500)
settings.load_profile("all" if os.environ.get("AGENTSTREAM_TEST_ALL") else "default")

# A developer's own store, keys and servers are no part of a test.
FOREIGN = ("AGENTSTREAM_", "OPENAI_", "ANTHROPIC_")


@pytest.fixture(autouse=True)
def nothing_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name != "AGENTSTREAM_TEST_ALL":
            monkeypatch.delenv(name)
