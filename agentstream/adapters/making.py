"""One call of a framework as one step, from its opening on: served, or made and recorded.

For calls that give one value. What streams (`StepCall.feed`) is written out by its integration.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from agentstream.agents.context import inside
from agentstream.agents.opening import backend_here, opening
from agentstream.agents.steps import _was_cancelled
from agentstream.backends.driving import adrive
from agentstream.errors import NotSerializable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from agentstream.agents.calls import StepCall

T = TypeVar("T")


def _same(value: Any) -> Any:
    return value


async def atold(kind: str, name: str, input: Any, result: Any = None) -> Any:
    """Records what is known already: a pure step with its small result, in one event. Gives what the record says."""
    opened = opening(kind, name, input, effect="pure", at_once=True, in_loop=True)
    call = await adrive(opened, backend_here())
    return call.served.value() if call.served is not None else await call.afinish(result)


async def amade(
    call: StepCall,
    make: Callable[[], Awaitable[T]],
    *,
    kept: Callable[[T], Any] = _same,
    whole: Callable[[Any], T] = _same,
    usage: Callable[[T], dict[str, Any] | None] = lambda result: None,
    told: Callable[[T], Iterable[tuple[str, dict[str, Any]]]] = lambda result: (),
) -> T:
    """What `make()` gives, or gave: the outcome of `call` is served where it is recorded, and recorded where it is not.

    `kept(result)` is what is recorded, `whole(record)` makes the value of it again; the first run too returns what
    `whole` makes. `usage(result)` are counts, `told(result)` typed events that stand beside the step. While `make`
    runs, nothing below it is recorded. Raises what `make` raises, as the record has it; NotSerializable where a
    result has no recorded form (it is not made again).
    """
    served = await adrive(call.recorded(), backend_here())
    if served is not None:
        if served.cancelled:
            raise asyncio.CancelledError
        return whole(served.value())
    try:
        with inside(call):
            result = await make()
    except asyncio.CancelledError:
        if _was_cancelled():
            call.cancel()
        else:
            await adrive(call.raised_cancelled(), call.backend)
        raise
    except Exception as error:
        seen = await adrive(call.failing(error, in_loop=True), call.backend)
        if seen is error:
            raise
        raise seen from None
    except BaseException:
        call.abandon()
        raise
    for kind, value in told(result):
        call.emit(kind, value)
    try:
        recorded = await adrive(call.finishing(kept(result), usage=usage(result), in_loop=True), call.backend)
    except NotSerializable as error:
        raise (await adrive(call.failing(error, happened=True, in_loop=True), call.backend)) from None
    return whole(recorded)
