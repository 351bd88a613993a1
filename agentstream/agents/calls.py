"""Calls: opening a step, being served, feeding it, finishing or failing it.

This is the one place where a step meets the journal and the log. `@step` and every
integration are built on it. Each operation is a generator (`opening`, `StepCall.finishing`,
…) with a sync and an async method of one line.
"""

from __future__ import annotations

import contextlib
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from agentstream.agents.context import Lane, current_lane, inside, is_muted
from agentstream.agents.divergence import calling_code
from agentstream.agents.journal import Call, Entry
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.stops import Stop
from agentstream.agents.worker import Worker
from agentstream.backends.driving import adrive, drive
from agentstream.errors import AgentStreamError, NotSerializable, OutcomeUnknown, ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.events import StepKey, user_value

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps

Effect = Literal["repeat", "once", "pure"]

START_WITHIN = 0.05
"""Seconds after which a step's start is written, if its outcome has not come before."""

DELTA_WITHIN = 0.04
"""Seconds for which deltas gather before they are written."""


@dataclass(frozen=True, slots=True)
class Served:
    """An outcome from the record. `result` may stand beside `error`: what code that saw the failure was given."""

    result: Any = None
    error: RecordedError | None = None
    cancelled: bool = False
    typed: bool = False

    def value(self) -> Any:
        """The result; raises the recorded error where the step failed."""
        if self.error is not None:
            raise self.error.exception()
        return self.result


class _Delta:
    """Text that gathers until it is written."""

    def __init__(self, call: StepCall, number: int, target: str, kind: str) -> None:
        self.call, self.number, self.target, self.kind = call, number, target, kind
        self.parts: list[str] = []
        self.lock = threading.Lock()
        self.sent = False

    def add(self, text: str) -> bool:
        with self.lock:
            if not self.sent:
                self.parts.append(text)
            return not self.sent

    def __call__(self) -> bytes:
        with self.lock:
            self.sent = True
            value = {"target": self.target, "kind": self.kind, "text": "".join(self.parts), "attempt": self.call.attempt}
        return self.call.worker.event("delta", f"{self.call.key}/d{self.number}", codec.encode(value).data)


@dataclass(eq=False)
class StepCall:
    """One step being made. `served` is set where its outcome is in the record: hand that on and make no call.

    Else make the call, and then exactly one of `finish`, `fail`, `cancel` or `abandon`.
    """

    worker: Worker = field(repr=False)
    lane: Lane = field(repr=False)
    id: StepKey
    call: Call
    effect: Effect
    data: Any = field(repr=False)
    served: Served | None = None
    entry: Entry | None = field(default=None, repr=False)
    failed: bool = False
    _deltas: int = 0
    _delta: _Delta | None = field(default=None, repr=False)
    _emitted: int = 0
    _done: bool = False

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def attempt(self) -> int:
        return self.id.attempt

    @property
    def kind(self) -> str:
        return self.call[0]

    @property
    def name(self) -> str:
        return self.call[1]

    @property
    def idempotency_key(self) -> str:
        """Equal across the attempts of this step, different after a fork or a rewind: for providers that deduplicate by one."""
        return identity_hash(self.worker, self.id)

    @property
    def backend(self) -> Backend:
        writer = self.worker.writer
        if writer is None:
            raise self.worker.stop(ReplayOffline(f"session {self.worker.session!r}: a replay makes no calls"))
        return writer.backend

    # --- while it runs -----------------------------------------------------------------------------------------------

    def feed(self, target: str, text: str, kind: str = "text") -> None:
        """Adds text to what is coming for `target` (a message or tool call id): `kind` is text, reasoning or args."""
        if not text:
            return
        delta = self._delta
        if delta is None or (delta.target, delta.kind) != (target, kind) or not delta.add(text):
            self._deltas += 1
            delta = self._delta = _Delta(self, self._deltas, target, kind)
            delta.add(text)
            self._put(delta)

    def _put(self, delta: _Delta) -> None:
        writer = self.worker.writer
        if writer is not None:
            try:
                writer.put(delta, within=DELTA_WITHIN)
            except AgentStreamError as error:
                raise self.worker.stop(error) from error

    def emit(self, type: str, value: dict[str, Any], key: str | None = None) -> str:
        """Adds a typed event (message, tool_call, …) beside the step; returns its key. Written with the next append."""
        self._emitted += 1
        key = key or f"{self.key}/{self._emitted}"
        self.worker.put(type, key, user_value(type, value), within=START_WITHIN)
        return key

    # --- how it ends -------------------------------------------------------------------------------------------------

    def finishing(self, result: Any, *, usage: dict[str, Any] | None = None) -> Steps[Any]:
        encoded = codec.encode(result, where=f"result of {self.name}")
        value: dict[str, Any] = {"result": encoded.data}
        if encoded.typed:
            value["typed"] = True
        yield from self._end(value, usage)
        return codec.decode(encoded.data)

    def failing(
        self, error: BaseException | None = None, *, result: Any = None, usage: dict[str, Any] | None = None
    ) -> Steps[None]:
        recorded = RecordedError.of(error) if error is not None else RecordedError("Error", "the call failed")
        value: dict[str, Any] = {"error": recorded.stored()}
        if result is not None:
            value["result"] = codec.encode(result, where=f"result of {self.name}").data
        self.failed = True
        yield from self._end(value, usage)

    def _end(self, value: dict[str, Any], usage: dict[str, Any] | None) -> Steps[None]:
        self._close()
        if usage:
            value["usage"] = codec.encode(usage).data
        self.worker.put("outcome", self.key, value, packed="result")
        if self.effect == "pure":
            self.worker.pure_pending = True
        else:
            yield from self.worker.flush()

    def _close(self) -> None:
        if self._done:
            raise AgentStreamError(f"step {self.key} has its outcome already")
        self._done = True
        with self.worker.lock:
            self.worker.flying -= 1
            self.worker.progress += 1

    def finish(self, result: Any, *, usage: dict[str, Any] | None = None) -> Any:
        """Records the result; durable when this returns. Returns what code is to receive: decode(record).

        `usage` is a mapping of counts (`input_tokens`, `output_tokens`, …). Raises NotSerializable
        (the step is then still open: fail it), and the run's stop signals.
        """
        return drive(self.finishing(result, usage=usage), self.backend)

    async def afinish(self, result: Any, *, usage: dict[str, Any] | None = None) -> Any:
        """As `finish`, without blocking the event loop."""
        return await adrive(self.finishing(result, usage=usage), self.backend)

    def fail(
        self, error: BaseException | None = None, *, result: Any = None, usage: dict[str, Any] | None = None
    ) -> None:
        """Records a failure; durable when this returns. `result` is what to serve to code that saw it, if it saw a value."""
        drive(self.failing(error, result=result, usage=usage), self.backend)

    async def afail(
        self, error: BaseException | None = None, *, result: Any = None, usage: dict[str, Any] | None = None
    ) -> None:
        """As `fail`, without blocking the event loop."""
        await adrive(self.failing(error, result=result, usage=usage), self.backend)

    def cancel(self) -> None:
        """The call was cancelled. Written only if the run's own code goes on: a run cancelled from outside leaves no outcome."""
        self._close()
        if self.effect == "once":
            self.worker.stop(unknown(self.worker, self.key, "was cancelled while it acted"))
        elif self.worker.writer is not None and self.worker.poison is None:
            self.worker.put("outcome", self.key, {"cancelled": True})

    def abandon(self) -> None:
        """Leaves the step without an outcome, as a crash would."""
        if not self._done:
            self._close()


def identity_hash(worker: Worker, key: StepKey) -> str:
    """22 characters that a step's identity alone decides: incarnation, last rewind, run, lane, ordinal."""
    parts = (worker.state.incarnation, worker.state.last_rewind, *key.identity)
    return urlsafe_b64encode(sha256("\0".join(map(str, parts)).encode()).digest()[:16]).decode()[:22]


def unknown(worker: Worker, key: str, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f'session {worker.session!r}: step {key} (effect="once") {why}; whether it happened is unknown. '
        f"Find out, then session.resolve({key!r}, result) or session.resolve({key!r}, error=…)",
        step=key,
    )


# --- opening -----------------------------------------------------------------------------------------------------------


def recording() -> bool:
    """Whether a call made here and now becomes a step: in a run, and not inside another step.

    Raises AgentStreamError where a run is open in this process but this thread lost its context.
    """
    return not is_muted() and current_lane() is not None


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
    in_loop: bool = False,
) -> Steps[StepCall]:
    """Gives the step its place and its number; see `open_step`."""
    lane = current_lane()
    if lane is None:
        raise AgentStreamError(f"{kind} {name!r}: there is no run here; ask recording() first")
    worker = lane.worker
    worker.check()
    data = codec.encode(input, where=f"input of {name}").data
    told = data if fingerprint is None else codec.encode(fingerprint, where=f"key of {name}").data
    call = (kind, name, codec.fingerprint(told))
    last = lane.last
    if retry and last is not None and last.call == call:
        if last.served is not None:
            return last
        if last.failed:
            step = StepCall(worker, lane, last.id, call, effect, data)
            yield from begin(step)
            lane.last = step
            return step
    entry = yield from worker.place(lane, call, data, in_loop=in_loop)
    assert lane.entry is not None
    step = StepCall(worker, lane, StepKey(lane.run, lane.entry.id, lane.cursor - 1, 0), call, effect, data, entry=entry)
    _stop_at_until(worker, step)
    step.served = _outcome(worker, step)
    if step.served is not None:
        assert entry is not None
        step.id = StepKey(*step.id.identity, entry.step.attempt if entry.step is not None else 1)
        yield from worker.hand(entry, lane.owner, in_loop=in_loop)
    else:
        yield from begin(step)
    lane.last = step
    return step


def _outcome(worker: Worker, step: StepCall) -> Served | None:
    """The recorded outcome for this step, None if it is to be made. Raises the stops that forbid making it."""
    entry = step.entry
    recorded = entry.step if entry is not None else None
    if entry is not None and recorded is not None and (entry.served or (worker.replaying and entry.outcome is not None)):
        value = recorded.outcome.value if recorded.outcome is not None else {}
        error = RecordedError.read(value["error"]) if "error" in value else None
        return Served(recorded.result, error, bool(value.get("cancelled")), bool(value.get("typed")))
    if entry is not None and entry.unknown and recorded is not None and not worker.replaying:
        raise worker.stop(unknown(worker, recorded.key, "was begun, and the worker ended before it said what came of it"))
    if worker.replaying:
        raise _end_of_record(worker, step)
    return None


def _end_of_record(worker: Worker, step: StepCall) -> Stop:
    run = next((run for run in worker.state.runs.values() if run.key == worker.run), None)
    if run is not None and not run.open:
        what = f"the code calls {step.kind} {step.name!r}, which the finished run did not"
        return worker.diverge("extra_call", None, step.call, step.data, step.lane.id, what)
    return worker.stop(
        ReplayOffline(
            f"session {worker.session!r}: the record ends before {step.kind} {step.name!r} "
            f"(lane {step.lane.id}, at {calling_code()}); a replay makes no calls. Resume the run to make it"
        )
    )


def _stop_at_until(worker: Worker, step: StepCall) -> None:
    if worker.until is not None and worker.journal.index(step.entry) >= worker.until:
        raise worker.stop(ReplayOffline(f"session {worker.session!r}: the replay stops before step {worker.until}, as asked"))


def begin(step: StepCall) -> Steps[None]:
    """Starts an attempt. A `once` step's start is durable before it acts; other starts ride with what comes next."""
    worker = step.worker
    step.id = worker.next_attempt(*step.id.identity)
    value: dict[str, Any] = {"kind": step.kind, "name": step.name, "input": step.data, "fingerprint": step.call[2]}
    if step.effect != "repeat":
        value["effect"] = step.effect
    if step.effect == "once":
        value["idempotency_key"] = step.idempotency_key
    worker.put("step", step.key, value, packed="input", within=None if step.effect == "pure" else START_WITHIN)
    with worker.lock:
        worker.flying += 1
    if step.effect == "once" or (step.effect == "repeat" and worker.pure_pending):
        try:
            yield from worker.flush()
        except BaseException:
            step.abandon()
            raise
        worker.pure_pending = False


def open_step(
    kind: str, name: str, input: Any, *, effect: Effect = "repeat", fingerprint: Any = None, retry: bool = False
) -> StepCall:
    """Opens a step in the calling code's lane (ask `recording()` first).

    `input` is recorded (long lists once), and with kind and name it is what the step is
    matched by; `fingerprint=` gives something else to match by. `retry=True` makes this a
    further attempt of the lane's last step, if that is the same call and failed; where that
    was served, the same outcome is served again. In an event loop use `aopen_step`: this
    one waits in place. Raises NotSerializable, and the run's stop signals.
    """
    lane = current_lane()
    steps = opening(kind, name, input, effect=effect, fingerprint=fingerprint, retry=retry)
    return drive(steps, _backend(lane))


async def aopen_step(
    kind: str, name: str, input: Any, *, effect: Effect = "repeat", fingerprint: Any = None, retry: bool = False
) -> StepCall:
    """As `open_step`, in an event loop; outcomes of concurrent lanes are served in the order of the log."""
    lane = current_lane()
    steps = opening(kind, name, input, effect=effect, fingerprint=fingerprint, retry=retry, in_loop=True)
    return await adrive(steps, _backend(lane))


class _NoBackend:
    """In a replay there is nothing to execute operations; the journal alone answers."""

    name = "replay"

    def execute(self, operation: Any) -> NoReturn:
        raise ReplayOffline(f"a replay executes no operation, but met {operation!r}")

    async def aexecute(self, operation: Any) -> NoReturn:
        self.execute(operation)

    submit = execute


def _backend(lane: Lane | None) -> Any:
    if lane is None or lane.worker.writer is None:
        return _NoBackend()
    return lane.worker.writer.backend


def backend_here() -> Any:
    """What the drivers of the calling code's run execute operations on."""
    return _backend(current_lane())


def diverge(message: str, *, call: StepCall) -> NoReturn:
    """Stops the run as diverged at this step: for what only an integration can see (reading on where the caller stopped)."""
    raise call.worker.diverge("different_args", call.entry, call.call, call.data, call.lane.id, message)


# --- events in the name of a run --------------------------------------------------------------------------------------


def appending(kind: str, value: Any, key: str | None, *, in_loop: bool = False) -> Steps[tuple[str, str]]:
    """A user's event appended inside a run: a step, and the event in the same append. Returns its type and key."""
    step = yield from opening("append", kind, {"value": value, "key": key}, in_loop=in_loop)
    if step.served is not None:
        return kind, str(step.served.value())
    try:
        name = key or f"{step.key}/1"
        step.worker.put(kind, name, user_value(kind, value), within=START_WITHIN)
        yield from step.finishing(name)
    except NotSerializable:
        step.abandon()
        raise
    return kind, name
