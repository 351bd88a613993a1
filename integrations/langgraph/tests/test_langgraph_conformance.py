"""LangGraph's own suite for savers, on every store, in both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph import StreamSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph_kit import client_on
from stores import REMOTE


class Bridged(StreamSaver):
    """The suite calls async methods only; these are the sync ones."""

    async def aput(self, *arguments: Any, **named: Any) -> Any:
        return self.put(*arguments, **named)

    async def aput_writes(self, *arguments: Any, **named: Any) -> None:
        self.put_writes(*arguments, **named)

    async def aget_tuple(self, *arguments: Any, **named: Any) -> Any:
        return self.get_tuple(*arguments, **named)

    async def alist(self, *arguments: Any, **named: Any) -> AsyncIterator[Any]:
        for found in self.list(*arguments, **named):
            yield found

    async def adelete_thread(self, *arguments: Any, **named: Any) -> None:
        self.delete_thread(*arguments, **named)

    async def adelete_for_runs(self, *arguments: Any, **named: Any) -> None:
        self.delete_for_runs(*arguments, **named)

    async def acopy_thread(self, *arguments: Any, **named: Any) -> None:
        self.copy_thread(*arguments, **named)

    async def aprune(self, *arguments: Any, **named: Any) -> None:
        self.prune(*arguments, **named)


LISTING = {"delete_for_runs"}
"""What needs a store that can say which sessions it has."""


@pytest.mark.parametrize("store", ["memory", "disk", "hostile", *REMOTE])
@pytest.mark.parametrize("kind", [StreamSaver, Bridged])
def test_conformance(store: str, kind: type[StreamSaver], tmp_path: Path) -> None:
    without = LISTING if store == "hostile" else set[str]()
    folders = iter(range(100))

    @checkpointer_test(name="StreamSaver", skip_capabilities=without)
    async def savers() -> Any:
        with client_on(store, tmp_path / str(next(folders))) as client:
            yield kind(client)

    report = asyncio.run(validate(savers))
    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert not failures
    passed = {name: result.tests_passed for name, result in report.results.items()}
    assert sum(passed.values()) == 81 - 7 * len(without)
    assert report.passed_all() or without
