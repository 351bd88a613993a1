"""The two drivers: the only code that knows sync from async.

Everything above a backend is written once, as generators over values. Such a generator
yields an operation for the backend, or one of the effects below, and is sent the result;
what goes wrong is thrown into it. `drive` runs it in the calling thread, `adrive` in the
running event loop.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import inspect
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from agentstream.backends.finalizing import elsewhere, in_collector, keep, let_go

if TYPE_CHECKING:
    import asyncio

    from agentstream.backends.base import Backend

T = TypeVar("T")
Steps = Generator[Any, Any, T]
"""A generator that yields operations and effects and returns a T."""

Done = Callable[[Any, "BaseException | None"], None]
"""Told what came of an operation: its result, or an error."""


class Sleep(msgspec.Struct, frozen=True):
    """Wait this many seconds."""

    seconds: float


class Wait(msgspec.Struct, frozen=True):
    """Wait for a `concurrent.futures.Future` and be sent its result; TimeoutError after `timeout` seconds.

    Who stops waiting (a timeout, a cancellation) leaves the future alone: others may wait for it too.
    `by_loop`: it may be this thread's event loop that brings it, so `drive`, which would stop the
    loop, does not wait there and sends None.
    """

    future: Future[Any]
    timeout: float | None = None
    by_loop: bool = False


class Call(msgspec.Struct, frozen=True):
    """Call `function()` (awaiting what it returns, under `adrive`) and be sent what it returns."""

    function: Callable[[], Any]


class Detached(msgspec.Struct, frozen=True):
    """Start an operation whose answer goes to `done(result, error)` even if who asked is cancelled meanwhile.

    Under `drive` it is executed in place; under `adrive` it is submitted. Sent None at once.
    """

    operation: Any
    done: Done


class Dropped(BaseException):
    """Nobody waits for these steps any more. (A GeneratorExit would close nested ones before they have tidied up.)"""


def start(operation: Any, done: Done, backend: Backend) -> None:
    """Starts an operation; `done(result, error)` is called when it is answered, on any thread or at once."""
    begin: Callable[[Any, Done], None] | None = getattr(backend, "start", None)
    try:
        if begin is not None:
            begin(operation, done)
            return
        future = backend.submit(operation)
    except Exception as error:
        done(None, error)
    else:
        future.add_done_callback(functools.partial(answered, done))


def answered(done: Done, future: Future[Any]) -> None:
    """Tells `done` what came of a future that is done."""
    error = future.exception()
    done(None if error is not None else future.result(), error)


def drive(steps: Steps[T], backend: Backend) -> T:
    """Runs `steps` to the end in this thread and returns its value."""
    try:
        return _go_on(steps, steps.send, None, backend)
    except BaseException as error:
        return _tidied_up(steps, error, backend)


def _tidied_up(steps: Steps[T], error: BaseException, backend: Backend) -> T:
    """Raises `error` again; if it came over the driver itself, as an interrupt does, the steps hear of it first.

    Else they would only be closed, and could not give back what they hold, such as a lease. All is done in place,
    but for what the garbage collector ends.
    """
    if isinstance(error, GeneratorExit) and in_collector():
        elsewhere(functools.partial(_tidied_up, steps, error, backend))
        raise error
    while not _is_over(steps):
        told = Dropped() if isinstance(error, GeneratorExit) else error
        try:
            return _go_on(steps, steps.throw, told, backend)
        except Dropped:
            pass
        except BaseException as again:
            error = again
    raise error


def _is_over(steps: Steps[Any]) -> bool:
    return getattr(steps, "gi_frame", None) is None


def _go_on(steps: Steps[T], step: Callable[[Any], Any], value: Any, backend: Backend) -> T:
    try:
        while True:
            request = step(value)
            try:
                value, step = _done_here(request, backend), steps.send
            except BaseException as error:
                value, step = error, steps.throw
    except StopIteration as stop:
        return stop.value
    finally:
        del value  # an error would hold this frame, and this frame the error


def _done_here(request: Any, backend: Backend) -> Any:
    if isinstance(request, Call):
        return request.function()
    if isinstance(request, Detached):
        return _start_in_place(request, backend)
    if isinstance(request, Wait):
        return _waited(request)
    if isinstance(request, Sleep):
        return time.sleep(request.seconds)
    return backend.execute(request)


async def adrive(steps: Steps[T], backend: Backend, *, alone: bool = False) -> T:
    """Runs `steps` to the end in the running event loop and returns its value.

    `alone`: nothing leads from the steps to who drives them; they are then told also if the event loop is dropped.
    """
    step: Callable[[Any], Any] = steps.send
    value: Any = None
    if alone:
        keep(steps)
    try:
        while True:
            request = step(value)
            try:
                value, step = await _done_in_loop(request, backend), steps.send
            except GeneratorExit:
                raise  # this coroutine is being closed: nothing can be awaited any more
            except BaseException as error:
                value, step = error, steps.throw
    except StopIteration as stop:
        return stop.value
    except BaseException as error:
        return _tidied_up(steps, error, backend)
    finally:
        if alone:
            let_go(steps)
        del value


async def _done_in_loop(request: Any, backend: Backend) -> Any:
    if isinstance(request, Call):
        value = request.function()
        return await value if inspect.isawaitable(value) else value
    if isinstance(request, Detached):
        return start(request.operation, request.done, backend)
    if isinstance(request, Wait):
        return await _awaited(request)
    if isinstance(request, Sleep):
        import asyncio  # slow to import, and who only looks at sessions needs none of it

        return await asyncio.sleep(request.seconds)
    return await backend.aexecute(request)


def _start_in_place(request: Detached, backend: Backend) -> None:
    try:
        result = backend.execute(request.operation)
    except BaseException as error:
        request.done(None, error)
        if not isinstance(error, Exception):
            raise
    else:
        request.done(result, None)


def _waited(request: Wait) -> Any:
    if request.by_loop and not request.future.done() and _in_loop():
        return None
    try:
        return request.future.result(request.timeout)
    except concurrent.futures.TimeoutError:
        if request.future.done():
            raise
        raise TimeoutError from None


def _in_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _awaited(request: Wait) -> Any:
    future = request.future
    if not future.done():
        import asyncio

        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def wake(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(_resolve, woken)

        future.add_done_callback(wake)
        timer = loop.call_later(request.timeout, _resolve, woken) if request.timeout is not None else None
        try:
            await woken
        finally:
            if timer is not None:
                timer.cancel()
        if not future.done():
            raise TimeoutError
    return future.result()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
