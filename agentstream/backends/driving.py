"""The two drivers: the only code that knows sync from async.

Everything above a backend is written once, as generators over values. Such a generator
yields an operation for the backend, or one of the effects below, and is sent the result;
what goes wrong is thrown into it. `drive` runs it in the calling thread, `adrive` in the
running event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from agentstream.backends.base import Backend

T = TypeVar("T")
Steps = Generator[Any, Any, T]
"""A generator that yields operations and effects and returns a T."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a `concurrent.futures.Future` and be sent its result."""

    future: Future[Any]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Call `function()` (awaiting what it returns, under `adrive`) and be sent what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Detached:
    """Start an operation whose answer goes to `done(result, error)` even if who asked is cancelled meanwhile.

    Under `drive` it is executed in place; under `adrive` it is submitted. Sent None at once.
    """

    operation: Any
    done: Callable[[Any, BaseException | None], None]


def _start_in_place(request: Detached, backend: Backend) -> None:
    try:
        result = backend.execute(request.operation)
    except BaseException as error:
        request.done(None, error)
        if not isinstance(error, Exception):
            raise
    else:
        request.done(result, None)


def _start(request: Detached, backend: Backend) -> None:
    def answered(future: Future[Any]) -> None:
        error = future.exception()
        request.done(None if error is not None else future.result(), error)

    try:
        future = backend.submit(request.operation)
    except Exception as error:
        request.done(None, error)
    else:
        future.add_done_callback(answered)


def _waited(request: Wait) -> Any:
    try:
        return request.future.result(request.timeout)
    except concurrent.futures.TimeoutError:
        if request.future.done():
            raise
        raise TimeoutError from None


async def _awaited(request: Wait) -> Any:
    if request.future.done():
        return request.future.result()
    # shield: a cancelled waiter must not cancel work that others wait for
    waiting = asyncio.shield(asyncio.wrap_future(request.future))
    try:
        return await asyncio.wait_for(waiting, request.timeout)
    except asyncio.TimeoutError:
        if request.future.done():
            raise
        raise TimeoutError from None


def drive(steps: Steps[T], backend: Backend) -> T:
    """Runs `steps` to the end in this thread and returns its value."""
    send, value = steps.send, None
    try:
        while True:
            request = send(value)
            try:
                if isinstance(request, Wait):
                    value = _waited(request)
                elif isinstance(request, Detached):
                    value = _start_in_place(request, backend)
                elif isinstance(request, Call):
                    value = request.function()
                elif isinstance(request, Sleep):
                    value = time.sleep(request.seconds)
                else:
                    value = backend.execute(request)
                send = steps.send
            except BaseException as error:
                send, value = steps.throw, error  # type: ignore[assignment]
    except StopIteration as stop:
        return stop.value


async def adrive(steps: Steps[T], backend: Backend) -> T:
    """Runs `steps` to the end in the running event loop and returns its value."""
    send, value = steps.send, None
    try:
        while True:
            request = send(value)
            try:
                if isinstance(request, Wait):
                    value = await _awaited(request)
                elif isinstance(request, Detached):
                    value = _start(request, backend)
                elif isinstance(request, Call):
                    value = request.function()
                    if inspect.isawaitable(value):
                        value = await value
                elif isinstance(request, Sleep):
                    value = await asyncio.sleep(request.seconds)
                else:
                    value = await backend.aexecute(request)
                send = steps.send
            except BaseException as error:
                send, value = steps.throw, error  # type: ignore[assignment]
    except StopIteration as stop:
        return stop.value
