"""`delta` and `emit`: what code says while it works, beside what it returns.

Neither is a step and neither waits. Inside a step they belong to that attempt of it. Said by
the agent itself they belong to a place in its lane: after so many steps. On resume the agent
says it all again; where a step is recorded that comes after the place, everything said there
is in the record already, and nothing is written. What comes after a lane's last step is
written anew, and what an earlier worker had said there is void (`sessions/output.py`).

A task or thread that has made no step yet has no place: what it says waits for its first
step, or for the run's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.agents.calls import DELTA_WITHIN, START_WITHIN, _Delta  # pyright: ignore[reportPrivateUsage]
from agentstream.agents.context import current_call, current_lane, is_muted
from agentstream.agents.deltas import Naming
from agentstream.errors import AgentStreamError
from agentstream.sessions import codec
from agentstream.sessions.events import OWN_TYPES, is_wrapped, user_value
from agentstream.sessions.large import put_back
from agentstream.sessions.redaction import Held
from agentstream.sessions.writing import check_appendable

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.agents.worker import Worker
    from agentstream.sessions.events import Event

KINDS = ("text", "reasoning", "args")

EMITTED = frozenset(("message", "tool_call", "custom"))
"""The own types that code may emit; besides any type of a user's own."""


def delta(text: str, *, target: str | None = None, kind: str = "text") -> None:
    """Adds text to what is coming for `target` (a message's id, say): readers of the session see it at once.

    Without a target it is the step's, or the run's where the agent itself speaks. `kind` is "text",
    "reasoning" or "args". Texts gather for 40 ms before they are written. Outside a run, and
    inside `adapters.muted()`, nothing happens. Raises TypeError or ValueError for what is none of that.
    """
    if not isinstance(text, str):
        raise TypeError(f"delta() takes text, not {text!r}")
    if kind not in KINDS:
        raise ValueError(f"kind= is one of {', '.join(KINDS)}, not {kind!r}")
    if target is not None and (not isinstance(target, str) or not target):
        raise ValueError(f"target= is a text that is not empty, not {target!r}")
    call = current_call()
    if call is not None:
        if not call.ended:
            call.feed(target or "/".join(map(str, call.id.identity)), text, kind)
        return
    lane = _speaker()
    if lane is not None and text:
        _say(lane, _Text(target or lane.run, kind, [text]))


def emit(type: str, value: Any, key: str | None = None) -> None:
    """Adds an event: a `message`, a `tool_call`, `custom`, or a type of your own. `append` without waiting.

    What is recorded is not added again on resume; with `key` it is there once in the session's
    history. Outside a run, and inside `adapters.muted()`, nothing happens. Raises ValueError for
    a type that only the library writes, NotSerializable.
    """
    if type not in EMITTED:
        check_appendable(type, key)
        if type in OWN_TYPES:
            raise ValueError(f"{type!r} events cannot be emitted; session.append(…) or session.label(…) write them")
    stored = user_value(type, value)
    call = current_call()
    if call is not None:
        if not call.ended:
            call.emit(type, value, key)
        return
    lane = _speaker()
    if lane is not None:
        _say(lane, _Happening(type, lane.worker.core.rules.event(type, stored), key))


def _speaker() -> Lane | None:
    """The lane that speaks; None where nothing is written."""
    lane = None if is_muted() else current_lane()
    if lane is None or lane.worker.replaying or lane.worker.ended:
        return None
    lane.worker.raise_stop()
    return lane


class _Text:
    def __init__(self, target: str, kind: str, parts: list[str]) -> None:
        self.target, self.kind, self.parts = target, kind, parts


class _Happening:
    def __init__(self, type: str, stored: dict[str, Any], key: str | None) -> None:
        self.type, self.stored, self.key = type, stored, key


class Place:
    """What a lane says between two of its steps. `recorded`: what it says here is in the record already."""

    def __init__(self, worker: Worker, name: str, ordinal: int, *, recorded: bool) -> None:
        assert worker.claim is not None
        self.worker, self.name, self.ordinal, self.recorded = worker, name, ordinal, recorded
        self.attempt = worker.claim.number
        self.key = f"{name}~{self.attempt}"
        self._deltas = 0
        self._delta: _Delta | None = None
        self._emitted = 0
        self._held = Held(worker.core.rules)

    def say(self, said: _Text | _Happening) -> None:
        if isinstance(said, _Happening):
            self._emit(said)
        elif not self.recorded:
            self._feed(said)

    def end(self) -> None:
        """Nothing more is said here: what was held of its texts is written."""
        self.worker.telling.pop(self, None)
        for target, kind, text in self._held.rest():
            self._write(target, kind, text)

    def _feed(self, said: _Text) -> None:
        told = "".join(said.parts)
        text = self._held.add(said.target, said.kind, told)
        if text is not told:
            self.worker.telling[self] = None
        self._write(said.target, said.kind, text)

    def _write(self, target: str, kind: str, text: str) -> None:
        if not text:
            return
        current = self._delta
        if current is None or (current.target, current.kind) != (target, kind):
            current = self._delta = _Delta(self, target, kind, Naming())
        if current.add(text):
            writer = self.worker.writer
            assert writer is not None
            try:
                writer.put(current, within=DELTA_WITHIN)
            except AgentStreamError as error:
                raise self.worker.stop(error) from error

    def _emit(self, said: _Happening) -> None:
        state = self.worker.state
        self._emitted += 1
        if self.recorded and said.key is None:
            return
        name = said.key or f"{self.name}~{self._emitted}"
        while (found := state.find(said.type, name)) is not None:
            if said.key is not None or _recorded(found) == _as_read(said):
                return
            name += "'"  # an earlier worker came to say something else here, before a step was tried again
        self._delta = None  # text that comes later stands after it
        self.worker.put(said.type, name, said.stored, within=START_WITHIN)


def _recorded(found: Event) -> Any:
    return found.value if is_wrapped(found.type) else put_back(found.value, found)


def _as_read(said: _Happening) -> Any:
    return codec.decode(said.stored["data"]) if said.type == "custom" or said.type not in OWN_TYPES else said.stored


def _say(lane: Lane, said: _Text | _Happening) -> None:
    if lane.entry is None:
        _hold(lane, said)
        return
    place = lane.place
    if place is None or place.ordinal != lane.cursor:
        name = f"{lane.run}/{lane.entry.id}/{lane.cursor}"
        recorded = lane.cursor in lane.entry.steps
        if place is not None:
            place.end()
        place = lane.place = Place(lane.worker, name, lane.cursor, recorded=recorded)
    place.say(said)


def _hold(lane: Lane, said: _Text | _Happening) -> None:
    last = lane.held[-1] if lane.held else None
    if isinstance(said, _Text) and isinstance(last, _Text) and (last.target, last.kind) == (said.target, said.kind):
        last.parts += said.parts
        return
    if not lane.held:
        lane.worker.unplaced.append(lane)
    lane.held.append(said)


def placed(lane: Lane, *, recorded: bool) -> None:
    """The lane has come to its first step, which tells its place: what it said before is written."""
    held, lane.held = lane.held, []
    if held and not lane.worker.replaying and lane.entry is not None:
        place = Place(lane.worker, f"{lane.run}/{lane.entry.id}/0", 0, recorded=recorded)
        for said in held:
            place.say(said)
        place.end()


def _redacted(said: _Text | _Happening, worker: Worker) -> _Text | _Happening:
    if isinstance(said, _Text):
        return _Text(said.target, said.kind, [worker.core.rules.delta("".join(said.parts))])
    return said


def end_places(worker: Worker) -> None:
    """The run comes to its end: what was held of what its lanes said is written."""
    for place in list(worker.telling):
        place.end()


def tell_rest(worker: Worker) -> None:
    """The run comes to its end: what was said by tasks and threads that never made a step is written now."""
    for lane in worker.unplaced:
        held, lane.held = [_redacted(said, worker) for said in lane.held], []
        told = [(said.target, "".join(said.parts)) if isinstance(said, _Text) else said.stored for said in held]
        name = f"{lane.run}/~{codec.fingerprint(codec.encode(told).data)[:16]}"
        for number, said in enumerate(held, 1):
            if isinstance(said, _Happening):
                worker.put(said.type, said.key or f"{name}/{number}", said.stored)
                continue
            value = {"target": said.target, "kind": said.kind, "text": "".join(said.parts), "attempt": 1}
            worker.put("delta", f"{name}/d{number}", codec.encode(value).data)
    worker.unplaced.clear()
