"""Generator agents: functions that yield what they have while they work.

A run of one is the same generator over values as any other run, only that it also yields
an `Item` now and then. A shell hands those out and sends the rest to the drivers; where
nobody asks for the items, the function is gone through to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.agents.context import enter, lane_here, leave
from agentstream.backends.driving import Call, adrive
from agentstream.backends.finalizing import elsewhere, in_collector, keep, let_go

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.agents.worker import Worker
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

Leaving = Callable[[BaseException], object]


class Left(BaseException):
    """Who asked for the items has left. A `GeneratorExit` of our own: that one lets no generator yield any more, and
    there is a lease to free."""


class Item(msgspec.Struct, frozen=True):
    """Yielded beside operations: hand this to the consumer, and come back when the next one is asked for."""

    value: Any


class Ended(msgspec.Struct, frozen=True):
    """There are no more items; what the function returned."""

    value: Any = None


# --- going through a generator ----------------------------------------------------------------------------------------


def passed_on(items: Any, lane: Lane, leaving: Leaving | None = None) -> Steps[Any]:
    """Yields what `items` (a generator, sync or async) yields, each as an `Item`, and returns what it returned.

    Its code runs in `lane`, whoever asks for the items runs outside it. With `leaving` the consumer
    only listens: nothing is sent in, and whatever is thrown in ends it, after `leaving(Left())`.
    """
    is_async = hasattr(items, "asend")
    advance = _aadvance if is_async else _advance
    close, method, value = ("aclose" if is_async else "close"), "send", None
    while True:
        found = yield Call(functools.partial(advance, items, lane, method, value))
        if isinstance(found, Ended):
            return found.value
        try:
            lane.worker.raise_stop()  # code that caught the stop may still yield: nobody gets to see that
            sent = yield Item(found)
            method, value = "send", None if leaving is not None else sent
        except BaseException as error:
            if leaving is None and not isinstance(error, Left) and lane.worker.poison is None:
                method, value = "throw", error
                continue
            if leaving is not None:
                leaving(Left())
            yield Call(functools.partial(advance, items, lane, close, None))
            raise


def _advance(items: Any, lane: Lane, method: str, value: Any) -> Any:
    token = enter(lane)
    try:
        return items.close() if method == "close" else getattr(items, method)(value)
    except StopIteration as stop:
        return Ended(stop.value)
    finally:
        leave(token)


async def _aadvance(items: Any, lane: Lane, method: str, value: Any) -> Any:
    token = enter(lane)
    try:
        return await (items.aclose() if method == "aclose" else getattr(items, "a" + method)(value))
    except StopAsyncIteration:
        return Ended()
    finally:
        leave(token)


def _until_item(steps: Steps[Any], step: Callable[[Any], Any], value: Any) -> Steps[Item | Ended]:
    """Goes on with `steps` until it has an item, or comes to its end."""
    try:
        while True:
            request = step(value)
            if isinstance(request, Item):
                return request
            try:
                value, step = (yield request), steps.send
            except BaseException as error:
                value, step = error, steps.throw
    except StopIteration as stop:
        return Ended(stop.value)
    finally:
        del value


def iterate(steps: Steps[Any], run: Callable[[Steps[Any]], Any]) -> Generator[Any, Any, Any]:
    """The items of `steps`, each part of which `run` drives; what it returns is the generator's value."""
    step: Callable[[Any], Any] = steps.send
    value: Any = None
    thrown: BaseException | None = None
    keep(steps)
    try:
        while True:
            found = run(_until_item(steps, step, value))
            if isinstance(found, Ended):
                return found.value
            try:
                value, step = (yield found.value), steps.send
            except BaseException as error:
                thrown, step = error, steps.throw
                value = Left() if isinstance(error, GeneratorExit) else error
                if isinstance(error, GeneratorExit) and in_collector():
                    elsewhere(functools.partial(_left, steps, run))
                    raise
    except Left:
        raise (thrown or GeneratorExit()) from None
    finally:
        let_go(steps)
        del value, thrown


def _left(steps: Steps[Any], run: Callable[[Steps[Any]], Any]) -> None:
    """Ends `steps` for a consumer that the garbage collector found."""
    with contextlib.suppress(Left):
        while not isinstance(run(_until_item(steps, steps.throw, Left())), Ended):
            pass


async def aiterate(steps: Steps[Any], backend: Backend) -> AsyncGenerator[Any, Any]:
    """As `iterate`, in the calling task."""
    step: Callable[[Any], Any] = steps.send
    value: Any = None
    thrown: BaseException | None = None
    try:
        while True:
            found = await adrive(_until_item(steps, step, value), backend)
            if isinstance(found, Ended):
                return
            try:
                value, step = (yield found.value), steps.send
            except BaseException as error:
                thrown, step = error, steps.throw
                value = Left() if isinstance(error, GeneratorExit) else error
    except Left:
        raise (thrown or GeneratorExit()) from None
    finally:
        del value, thrown


# --- as a function that returns ---------------------------------------------------------------------------------------


def piped(function: Callable[..., Any], hand: Callable[[Any], Any]) -> Callable[..., Any]:
    """A generator function as one that hands each item to `hand` and returns what the generator returned."""

    @functools.wraps(function)
    def through(*args: Any, **kwargs: Any) -> Any:
        worker = _worker_here()
        with contextlib.closing(function(*args, **kwargs)) as items:
            while True:
                try:
                    item = next(items)
                except StopIteration as stop:
                    return stop.value
                worker.raise_stop()
                hand(item)

    return through


def apiped(function: Callable[..., Any], hand: Callable[[Any], Any]) -> Callable[..., Any]:
    """As `piped`, of an async generator function; `hand` is awaited. A cancellation meanwhile is the generator's."""

    @functools.wraps(function)
    async def through(*args: Any, **kwargs: Any) -> None:
        worker = _worker_here()
        items = function(*args, **kwargs)
        step = items.__anext__()
        try:
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                worker.raise_stop()
                try:
                    await hand(item)
                    step = items.__anext__()
                except asyncio.CancelledError as error:
                    step = items.athrow(error)
        finally:
            await items.aclose()

    return through


def _worker_here() -> Worker:
    lane = lane_here()
    assert lane is not None
    return lane.worker


def whole(function: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    """A generator function as one that is gone through to its end, whatever it yields."""
    return apiped(function, _ignored) if is_async else piped(function, lambda item: None)


async def _ignored(item: Any) -> None:
    pass
