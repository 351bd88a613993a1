"""Both faces of streams, asked in one way, on every store; and proxies that do what networks do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy, Plan
from node_server import node_server
from stores import NAMES, STORES

from agentstream import AsyncClient, Backoff, Client

SOON = Backoff(tries=6, first=0.002, longest=0.01)


class Plain:
    """An async object, asked as if it were a sync one."""

    def __init__(self, it: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._it = it
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._it, "aclose" if name == "close" and hasattr(self._it, "aclose") else name)
        return self._called(found) if callable(found) else found

    def _called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            async def asked() -> Any:
                found = function(*args, **options)
                return await found if inspect.isawaitable(found) else found

            return plain(self._loop.run_until_complete(asked()), self._loop)

        return call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        async def following() -> Any:
            return await self._it.__anext__()

        try:
            return self._loop.run_until_complete(following())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def plain(found: Any, loop: asyncio.AbstractEventLoop) -> Any:
    return Plain(found, loop) if type(found).__name__.startswith(("Async", "async_generator")) else found


class Face:
    """Makes clients of one face."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self._made: list[Any] = []

    def client(self, place: Any, **options: Any) -> Any:
        if isinstance(place, str) and place.startswith("http"):
            options.setdefault("backoff", SOON)
        made: Any = Client(place, **options) if self.name == "sync" else Plain(AsyncClient(place, **options), self.loop)
        self._made.append(made)
        return made

    def close(self) -> None:
        for client in self._made:
            client.close()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    made = Face(request.param)
    yield made
    made.close()


@pytest.fixture(params=NAMES)
def client(request: pytest.FixtureRequest, face: Face, tmp_path: Path) -> Any:
    """A client of either face, on every store."""
    return face.client(STORES[request.param](tmp_path))


@pytest.fixture
def remote(face: Face) -> Any:
    """A client of either face, of the reference server."""
    return face.client(node_server().place())


@pytest.fixture
def proxied() -> Iterator[Callable[..., FaultProxy]]:
    """Makes proxies in front of a root of its own of the reference server."""
    with ExitStack() as stack:

        def make(plan: Plan, **options: Any) -> FaultProxy:
            return stack.enter_context(FaultProxy(node_server().place(), plan, **options))

        yield make
