"""Ctrl-C while a session is read or followed: it reaches the program, wherever it comes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentstream import Client
from agentstream.backends.embedded.connections import FILE
from agentstream.backends.embedded.reading import read
from agentstream.protocol.operations import START, Read


class _Interrupted:
    """The rows of a query, over whose closing an interrupt comes."""

    def __init__(self, rows: sqlite3.Cursor) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def close(self) -> None:
        self._rows.close()
        raise KeyboardInterrupt


class _Connection:
    def __init__(self, inner: sqlite3.Connection) -> None:
        self._inner = inner

    def execute(self, statement: str, *values: Any) -> Any:
        rows = self._inner.execute(statement, *values)
        return _Interrupted(rows) if "FROM frames" in statement and "body" in statement else rows


def test_an_interrupt_is_not_lost_where_a_page_is_full(tmp_path: Path) -> None:
    """What a generator does when it is forgotten cannot raise: so it is closed before."""
    with Client(tmp_path) as client:
        for number in range(3):
            client.session("s").append("custom", {"number": number})
    connection: Any = _Connection(sqlite3.connect(tmp_path / FILE))
    with pytest.raises(KeyboardInterrupt):
        read(connection, Read("s", START, limit=1), 1 << 20, 0.0)
