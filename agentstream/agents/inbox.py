"""The inbox: what people say to a run while it goes on, and how they interrupt it.

Anyone may append a `message`. A run reads the new ones as a step, so that resume and replay
see what it saw. A message with `"interrupt": true` in its value asks to interrupt: the agent
may look for one (`interrupted`), or have a block of its code cancelled when one comes
(`interruptible`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agentstream.agents.opening import backend_here, opening
from agentstream.agents.stops import Stop
from agentstream.agents.turns import SETTLING
from agentstream.agents.waiting import Parked, Room, required_lane, room_of
from agentstream.backends.driving import adrive, drive
from agentstream.errors import Interrupted
from agentstream.protocol.operations import Read
from agentstream.sessions import codec
from agentstream.sessions.large import whole_value
from agentstream.sessions.patience import asked
from agentstream.sessions.waits import user_messages

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.agents.journal import Entry
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps
    from agentstream.sessions.events import Event
    from agentstream.sessions.state import State

PATIENCE = 20.0
"""Seconds that one wait for new events takes before it is asked again."""


def inbox(*, wait: bool = False) -> list[dict[str, Any]]:
    """The messages that people appended since the last `inbox()` of this run (or since it began), oldest first.

    With `wait=True` and none there, the run waits for one (RunWaiting) as it does for an answer.
    """
    required_lane("inbox", awaited=False)
    return drive(_reading(wait, in_loop=False), backend_here())


async def ainbox(*, wait: bool = False) -> list[dict[str, Any]]:
    """As `inbox`, for async agents."""
    required_lane("inbox", awaited=True)
    return await adrive(_reading(wait, in_loop=True), backend_here())


def interrupted() -> bool:
    """Whether a message that asks to interrupt is in the inbox and was not read yet."""
    required_lane("interrupted", awaited=False)
    return drive(_checking(in_loop=False), backend_here())


async def ainterrupted() -> bool:
    """As `interrupted`, for async agents."""
    required_lane("interrupted", awaited=True)
    return await adrive(_checking(in_loop=True), backend_here())


# --- reading ---------------------------------------------------------------------------------------------------------


def first_unread(worker: Worker) -> int:
    """The index from which on messages were not read, as the record has it and as far as the run has come."""
    state = worker.state
    read = [step.result for step in state.steps_of(worker.run) if (step.kind, step.name) == ("human", "inbox")]
    return max((each["upto"] for each in read if isinstance(each, dict)), default=_run_began(state, worker))


def _run_began(state: State, worker: Worker) -> int:
    """The index of the claim under which the run began: what was said before is none of its messages."""
    claims = state.of_type("claim", start=state.first_of(worker.run))
    claims = (event.index for event in claims if event.value.get("run") == worker.run)
    return next(claims, state.index)


def _unread(room: Room) -> int:
    if room.unread is None:
        room.unread = first_unread(room.worker)
    return room.unread


def _reading(wait: bool, *, in_loop: bool) -> Steps[list[dict[str, Any]]]:
    call = yield from opening("human", "inbox", {"wait": True} if wait else {}, effect="pure", in_loop=in_loop)
    if (served := (yield from call.recorded())) is not None:
        return served.value()["messages"]
    room = room_of(call.worker)
    with call.underway():
        yield from room.look()
        while wait and not any(user_messages(room.messages, _unread(room))):
            yield from room.park(Parked(call.lane, inbox=_unread(room)))
    # nothing is awaited between looking and taking: two lanes never get the same message
    fresh = list(user_messages(room.messages, _unread(room)))
    room.unread = max([_unread(room), *(event.index + 1 for event in fresh)])
    result = yield from call.finishing({"messages": [whole_value(event) for event in fresh], "upto": room.unread})
    return result["messages"]


def _asks_to_interrupt(event: Event) -> bool:
    return isinstance(event.value, dict) and event.value.get("interrupt") is True


def _interruption(room: Room) -> Event | None:
    return next(filter(_asks_to_interrupt, user_messages(room.messages, _unread(room))), None)


def _checking(*, in_loop: bool) -> Steps[bool]:
    call = yield from opening("human", "interrupted", {}, effect="pure", in_loop=in_loop)
    if call.served is not None:
        return bool(call.served.value())
    try:
        room = room_of(call.worker)
        yield from room.look()
        found = _interruption(room) is not None
    except BaseException:
        call.abandon()
        raise
    return (yield from call.finishing(found))


# --- interrupting a block --------------------------------------------------------------------------------------------


class interruptible:
    """A block of an async agent that is cancelled when a message that asks to interrupt comes; it raises Interrupted.

    Where in the block that was is recorded, and resume and replay cancel it there again. A
    message that was there before and was not read by `inbox()` interrupts at once.
    """

    def __init__(self) -> None:
        self._watcher: asyncio.Task[None] | None = None
        self._cancelled = False
        self._recorded = False

    async def __aenter__(self) -> interruptible:
        self._lane = required_lane("interruptible", awaited=True)
        self._backend = backend_here()
        self._number = await adrive(_block(), self._backend)
        task = asyncio.current_task()
        assert task is not None
        recorded = _recorded_end(self._lane, self._number)
        self._outer = self._lane.interrupt_before
        if recorded is not None:
            self._recorded = True
            self._lane.interrupt_before = recorded.ordinal
            watching = partial(_again, self._lane, recorded)
        elif not self._lane.worker.replaying:
            watching = self._live
        else:
            return self
        # in a context of its own: it is no lane of the run
        self._watcher = Context().run(asyncio.ensure_future, self._interrupting(task, watching))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lane.interrupt_before = self._outer
        if self._watcher is not None:
            self._watcher.cancel()
        if not isinstance(error, asyncio.CancelledError):
            await self._absorb()
            return
        if not (self._cancelled or self._recorded) or self._cancelled_by_others():
            return
        await adrive(_block_end(self._number), self._backend)
        raise Interrupted("a message that asks to interrupt came; inbox() gives it") from None

    async def _absorb(self) -> None:
        """The block came to its end in the moment in which it was cancelled: the message stays in the inbox."""
        if self._cancelled and not self._cancelled_by_others():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    def _cancelled_by_others(self) -> bool:
        task = asyncio.current_task()
        uncancel = getattr(task, "uncancel", None)  # Python 3.11
        return uncancel is not None and self._cancelled and uncancel() > 0

    async def _interrupting(self, task: asyncio.Task[Any], watching: Callable[[], Awaitable[None]]) -> None:
        try:
            await watching()
        except (Exception, Stop) as error:  # the log cannot be read: the block meets the run's stop at its end
            self._lane.worker.stop(error.error if isinstance(error, Stop) else error)
        self._cancelled = True
        task.cancel()

    async def _live(self) -> None:
        """Returns when a message that asks to interrupt is in the log, and the code is where it can be interrupted."""
        worker, room = self._lane.worker, room_of(self._lane.worker)
        while True:
            log = await adrive(worker.core.refresh(worker.session), self._backend)
            path, offset = (log.path, log.offset) if log is not None else ("", "")
            await adrive(room.look(), self._backend)  # after the offset was taken: what comes later ends the wait below
            if _interruption(room) is not None:
                break
            await adrive(asked(Read(path, offset, wait=PATIENCE)), self._backend)
        await _served_up(self._lane)


def _block() -> Steps[int]:
    """A step that says where the block begins; returns its ordinal in the lane."""
    call = yield from opening("human", "interruptible", {}, effect="pure", in_loop=True)
    if call.served is None:
        yield from call.finishing(None)
    return call.id.ordinal


def _block_end(number: int) -> Steps[None]:
    """The step that stands where the block was interrupted, and nowhere else."""
    call = yield from opening("human", "interrupt", {"block": number}, effect="pure", in_loop=True)
    if call.served is None:
        yield from call.finishing(None)


def _recorded_end(lane: Lane, number: int) -> Entry | None:
    """Where the record says that this block was interrupted."""
    if lane.entry is None:
        return None
    wanted = ("human", "interrupt", codec.fingerprint({"block": number}))
    return next((entry for entry in lane.entry.steps.values() if entry.call == wanted), None)


async def _again(lane: Lane, end: Entry) -> None:
    """Returns when all has been gone through that the record holds of the block."""
    await _served_up(lane, end)
    for _ in range(SETTLING):
        await asyncio.sleep(0)


async def _served_up(lane: Lane, end: Entry | None = None) -> None:
    """Returns when the code has come to everything that was recorded in this lane and those below it, up to `end`."""
    entry = lane.entry
    if entry is None:
        return
    below = (f"{entry.id}.", f"{entry.run}/{entry.id}/", f"{entry.run}/{entry.id}.")
    recorded = [
        each
        for each in lane.worker.journal.entries
        if (end is None or each.number < end.number)
        and (
            (each.run == entry.run and (each.lane == entry.id or each.lane.startswith(below[0])))
            or each.run.startswith(below[1:])
        )
    ]
    progress = lane.worker.progress
    while not all(each.asked and (not each.served or each.turn.done) for each in recorded):
        before = progress.moves
        for _ in range(SETTLING):
            await asyncio.sleep(0)
        if progress.moves == before:
            await asyncio.sleep(0.002)
