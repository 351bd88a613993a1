"""Pages of the embedded store are full, whatever the sizes of what is appended."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agentstream.backends.embedded import EmbeddedBackend
from agentstream.backends.embedded.schema import PAGE
from agentstream.protocol.operations import Append, Create

ROWS = 150
OVERHEAD = 40
"""Bytes of two rows, since a frame may be cut, and of their places in the index."""


@pytest.mark.parametrize(("least", "most"), [(100, 1500), (1000, 4000), (3500, 4500), (4000, 9000), (9000, 30000)])
def test_pages_are_full(tmp_path: Path, least: int, most: int) -> None:
    """Also where rows are longer than a page and overflow: the rest of their last page is for the next."""
    sizes = random.Random(least).choices(range(least, most), k=ROWS)
    store = EmbeddedBackend(tmp_path)
    store.execute(Create("s"))
    for number, size in enumerate(sizes):
        store.execute(Append("s", (b'"%0*d"' % (size - 2, number),)))
    store.close()
    held = sum(sizes) + ROWS * OVERHEAD
    assert (tmp_path / "streams.db").stat().st_size <= 1.04 * held + 8 * PAGE
