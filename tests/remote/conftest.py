from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fault_proxy import FaultProxy, Plan
from node_server import NodeServer, node_server
from stores import ALL

from agentstream.backends.remote import RemoteBackend
from agentstream.backends.remote.exchange import Backoff

SOON = Backoff(tries=6, first=0.002, longest=0.01)


@pytest.fixture(params=["memory", "file"] if ALL else ["memory"])
def server(request: pytest.FixtureRequest) -> NodeServer:
    """The official reference server, with either of its stores."""
    return node_server(request.param)


@pytest.fixture
def proxied() -> Iterator[Callable[..., FaultProxy]]:
    """Makes proxies in front of a root of its own of the reference server."""
    with ExitStack() as stack:

        def make(plan: Plan, **options: Any) -> FaultProxy:
            return stack.enter_context(FaultProxy(node_server().place(), plan, **options))

        yield make


class Face:
    """A backend by its sync or its async face."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._loop = asyncio.new_event_loop()
        self._made: list[RemoteBackend] = []

    def backend(self, url: str, **options: Any) -> RemoteBackend:
        options.setdefault("backoff", SOON)
        self._made.append(RemoteBackend(url, **options))
        return self._made[-1]

    def do(self, backend: Any, operation: Any) -> Any:
        if self.name == "sync":
            return backend.execute(operation)
        return self._loop.run_until_complete(backend.aexecute(operation))

    def pages(self, backend: Any, operation: Any, count: int) -> list[Any]:
        """The first pages of a live read."""
        if self.name == "sync":
            found = backend.follow(operation)
            try:
                return [page for page, _ in zip(found, range(count), strict=False)]
            finally:
                found.close()

        async def taken() -> list[Any]:
            from contextlib import aclosing

            pages: list[Any] = []
            async with aclosing(backend.afollow(operation)) as found:
                async for page in found:
                    pages.append(page)
                    if len(pages) == count:
                        break
            return pages

        return self._loop.run_until_complete(taken())

    def close(self) -> None:
        for backend in self._made:
            if self.name == "sync":
                backend.close()
            else:
                self._loop.run_until_complete(backend.aclose())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    made = Face(request.param)
    yield made
    made.close()
