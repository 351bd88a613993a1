"""Spans are looked at through the SDK, which only the default environment has."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from telemetry_kit import Seen

_HERE = find_spec("opentelemetry.sdk") is not None
collect_ignore = [] if _HERE else ["test_telemetry.py", "test_telemetry_graphs.py"]


@pytest.fixture
def seen() -> Iterator[Seen]:
    from telemetry_kit import Seen

    seen = Seen()
    yield seen
    seen.provider.shutdown()
    seen.meters.shutdown()
