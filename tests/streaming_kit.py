"""Generator agents gone through the three ways there are: sync, async, and a plain one in an event loop's thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from agentstream import AsyncClient, Client, agent


class Streams:
    """`agent` makes one from a body that yields `("do", step, args…)` for a step and `("say", item)` for an item."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_async = name == "async"

    def __repr__(self) -> str:
        return self.name

    def agent(self, body: Callable[..., Any]) -> Callable[..., Any]:
        if self.is_async:

            async def astream(*args: Any) -> Any:
                generator = body(*args)
                step, value = generator.send, None
                try:
                    while True:
                        try:
                            what, first, *rest = step(value)
                        except StopIteration:
                            return
                        value, step = None, generator.send
                        try:
                            if what == "say":
                                yield first
                            else:
                                await asyncio.sleep(0)
                                value = first(*rest)
                        except Exception as error:
                            value, step = error, generator.throw
                finally:
                    generator.close()

        else:

            def stream(*args: Any) -> Any:
                generator = body(*args)
                step, value = generator.send, None
                try:
                    while True:
                        try:
                            what, first, *rest = step(value)
                        except StopIteration as stop:
                            return stop.value
                        value, step = None, generator.send
                        try:
                            if what == "say":
                                yield first
                            else:
                                value = first(*rest)
                        except Exception as error:
                            value, step = error, generator.throw
                finally:
                    generator.close()

        made: Any = astream if self.is_async else stream  # pyright: ignore[reportPossiblyUnboundVariable]
        made.__name__ = made.__qualname__ = body.__name__
        made.__signature__ = inspect.signature(body)
        return agent(made)

    def go(
        self, backend: Any, fn: Any, *args: Any, take: int | None = None, session: str = "s", options: Any = None
    ) -> list[Any]:
        """The items of a stream, of the first `take` of them where given: then its iterator is closed."""
        items: list[Any] = []
        options = {"take_over": True} if options is None else options
        if self.name == "sync":
            stream = Client(backend).session(session).with_options(**options).stream(fn, *args)
            while take is None or len(items) < take:
                try:
                    items.append(next(stream))
                except StopIteration:
                    return items
            stream.close()
            return items

        async def go() -> None:
            stream = AsyncClient(backend).session(session).with_options(**options).stream(fn, *args)
            while take is None or len(items) < take:
                try:
                    items.append(await stream.__anext__())
                except StopAsyncIteration:
                    return
            await stream.aclose()

        asyncio.run(go())
        return items
