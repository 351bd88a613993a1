"""`@step`: a function whose outcome is recorded once and served ever after.

The wrapper is thin: sync and async differ only in the driver. What happens in between is
`_perform`, one generator over `agentstream.agents.calls`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

import msgspec

from agentstream.agents.approving import approved
from agentstream.agents.calls import Effect, StepCall, unknown
from agentstream.agents.context import current_call, current_lane, inside, is_muted, said_outside
from agentstream.agents.locations import calling_place
from agentstream.agents.opening import backend_of, lane_recorded, opening
from agentstream.agents.signatures import arguments_of, is_async_function, names_by_place, signature_of
from agentstream.agents.stops import Stop
from agentstream.backends.driving import Call, Sleep, adrive, drive
from agentstream.errors import AgentStreamError, NotSerializable
from agentstream.sessions import codec
from agentstream.sessions.attachments import attachments_from
from agentstream.sessions.ids import fresh_id
from agentstream.sessions.secrets import hidden_result, hide, secret_parameters

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.backends.driving import Steps

P = ParamSpec("P")
R = TypeVar("R")

STEP = "__agentstream_step__"
"""Where a function that `@step` made keeps its StepSpec."""

EFFECTS = ("repeat", "once", "pure")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between the attempts of a step with `retries`: doubling, with jitter."""


@dataclass(frozen=True, slots=True)
class StepSpec:
    """What `@step(...)` said of a function."""

    function: Callable[..., Any]
    name: str
    kind: str
    key: Callable[..., Any] | None
    effect: Effect
    retries: int
    timeout: float | None
    approve: bool
    is_async: bool
    signature: inspect.Signature = field(repr=False)
    names: tuple[str, ...] | None = field(repr=False)
    """Its parameters, if each can be given by place: such a call need not be bound to know what is what."""

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if self.names is not None and not kwargs and len(args) == len(self.names):
            return dict(zip(self.names, args, strict=True))
        return arguments_of(self.signature, self.name, args, kwargs)

    def told(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the record says of a call, and what it is known by."""
        arguments = self.arguments(args, kwargs)
        return self.key(*args, **kwargs) if self.key is not None else hide(arguments, secret_parameters(self.function))


class _Raise:
    """An exception as a generator's value, so that it is raised by the wrapper and not through the generator."""

    def __init__(self, error: BaseException, *, final: bool = False) -> None:
        self.error = error
        self.final = final


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    key: Callable[..., Any] | None = None,
    effect: Effect = "repeat",
    retries: int = 0,
    timeout: float | None = None,
    kind: str = "function",
    approve: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    key: Callable[..., Any] | None = None,
    effect: Effect = "repeat",
    retries: int = 0,
    timeout: float | None = None,
    kind: str = "function",
    approve: bool = False,
) -> Any:
    """Makes a function a step: in a run its outcome is recorded, and served on resume and replay.

    - `name`: what the step is matched by, the function's own name by default.
    - `key`: `key(*args, **kwargs)` gives what is fingerprinted and recorded in place of the arguments.
    - `effect`: "repeat" (default) runs again if a crash hid its outcome; "once" never does, it is
      `OutcomeUnknown` until `session.resolve`; "pure" has no effect outside and is never waited for.
    - `retries`: further attempts after an exception; `timeout`: seconds for one attempt (a sync
      function goes on in its thread after that, only nobody waits).
    - `kind`: how it is shown: function, tool, model, human, clock, …
    - `approve`: a person is asked before each call; where they do not approve it raises `Denied`
      and nothing is called. Such a step is refused where there is nobody to ask: outside a run.

    The arguments and the result have a JSON form or `NotSerializable` is raised. What the function
    returns is what the record says: tuples are lists, and a model or dataclass is rebuilt from the
    return annotation (without one it is plain data). Where it is served its body does not run: let it
    return what changed, not change its arguments. Outside a run the function is called as it is;
    inside another step it is part of that step. A sync step in an async agent waits in place.
    """
    _check_options(effect, retries, timeout, key, name, kind, approve)
    if function is None:
        return functools.partial(
            step, name=name, key=key, effect=effect, retries=retries, timeout=timeout, kind=kind, approve=approve
        )
    if not callable(function):
        raise TypeError(f"@step is for functions, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{plain_name(function)} is a generator; a step returns one value: collect what it yields")
    signature = signature_of(function)
    spec = StepSpec(
        function,
        name or plain_name(function),
        kind,
        key,
        effect,
        retries,
        timeout,
        approve,
        is_async_function(function),
        signature,
        names_by_place(signature),
    )
    return _async_step(spec) if spec.is_async else _sync_step(spec)


def _check_options(effect: Any, retries: Any, timeout: Any, key: Any, name: Any, kind: Any, approve: Any) -> None:
    if effect not in EFFECTS:
        raise ValueError(f"effect= is one of {', '.join(EFFECTS)}, not {effect!r}")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries= is a number of further attempts, not {retries!r}")
    if retries and effect == "once":
        raise ValueError('a step with effect="once" is never tried again by itself: retries= must be 0')
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0):
        raise ValueError(f"timeout= is a number of seconds above 0, not {timeout!r}")
    if not isinstance(approve, bool):
        raise TypeError(f"approve= is True or False, not {approve!r}")
    if key is not None and not callable(key):
        raise TypeError("key= is a function of the step's arguments")
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"name= is a text that is not empty, not {name!r}")
    if not isinstance(kind, str) or not kind:
        raise ValueError(f"kind= is a text that is not empty, not {kind!r}")


def plain_name(function: Callable[..., Any]) -> str:
    """A function's name without the functions it was defined in, so that moving it does not rename it."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__name__)
    return str(name).rpartition("<locals>.")[2]


def _sync_step(spec: StepSpec) -> Callable[..., Any]:
    @functools.wraps(spec.function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        lane = _lane_of(spec)
        if lane is None:
            return spec.function(*args, **kwargs)
        return _returned(drive(_perform(spec, args, kwargs, in_loop=False), backend_of(lane)))

    setattr(wrapper, STEP, spec)
    return wrapper


def _async_step(spec: StepSpec) -> Callable[..., Any]:
    @functools.wraps(spec.function)
    async def made(args: tuple[Any, ...], kwargs: dict[str, Any], code: str | None) -> Any:
        lane = _lane_of(spec)
        if lane is None:
            return await spec.function(*args, **kwargs)
        return _returned(await adrive(_perform(spec, args, kwargs, code=code, in_loop=True), backend_of(lane)))

    @functools.wraps(spec.function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        lane = lane_recorded()
        if lane is not None and lane.worker.sync:
            raise TypeError(
                f"{spec.name} is an async step, and the agent that calls it is a plain function; "
                "make the agent async and run it with AsyncClient, or the step sync"
            )
        # awaited in a task of its own, it is not the user's code any more that goes on with it
        return made(args, kwargs, calling_place() if lane is not None else None)

    setattr(checked, STEP, spec)
    _mark_coroutine_function(checked)
    return checked


def _mark_coroutine_function(function: Any) -> None:
    """So that frameworks which ask `iscoroutinefunction` see what it is."""
    mark = getattr(inspect, "markcoroutinefunction", None)
    if mark is not None:
        mark(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # Python < 3.12


def _returned(value: Any) -> Any:
    if isinstance(value, _Raise):
        try:
            raise value.error
        finally:
            del value
    return value


def _lane_of(spec: StepSpec) -> Lane | None:
    """The lane of a call of the step; None where the function is to be called as it is."""
    lane = lane_recorded()
    if lane is not None:
        return lane
    if is_muted() and spec.effect == "once" and current_lane() is not None:
        raise AgentStreamError(
            f'step {spec.name!r} has effect="once" and is called inside another step, where it would not be recorded; '
            "call it from the agent itself"
        )
    if spec.approve and not said_outside():
        raise AgentStreamError(
            f"step {spec.name!r} needs a person's approval, which can only be asked for in a run and outside other "
            "steps; `with agentstream.outside_run():` calls it without"
        )
    return None


def _perform(
    spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any], *, code: str | None = None, in_loop: bool
) -> Steps[Any]:
    """One call of a step: served, or made and recorded."""
    denied = None
    if spec.approve:
        args, kwargs, denied = yield from approved(spec, args, kwargs, in_loop=in_loop)
    told = spec.told(args, kwargs)
    effect = spec.effect if denied is None else "repeat"  # nothing is acted out, so nothing can become unknown
    changeable = tuple(spec.signature.parameters) if spec.key is None else False
    call = yield from opening(
        spec.kind, spec.name, told, effect=effect, changeable=changeable, code=code, in_loop=in_loop
    )
    if call.served is not None:
        return (yield from _serve(spec, call))
    if denied is not None:
        return _Raise((yield from call.failing(denied, in_loop=in_loop)))
    if call.changed is not None:
        args, kwargs = call.changed.of_call(spec.signature, args, kwargs)
    body, pause = _body(spec, args, kwargs), FIRST_PAUSE
    for attempts_left in range(spec.retries, -1, -1):
        outcome = yield from _attempt(spec, call, body, last=not attempts_left, in_loop=in_loop)
        if not isinstance(outcome, _Raise) or outcome.final or not attempts_left:
            return outcome
        try:
            yield Sleep(pause * random.uniform(0.5, 1.0))
        except asyncio.CancelledError:
            call.overtaken()
            raise
        pause = min(pause * 2, LONGEST_PAUSE)
        call.worker.check()
        call = call.lane.last = call.next()
        yield from call.beginning()
    raise AssertionError("the last attempt returns")


def _serve(spec: StepSpec, call: StepCall) -> Steps[Any]:
    served = call.served
    assert served is not None
    if served.cancelled:
        if spec.is_async and not served.raised:
            yield from call.worker.forever()  # until the code cancels it again, as it did
        return _Raise(asyncio.CancelledError())
    if served.error is not None:
        return _Raise(served.error.exception())
    return _typed(spec, served.result, served.typed)


def _typed(spec: StepSpec, value: Any, typed: bool) -> Any:
    return codec.rebuild(value, codec.annotation_of_return(spec.function)) if typed else value


def _attempt(spec: StepSpec, call: StepCall, body: Callable[[], Any], *, last: bool, in_loop: bool) -> Steps[Any]:
    """Calls the function and records what comes of it: what the code gets, a `_Raise` where that is an error."""
    if call.worker.core.observer is not None:
        body = call.worker.core.observer.within(call, body, is_async=spec.is_async)
    try:
        with inside(call):
            result = yield Call(body)
    except Stop:
        call.abandon()
        raise
    except asyncio.CancelledError:
        if _was_cancelled():
            call.cancel()
        else:
            yield from call.raised_cancelled()
        raise
    except _Late as late:
        error = TimeoutError(str(late))
        if spec.effect == "once":
            call.abandon()
            raise call.worker.stop(unknown(call.worker, call.key, f"was not done after {spec.timeout} s")) from None
        return _Raise((yield from call.failing(error, retried=not last, in_loop=in_loop)))
    except Exception as error:
        return _Raise((yield from call.failing(error, retried=not last, in_loop=in_loop)))
    except BaseException as error:
        call.abandon()
        call.worker.interrupt(error)
        raise
    try:
        encoded = call.encoded(hidden_result(result, spec.function))
        with attachments_from(call.worker.core.blobs):
            value = _typed(spec, codec.decode(encoded.data), encoded.typed)
    except NotSerializable as error:
        return _Raise((yield from call.failing(error, happened=True, in_loop=in_loop)), final=True)
    yield from call.finishing_with(encoded, in_loop=in_loop)
    return value


def _was_cancelled() -> bool:
    """Whether somebody asked for the cancellation that this task meets (before Python 3.11 there is no telling)."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or cancelling() > 0


# --- one attempt, for so long -----------------------------------------------------------------------------------------


class _Late(Exception):
    """An attempt took longer than the step's `timeout`."""

    def __init__(self, spec: StepSpec) -> None:
        super().__init__(f"step {spec.name!r} was not done after {spec.timeout} s")


def _body(spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
    """What one attempt calls (and awaits)."""
    if spec.timeout is None:
        return lambda: spec.function(*args, **kwargs)
    if spec.is_async:
        return lambda: _within(spec, spec.function(*args, **kwargs))
    return lambda: _in_thread(spec, args, kwargs)


async def _within(spec: StepSpec, work: Any) -> Any:
    """Awaits `work`, cancelled after the step's timeout; what it comes to in spite of that stands."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=spec.timeout)
        if not done:
            task.cancel()
            await asyncio.wait({task})
            if task.cancelled():
                raise _Late(spec)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    return task.result()


def _in_thread(spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls the function in a thread that nobody waits for longer than the step's timeout."""
    future: Future[Any] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(spec.function, *args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name=f"agentstream-step-{spec.name}", daemon=True).start()
    if not concurrent.futures.wait([future], spec.timeout).done:
        raise _Late(spec)
    return future.result()


class CurrentStep(msgspec.Struct, frozen=True):
    """The step whose body is running, as its code may see it."""

    name: str
    attempt: int
    idempotency_key: str
    key: str | None


def current_step() -> CurrentStep:
    """The step whose body is running: `.idempotency_key` (equal across attempts) and `.attempt` (from 1).

    Where a step is called outside a run, the key is a fresh random one. In a run but outside
    every step it raises AgentStreamError.
    """
    call = current_call()
    if call is not None:
        return CurrentStep(call.name, call.attempt, call.idempotency_key, call.key)
    if not is_muted() and current_lane() is not None:
        raise AgentStreamError("current_step() is for the body of a step; here the agent itself runs")
    return CurrentStep("", 1, fresh_id(), None)
