"""Durable sleep: the moment to wake is recorded, and only what is left of it is slept again.

A short sleep holds the process; a longer one parks its lane, so that a run which only
sleeps ends as waiting and is called again when its time has come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentstream.agents.opening import backend_here, opening
from agentstream.agents.waiting import NEAR, Parked, lane_for, room_of
from agentstream.backends.driving import Sleep, adrive, drive
from agentstream.errors import NotSerializable
from agentstream.sessions import moments

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.backends.driving import Steps


def sleep(seconds: float | timedelta) -> None:
    """Sleeps, durably: after a crash only what is left. More than a few seconds end the run as waiting
    (RunWaiting, with `until`), and it goes on when it is called after that. Outside a run it is `time.sleep`."""
    _sleep("sleep", {"seconds": _seconds(seconds)}, lambda: moments.after(seconds, "seconds"))


def sleep_until(moment: datetime) -> None:
    """As `sleep`, until a moment (a datetime with a zone), which is recorded when it is first asked for."""
    wake = _moment(moment)
    _sleep("sleep_until", {}, lambda: wake)


async def asleep(seconds: float | timedelta) -> None:
    """As `sleep`, for async agents."""
    await _asleep("sleep", {"seconds": _seconds(seconds)}, lambda: moments.after(seconds, "seconds"))


async def asleep_until(moment: datetime) -> None:
    """As `sleep_until`, for async agents."""
    wake = _moment(moment)
    await _asleep("sleep_until", {}, lambda: wake)


def _seconds(seconds: float | timedelta) -> float:
    if isinstance(seconds, datetime):
        raise TypeError("sleep() takes seconds or a timedelta; sleep_until() takes a datetime")
    moments.after(seconds, "seconds")
    return seconds.total_seconds() if isinstance(seconds, timedelta) else seconds


def _moment(moment: datetime) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError(f"sleep_until() takes a datetime with a zone, not {moment!r}")
    return moments.after(moment, "moment")


def _left(wake: datetime) -> float:
    return max(0.0, (wake - moments.now()).total_seconds())


def _sleep(name: str, input: dict[str, Any], wake: Callable[[], datetime]) -> None:
    if lane_for(name, awaited=False) is None:
        time.sleep(_left(wake()))
    else:
        drive(_sleeping(name, input, wake, in_loop=False), backend_here())


async def _asleep(name: str, input: dict[str, Any], wake: Callable[[], datetime]) -> None:
    if lane_for(name, awaited=True) is None:
        await asyncio.sleep(_left(wake()))
    else:
        await adrive(_sleeping(name, input, wake, in_loop=True), backend_here())


def _sleeping(name: str, input: dict[str, Any], wake: Callable[[], datetime], *, in_loop: bool) -> Steps[None]:
    """Two steps: when to wake, and the sleep itself, whose end has its place among the outcomes of other lanes."""
    until = yield from _recorded_wake(name, input, wake, in_loop=in_loop)
    call = yield from opening("clock", "wake", {}, effect="pure", in_loop=in_loop)
    if (served := (yield from call.recorded())) is not None:
        return served.value()
    with call.underway():
        yield from _until(call, until)
    yield from call.finishing(None)


def _recorded_wake(name: str, input: dict[str, Any], wake: Callable[[], datetime], *, in_loop: bool) -> Steps[datetime]:
    call = yield from opening("clock", name, input, effect="pure", in_loop=in_loop)
    if call.served is None:
        stored = moments.text(wake())
        yield from call.finishing(stored)
    else:
        stored = call.served.value()
    until = moments.read(stored)
    if until is None:
        raise NotSerializable(f"step {call.key} recorded no moment to wake at: {stored!r}")
    return until


def _until(call: StepCall, until: datetime) -> Steps[None]:
    if _left(until) > NEAR:
        yield from room_of(call.worker).park(Parked(call.lane, until=until))
    while (left := _left(until)) > 0:
        yield Sleep(left)
