"""What the tests of agents share: backends that watch, and an agent's life in sync and async alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from agentstream import AsyncClient, Client
from agentstream.backends.base import Backend
from agentstream.protocol.operations import Append
from agentstream.sessions import codec


class WatchingBackend:
    """Wraps `inner` and keeps the event types of each append, in order."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.name = inner.name
        self.traits = inner.traits
        self.appends: list[list[str]] = []
        self.before: Callable[[Any], None] = lambda operation: None

    def _saw(self, operation: Any) -> None:
        self.before(operation)
        if isinstance(operation, Append):
            self.appends.append([codec.loads(message)["type"] for message in operation.body])

    def execute(self, operation: Any) -> Any:
        self._saw(operation)
        return self.inner.execute(operation)

    async def aexecute(self, operation: Any) -> Any:
        self._saw(operation)
        return await self.inner.aexecute(operation)

    def submit(self, operation: Any) -> Future[Any]:
        self._saw(operation)
        return self.inner.submit(operation)

    def close(self) -> None:
        """`inner` belongs to the test."""


class Way:
    """Runs agents the sync or the async way; `sync_or_async` makes the same function in the way's kind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_async = name == "async"

    def __repr__(self) -> str:
        return self.name

    def _do(self, backend: Any, session: str, verb: str, *args: Any, options: Any = None, **kwargs: Any) -> Any:
        options = {"take_over": True} if options is None else options
        if not self.is_async:
            return getattr(Client(backend).session(session).with_options(**options), verb)(*args, **kwargs)

        async def do() -> Any:
            return await getattr(AsyncClient(backend).session(session).with_options(**options), verb)(*args, **kwargs)

        return asyncio.run(do())

    def run(self, backend: Any, fn: Any, *args: Any, session: str = "s", options: Any = None, **kwargs: Any) -> Any:
        return self._do(backend, session, "run", fn, *args, options=options, **kwargs)

    def replay(self, backend: Any, fn: Any, *, session: str = "s", **kwargs: Any) -> Any:
        return self._do(backend, session, "replay", fn, **kwargs)

    def resume(self, backend: Any, fn: Any, *, session: str = "s") -> Any:
        return self._do(backend, session, "resume", fn)

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, or in the async way a coroutine function that does the same."""
        if not self.is_async:
            return function

        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        asynchronous.__name__ = asynchronous.__qualname__ = function.__name__
        asynchronous.__annotations__ = function.__annotations__
        asynchronous.__wrapped__ = function  # type: ignore[attr-defined]
        return asynchronous

    def agent(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """An agent from a generator function that yields what is to be awaited in the async way."""
        if not self.is_async:

            def synchronous(*args: Any, **kwargs: Any) -> Any:
                generator = body(*args, **kwargs)
                return _go_on(generator, generator.send, None)

            synchronous.__name__ = synchronous.__qualname__ = body.__name__
            synchronous.__signature__ = _signature(body)  # type: ignore[attr-defined]
            return synchronous

        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            generator = body(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    request = step(value)
                    try:
                        value, step = await request(), generator.send
                    except BaseException as error:
                        value, step = error, generator.throw
            except StopIteration as stop:
                return stop.value

        asynchronous.__name__ = asynchronous.__qualname__ = body.__name__
        asynchronous.__signature__ = _signature(body)  # type: ignore[attr-defined]
        return asynchronous


def _go_on(generator: Any, step: Any, value: Any) -> Any:
    try:
        while True:
            request = step(value)
            try:
                value, step = request(), generator.send
            except BaseException as error:
                value, step = error, generator.throw
    except StopIteration as stop:
        return stop.value


def _signature(body: Callable[..., Any]) -> Any:
    import inspect

    return inspect.signature(body)
