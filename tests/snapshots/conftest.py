from __future__ import annotations

import pytest

from agentstream.sessions import log


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots are looked for in sessions of two events already."""
    monkeypatch.setattr(log, "FIRST", 1)
