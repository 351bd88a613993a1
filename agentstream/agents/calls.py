"""A call: one step being made. Feeding it, finishing or failing it.

With `opening.py` this is the one place where a step meets the journal and the log; `@step`
and every integration are built on it. Each operation is a generator (`finishing`, …) with
a sync and an async method of one line.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from agentstream.agents.context import Lane
from agentstream.agents.deltas import Naming
from agentstream.agents.journal import Call, Entry
from agentstream.agents.locations import calling_place
from agentstream.agents.outcomes import RecordedError
from agentstream.agents.worker import Worker
from agentstream.backends.driving import adrive, drive
from agentstream.backends.finalizing import elsewhere, in_collector
from agentstream.errors import AgentStreamError, OutcomeUnknown, ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.attachments import attachments_from
from agentstream.sessions.events import StepKey, user_value
from agentstream.sessions.redaction import Held

if TYPE_CHECKING:
    from agentstream.agents.replay_live import Changes
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.redaction import Rules

Effect = Literal["repeat", "once", "pure"]

START_WITHIN = 0.05
"""Seconds after which a step's start is written, if its outcome has not come before."""

DELTA_WITHIN = 0.04
"""Seconds for which deltas gather before they are written."""

Left = Callable[[], tuple[Any, "dict[str, Any] | None"]]
"""Gives the result and the usage of a call that nobody finished."""


class Served(msgspec.Struct, frozen=True):
    """An outcome from the record.

    `result` may stand beside `error` (what code that saw the failure was given) and beside
    `cancelled` (what it had been given by then). A cancelled one is waited for until the
    code cancels it again, unless the call `raised` the cancellation by itself.
    """

    result: Any = None
    error: RecordedError | None = None
    cancelled: bool = False
    typed: bool = False
    raised: bool = False

    def value(self) -> Any:
        """The result; raises the recorded error where the step failed."""
        if self.error is not None:
            raise self.error.exception()
        return self.result


class Speaker(Protocol):
    """Whose text it is: a call, or a place between two steps."""

    worker: Worker
    _deltas: int

    @property
    def key(self) -> str: ...
    @property
    def attempt(self) -> int: ...


class _Delta:
    """Text for one target that gathers until it is written, over and over."""

    __slots__ = ("call", "kind", "lock", "naming", "parts", "target")

    def __init__(self, call: Speaker, target: str, kind: str, naming: Naming) -> None:
        self.call, self.target, self.kind, self.naming = call, target, kind, naming
        self.parts: list[str] = []
        self.lock = threading.Lock()

    def add(self, text: str) -> bool:
        """Whether this is the first since it was written: it is to be handed to the writer again."""
        with self.lock:
            self.parts.append(text)
            return len(self.parts) == 1

    def __call__(self) -> bytes:
        with self.lock:
            text = "".join(self.parts)
            self.parts.clear()
        self.call._deltas += 1  # the writer makes its messages one by one
        value = {"target": self.target, "kind": self.kind, "text": text, "attempt": self.call.attempt}
        value.update(self.naming.of(self.target, self.kind))
        return self.call.worker.event("delta", f"{self.call.key}/d{self.call._deltas}", codec.encode(value).data)


@dataclass(eq=False)
class StepCall:
    """One step being made. `served` is set where its outcome is in the record: hand that on and make no call.

    Else make the call, and then exactly one of `finish`, `fail`, `cancel` or `abandon`.
    Once the run has ended all of them do nothing.
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
    if_left: Left | None = field(default=None, repr=False)
    """Gives `(result, usage)` where the run's function ends and nobody finished this call: a stream left half read."""
    changed: Changes | None = field(default=None, repr=False)
    """What is to be sent otherwise than the code asks; who opened the step as `changeable` heeds it."""
    code: str | None = field(default=None, repr=False)
    """The place in the user's code that makes the call, where it is known."""
    at_once: bool = field(default=False, repr=False)
    """A pure one whose small result is known when it is opened: one event says it all (`adapters.making.atold`)."""
    _deltas: int = 0
    _delta: _Delta | None = field(default=None, repr=False)
    _held: Held = field(init=False, repr=False)
    _naming: Naming = field(default_factory=Naming, repr=False)
    _emitted: int = 0
    _done: bool = False

    def __post_init__(self) -> None:
        self._held = Held(self.rules)

    @property
    def key(self) -> str:
        return str(self.id)

    @property
    def attempt(self) -> int:
        return self.id.attempt

    @property
    def ended(self) -> bool:
        """Whether it has its outcome, or the run has ended."""
        return self._done or self.worker.ended

    @property
    def kind(self) -> str:
        return self.call[0]

    @property
    def name(self) -> str:
        return self.call[1]

    @property
    def idempotency_key(self) -> str:
        """Equal across the attempts of this step, different after a fork or a rewind."""
        return identity_hash(self.worker, self.id)

    @property
    def backend(self) -> Backend:
        writer = self.worker.writer
        if writer is None:
            raise self.worker.stop(ReplayOffline(f"session {self.worker.session!r}: a replay makes no calls"))
        return writer.backend

    # --- how it begins -----------------------------------------------------------------------------------------------

    def recorded(self) -> Steps[Served | None]:
        """The outcome where the record has it; a call that was cancelled waits to be cancelled again."""
        if self.served is not None and self.served.cancelled:
            yield from self.worker.forever()
        return self.served

    @contextmanager
    def underway(self) -> Iterator[None]:
        """Around what the call does: cancelled in it, it is `cancel`led; broken off otherwise, it is `abandon`ed."""
        try:
            yield
        except asyncio.CancelledError:
            self.cancel()
            raise
        except BaseException:
            self.abandon()
            raise

    def beginning(self) -> Steps[None]:
        """Starts an attempt. A `once` step's start is durable before it acts; others ride with what comes next."""
        worker = self.worker
        self.id = worker.next_attempt(*self.id.identity)
        if not self.at_once:
            self._put_start()
        self._done = False
        worker.progress.took_off()
        worker.open_calls[self] = None
        if worker.core.observer is not None:
            worker.core.observer.began(self)
        if self.effect == "once" or (self.effect == "repeat" and worker.pure_pending and not worker.ahead):
            try:
                yield from worker.flush()
            except asyncio.CancelledError:
                self._put_cancelled()  # it has not acted
                raise
            except BaseException:
                self.abandon()
                raise

    def next(self) -> StepCall:
        """A further attempt of this step, to be begun."""
        made = StepCall(self.worker, self.lane, self.id, self.call, self.effect, self.data, entry=self.entry)
        made.changed, made.code = self.changed, self.code
        return made

    def _told(self) -> dict[str, Any]:
        """What a start says of the call itself."""
        return {"kind": self.kind, "name": self.name, "input": self.data, "fingerprint": str(self.call[2])}

    def _put_start(self) -> None:
        value = self._told()
        self.code = self.code or calling_place()
        if self.code is not None:
            value["code"] = self.code
        if self.effect != "repeat":
            value["effect"] = self.effect
        if self.effect == "once":
            value["idempotency_key"] = self.idempotency_key
        within = None if self.effect == "pure" else START_WITHIN
        self.worker.put("step", self.key, value, packed="input", within=within)

    # --- while it runs -----------------------------------------------------------------------------------------------

    def feed(
        self, target: str, text: str, kind: str = "text", name: str | None = None, message: str | None = None
    ) -> None:
        """Adds text to what is coming for `target` (a message or tool call id): `kind` is text, reasoning or args.

        With arguments say `name`, the tool's, and `message`, the id of the message that will hold the call, as soon
        as they are known, with or without text: who looks on sees the call while it is written.
        """
        self._naming.learn(target, name, message)
        if not text or self.worker.ended:
            return
        self._write(target, self._held.add(target, kind, text), kind)

    def _write(self, target: str, text: str, kind: str) -> None:
        if not text:
            return
        delta = self._delta
        if delta is None or delta.target != target or delta.kind != kind:
            delta = self._delta = _Delta(self, target, kind, self._naming)
        if delta.add(text):
            self._put_delta(delta)

    def _put_delta(self, delta: _Delta) -> None:
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
        if not self.worker.ended:
            self.worker.put(type, key, self.rules.event(type, user_value(type, value)), within=START_WITHIN)
        return key

    # --- how it ends -------------------------------------------------------------------------------------------------

    def finishing(self, result: Any, *, usage: dict[str, Any] | None = None, in_loop: bool = False) -> Steps[Any]:
        encoded = self.encoded(result)
        yield from self.finishing_with(encoded, usage=usage, in_loop=in_loop)
        with attachments_from(self.worker.core.blobs):
            return codec.decode(encoded.data)

    def finishing_with(
        self, result: codec.Encoded, *, usage: dict[str, Any] | None = None, in_loop: bool = False
    ) -> Steps[None]:
        """As `finishing`, for a result that is encoded already."""
        yield from self._end(self._finished(result, usage), in_loop=in_loop)

    def failing(
        self,
        error: BaseException | None = None,
        *,
        result: Any = None,
        usage: dict[str, Any] | None = None,
        happened: bool = False,
        retried: bool = False,
        in_loop: bool = False,
    ) -> Steps[BaseException]:
        """`happened`: the effect was had, only its result has no record; it is never tried again.

        `retried`: another attempt follows at once, and the code sees only what comes of that.
        Returns what the code is to see: the error, or what the record says if something was taken out of it.
        """
        error = RuntimeError("the call failed") if error is None else error  # which may be falsy
        recorded = RecordedError.of(error, self.rules)
        value: dict[str, Any] = {"error": recorded.stored()}
        if result is not None:
            value["result"] = self.encoded(result).data
        if usage:
            value["usage"] = self.rules.encode(usage, where="usage", at="usage").data
        if happened:
            value["happened"] = True
        if retried:
            value["retried"] = True
        self.failed = True
        yield from self._end(value, in_loop=in_loop)
        return recorded.seen(error)

    def encoded(self, result: Any) -> codec.Encoded:
        """A result as it is recorded. Raises NotSerializable."""
        return self.rules.encode(result, where=f"result of {self.name}", at="result")

    @property
    def redacts(self) -> bool:
        """Whether something may be taken out of what the step records: then code is to get what was recorded."""
        return self.rules.active

    def redacted(self, value: Any) -> Any:
        """A result, or a part of one that is recorded in another form, as code is to get it. Raises NotSerializable."""
        return codec.decode(self.encoded(value).data)

    def redacted_pieces(self, pieces: list[str]) -> list[str]:
        """The pieces of one text, as many, without what is taken out of the whole."""
        return self.rules.pieces(pieces)

    @property
    def rules(self) -> Rules:
        return self.worker.core.rules

    def _end(self, value: dict[str, Any], *, in_loop: bool) -> Steps[None]:
        worker = self.worker
        if not self._close(value):
            worker.check()  # nobody may take for durable what is not
        pure, ahead = self.effect == "pure", self.effect == "repeat" and worker.ahead
        if self.at_once:
            worker.put_pure("step", self.key, {**self._told(), "effect": "pure", **value}, packed="input")
        elif pure:
            worker.put_pure("outcome", self.key, value, packed="result")
        else:
            worker.put("outcome", self.key, value, packed="result", within=START_WITHIN if ahead else None)
        turn = worker.turnstile.new() if in_loop else None
        try:
            if not pure and not ahead:
                yield from worker.flush()
            if turn is not None:
                yield from worker.turnstile.taken(turn, self.lane.owner)
        except asyncio.CancelledError:
            self.overtaken()
            raise
        finally:
            if turn is not None:
                worker.turnstile.happened(turn)

    def _close(self, value: dict[str, Any] | None = None) -> bool:
        """Whether there is anything to end: the run goes on. `value` is the outcome, if there is to be one."""
        if self.worker.ended:
            self._done = True
            return False
        if self._done:
            raise AgentStreamError(f"step {self.key} has its outcome already")
        if self._goes_on:
            for target, kind, text in self._held.rest():
                self._write(target, text, kind)
        self._done = True
        self.worker.open_calls.pop(self, None)
        self.worker.progress.landed()
        if self.worker.core.observer is not None:
            self.worker.core.observer.ended(self, value)
        return True

    def leave(self) -> None:
        """Nobody finishes this call any more: what `if_left` gives is its outcome, written soon.

        For a stream that stands half read when the run's function ends, or that the garbage collector has found.
        """
        if in_collector():
            elsewhere(self.leave)
            return
        with self.worker.leaving:
            if self.if_left is None or self._done or not self._goes_on:
                return
            result, usage = self.if_left()
            value = self._finished(self.encoded(result), usage)
            self._close(value)
            self.worker.put("outcome", self.key, value, packed="result", within=START_WITHIN)

    def finish(self, result: Any, *, usage: dict[str, Any] | None = None) -> Any:
        """Records the result; durable when this returns. Returns what code is to receive: decode(record).

        `usage` is a mapping of counts (`input_tokens`, `output_tokens`, …). Raises NotSerializable
        (the step is then still open: fail it), and the run's stop signals.
        """
        return None if self.worker.ended else drive(self.finishing(result, usage=usage), self.backend)

    async def afinish(self, result: Any, *, usage: dict[str, Any] | None = None) -> Any:
        """As `finish`, without blocking the event loop; returns in this outcome's turn."""
        if self.worker.ended:
            return None
        return await adrive(self.finishing(result, usage=usage, in_loop=True), self.backend)

    def fail(
        self, error: BaseException | None = None, *, result: Any = None, usage: dict[str, Any] | None = None
    ) -> None:
        """Records a failure; durable when this returns. `result` is what to serve to code that saw a value."""
        if not self.worker.ended:
            drive(self.failing(error, result=result, usage=usage), self.backend)

    async def afail(
        self, error: BaseException | None = None, *, result: Any = None, usage: dict[str, Any] | None = None
    ) -> None:
        """As `fail`, without blocking the event loop; returns in this outcome's turn."""
        if not self.worker.ended:
            await adrive(self.failing(error, result=result, usage=usage, in_loop=True), self.backend)

    # --- when it is cancelled ----------------------------------------------------------------------------------------

    def cancel(self, result: Any = None) -> None:
        """The call was cancelled by the run's own code; `result` is what had been handed on by then, if anything.

        Written with what comes next: a run that is cancelled from outside leaves no outcome.
        A cancelled `once` step is unknown, which stops the run.
        """
        if self.effect == "once" and self._goes_on:
            self._close()
            self.worker.stop(unknown(self.worker, self.key, "was cancelled while it acted"))
        else:
            self._put_cancelled({} if result is None else {"result": self.encoded(result).data})

    def raised_cancelled(self) -> Steps[None]:
        """The call raised a cancellation that nobody had asked for: an outcome like an error."""
        yield from self._end({"cancelled": True, "raised": True}, in_loop=False)

    def overtaken(self) -> None:
        """The code saw a cancellation where an outcome had just been written: a further attempt says so."""
        if self._goes_on:
            self.id = self.worker.next_attempt(*self.id.identity)
            self._put_start()
            self.worker.put("outcome", self.key, {"cancelled": True})

    def _put_cancelled(self, more: dict[str, Any] | None = None) -> None:
        value = {"cancelled": True, **(more or {})}
        if self._close(value) and self._goes_on:
            self.worker.put("outcome", self.key, value, packed="result")

    @property
    def _goes_on(self) -> bool:
        worker = self.worker
        return worker.poison is None and not worker.ended and not worker.replaying

    def _finished(self, result: codec.Encoded, usage: dict[str, Any] | None) -> dict[str, Any]:
        """The stored value of an outcome."""
        value: dict[str, Any] = {"result": result.data}
        if result.typed:
            value["typed"] = True
        if usage:
            value["usage"] = self.rules.encode(usage, where="usage", at="usage").data
        return value

    def abandon(self) -> None:
        """Leaves the step without an outcome, as a crash would."""
        if in_collector():
            elsewhere(self.abandon)
        elif not self._done:
            self._close()


def identity_hash(worker: Worker, key: StepKey) -> str:
    """22 characters that a step's identity alone decides: incarnation, last rewind, run, lane, ordinal."""
    parts = (*worker.state.identity, *key.identity)
    return urlsafe_b64encode(sha256("\0".join(map(str, parts)).encode()).digest()[:16]).decode()[:22]


def unknown(worker: Worker, key: str, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f'session {worker.session!r}: step {key} (effect="once") {why}; whether it happened is unknown. '
        f"Find out, then session.resolve({key!r}, result) or session.resolve({key!r}, error=…)",
        step=key,
    )
