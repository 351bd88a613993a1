"""Opening a step: its place in the lane, what the journal says of it, and its turn.

What is recorded is served in the order of the log; what is not is begun, unless the
journal forbids it (another call, an unknown outcome, the end of a replayed record).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NoReturn

from agentstream.agents.calls import Effect, Served, StepCall, unknown
from agentstream.agents.context import current_lane, inside, is_muted, lane_here
from agentstream.agents.locations import calling_code
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.stops import Stop
from agentstream.agents.worker import Worker
from agentstream.backends.base import Traits
from agentstream.backends.driving import adrive, drive
from agentstream.errors import AgentStreamError, BlobLost, ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.events import StepKey, user_value
from agentstream.sessions.large import fetch

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.agents.journal import Entry
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps


def recording() -> bool:
    """Whether a call made here and now becomes a step: in a run, and not inside another step.

    Raises AgentStreamError where a run is open in this process but this thread lost its context.
    """
    return lane_recorded() is not None


def lane_recorded() -> Lane | None:
    """The lane in which a call made here and now becomes a step, None where it does not; raises as `recording`."""
    return None if is_muted() else current_lane()


def muted() -> contextlib.AbstractContextManager[None]:
    """Inside this block nothing is recorded or served: for a step that calls what would itself be recorded."""
    return inside(True)


def opening(
    kind: str,
    name: str,
    input: Any,
    *,
    effect: Effect = "repeat",
    fingerprint: Any = None,
    retry: bool = False,
    at: str | None = "arguments",
    changeable: bool | Collection[str] = False,
    code: str | None = None,
    at_once: bool = False,
    in_loop: bool = False,
) -> Steps[StepCall]:
    """Gives the step its place and its number; see `open_step`. `at`: how paths to what is in `input` begin;
    `changeable` may be the names that the input can be given, whether it has them or not; `code` is where the call
    stands, by default who calls this; `at_once`: see `StepCall`."""
    lane = current_lane()
    if lane is None:
        raise AgentStreamError(f"{kind} {name!r}: there is no run here; ask recording() first")
    worker = lane.worker
    worker.check()
    if lane.cursor == lane.interrupt_before:
        raise asyncio.CancelledError  # as the record has it: nothing more is made in this block
    rules = worker.core.rules
    encoded = input if type(input) is codec.Encoded else rules.encode(input, where=f"input of {name}", at=at)
    told = encoded if fingerprint is None else rules.encode(fingerprint, where=f"key of {name}", at=at)
    data, call = encoded.data, (kind, name, rules.fingerprint(told))
    last = lane.last
    if retry and last is not None and last.call == call:
        if last.served is not None:
            return last
        if last.failed:
            step = lane.last = last.next()
            yield from step.beginning()
            return step
    entry = yield from worker.lanes.place(lane, call, data, in_loop=in_loop)
    assert lane.entry is not None
    step = StepCall(worker, lane, StepKey(lane.run, lane.entry.id, lane.cursor - 1, 0), call, effect, data, entry=entry)
    step.code, step.at_once = code, at_once
    if worker.watch is not None:
        worker.watch.reached(worker, step)
    yield from _fetch(worker, entry)
    step.served = _outcome(worker, step)
    if step.served is None:
        if worker.steering is not None:
            yield from worker.steering.ready(step, changeable=changeable, in_loop=in_loop)
        yield from step.beginning()
        if worker.steering is not None:
            yield from worker.steering.mock(step, in_loop=in_loop)
    else:
        assert entry is not None
        step.id = StepKey(*step.id.identity, entry.step.attempt if entry.step is not None else 1)
        worker.served.append(entry)
        if in_loop:
            yield from worker.turnstile.taken(entry.turn, lane.owner)
        else:
            worker.turnstile.happened(entry.turn)
    lane.last = step
    return step


def _fetch(worker: Worker, entry: Entry | None) -> Steps[None]:
    """Reads what of a recorded result is kept in blobs, without blocking others. A replay has read it already."""
    recorded = entry.step if entry is not None and entry.served else None
    if recorded is not None and recorded.outcome is not None and not worker.replaying:
        try:
            yield from fetch(recorded)
        except BlobLost as error:
            raise worker.stop(error) from error


def _outcome(worker: Worker, step: StepCall) -> Served | None:
    """The recorded outcome for this step, None if it is to be made. Raises the stops that forbid making it."""
    entry = step.entry
    recorded = entry.step if entry is not None else None
    outcome = entry.outcome if entry is not None and entry.served else None
    if recorded is not None and outcome is not None:
        value = outcome.value
        error = RecordedError.read(value["error"]) if "error" in value else None
        cancelled, raised = bool(value.get("cancelled")), bool(value.get("raised"))
        try:
            result = recorded.result
        except BlobLost as lost:
            raise worker.stop(lost) from lost
        return Served(result, error, cancelled, bool(value.get("typed")), raised)
    if entry is not None and entry.unknown and recorded is not None and not worker.replaying:
        why = "was begun, and the worker ended before it said what came of it"
        raise worker.stop(unknown(worker, recorded.key, why))
    if worker.replaying:
        raise _end_of_record(worker, step)
    return None


def _end_of_record(worker: Worker, step: StepCall) -> Stop:
    if worker.record_is_whole and step.entry is None:
        what = f"the code calls {step.kind} {step.name!r}, which the finished run did not"
        return worker.diverge("extra_call", None, step.call, step.data, step.lane.id, what)
    return worker.stop(
        ReplayOffline(
            f"session {worker.session!r}: the record ends before {step.kind} {step.name!r} "
            f"(lane {step.lane.id}, at {calling_code()}); a replay makes no calls. Resume the run to make it"
        )
    )


def open_step(
    kind: str,
    name: str,
    input: Any,
    *,
    effect: Effect = "repeat",
    fingerprint: Any = None,
    retry: bool = False,
    changeable: bool | Collection[str] = False,
) -> StepCall:
    """Opens a step in the calling code's lane (ask `recording()` first).

    `input` is recorded (long lists once), and with kind and name it is what the step is
    matched by; `fingerprint=` gives something else to match by. `retry=True` makes this a
    further attempt of the lane's last step, if that is the same call and failed; where that
    was served, the same outcome is served again. `changeable=True` promises that the caller
    sends what `call.changed` gives where that is set: a person runs the session on with
    another model or system prompt (`agents/replay_live.py`). In an event loop use `aopen_step`: this
    one waits in place. Raises NotSerializable, and the run's stop signals.
    """
    steps = opening(kind, name, input, effect=effect, fingerprint=fingerprint, retry=retry, changeable=changeable)
    return drive(steps, backend_here())


async def aopen_step(
    kind: str,
    name: str,
    input: Any,
    *,
    effect: Effect = "repeat",
    fingerprint: Any = None,
    retry: bool = False,
    changeable: bool | Collection[str] = False,
) -> StepCall:
    """As `open_step`, in an event loop; outcomes of concurrent lanes are served in the order of the log."""
    steps = opening(
        kind, name, input, effect=effect, fingerprint=fingerprint, retry=retry, changeable=changeable, in_loop=True
    )
    return await adrive(steps, backend_here())


class _NoBackend:
    """In a replay there is nothing to execute operations; the journal alone answers."""

    name = "replay"
    traits = Traits()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def execute(self, operation: Any) -> NoReturn:
        raise self._worker.stop(
            ReplayOffline(
                f"session {self._worker.session!r}: the code reads or writes streams outside a step ({operation!r} at "
                f"{calling_code()}); a replay does neither. Do it in a step, so that it is in the record"
            )
        )

    async def aexecute(self, operation: Any) -> NoReturn:
        self.execute(operation)

    def submit(self, operation: Any) -> NoReturn:
        self.execute(operation)

    def close(self) -> None:
        """There is nothing to close."""


def backend_here(otherwise: Backend | None = None) -> Backend:
    """What the calling code's operations are executed on: nothing in a replay, else `otherwise` or the run's own."""
    lane = lane_here()
    if lane is None:
        if otherwise is None:
            raise AgentStreamError("there is no run here; ask recording() first")
        return otherwise
    return backend_of(lane, otherwise)


def backend_of(lane: Lane, otherwise: Backend | None = None) -> Backend:
    writer = lane.worker.writer
    return _NoBackend(lane.worker) if writer is None else otherwise or writer.backend


def diverge(message: str, *, call: StepCall) -> NoReturn:
    """Stops the run as diverged at this step: for what only an integration can see."""
    raise call.worker.diverge("different_args", call.entry, call.call, call.data, call.lane.id, message)


def appending(kind: str, value: Any, key: str | None, *, in_loop: bool = False) -> Steps[tuple[str, str]]:
    """A user's event appended inside a run: a step, and the event in the same append. Returns its type and key."""
    lane = current_lane()
    assert lane is not None
    stored = lane.worker.core.rules.event(kind, user_value(kind, value))
    said = lane.worker.core.rules.encode(value, where=f"value of the {kind} event", at=kind)
    input = said.within(lambda form: {"value": form, "key": key})
    step = yield from opening("append", kind, input, in_loop=in_loop)
    if step.served is not None:
        return kind, str(step.served.value())
    name = key or f"{step.key}/1"
    step.worker.put(kind, name, stored)
    yield from step.finishing(name, in_loop=in_loop)
    yield from step.worker.flush()  # it is read back
    return kind, name
