"""Compacting: a session begins a new life with what is still needed of the old one.

The new incarnation holds in their order: messages and all that is a user's own, labels,
every run with how it ended, and of the runs that can go on all their steps, questions and
answers. Steps of ended runs, deltas, and what does not count stay behind. The session is
taken with a claim, its stream is ended, then its id is pointed at the new one: whatever
breaks in between, the id answers with the old life or with the new, and a second call
finishes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentstream.errors import Fenced, NotFound, StoreError
from agentstream.protocol.operations import START, Append, Create, ForkPoint, Producer
from agentstream.sessions import codec
from agentstream.sessions.births import birth_of, earlier_lives, first_key, keys_of
from agentstream.sessions.claims import FENCING, Claim, fenced, release, win
from agentstream.sessions.events import SCHEMA, Event, StepKey, write_event
from agentstream.sessions.heirs import hand_on, heirs_path, refuse_with_heirs
from agentstream.sessions.history import root_of
from agentstream.sessions.ids import fresh_id, old_id, path_of, pointer_path, spare_path
from agentstream.sessions.log import Log, extend, locate, pointed_at, whole
from agentstream.sessions.packing import Packer
from agentstream.sessions.patience import patiently
from agentstream.sessions.placing import discard, point_at
from agentstream.sessions.snapshots import snapshot_path
from agentstream.sessions.state import State, fold
from agentstream.sessions.steps import field, text

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

LEAVING = "compacting"
"""The field of the label that ends a stream whose session goes on elsewhere: the incarnation that it goes on as."""

PACKED = {"run": "arguments", "step": "input", "outcome": "result"}
"""Fields that are written with references into the session, and are written anew."""

LEFT = frozenset(("rewind", "delta", "item"))
"""Types that are left behind; the elements of lists come with what refers to them."""

CHUNK = 1 << 20
"""Bytes of messages that one append takes."""


def compact(core: Core, session: str, *, keep_old: bool, take_over: bool) -> Steps[str | None]:
    """Gives a session a new incarnation; returns the id under which the old one can be read, None if it is not kept.

    Raises SessionBusy while a worker lives (unless `take_over`), NotFound if there is no such session.
    """
    log = yield from core.require(session)
    yield from whole(log)
    sealed = log.closed and not _leaves(log.events[-1])
    if not keep_old and not core.backend.traits.exact_forks:
        yield from refuse_with_heirs(log.path, session)
    incarnation = fresh_id()
    claim: Claim | None = None
    try:
        if not log.closed:
            claim = yield from win(log, take_over=take_over)
            yield from whole(log)
        body = list(_body(log, incarnation))
        path = spare_path(incarnation)
        yield from _write(path, body)
        if claim is not None:
            size = log.size
            yield from _leave(log, claim, incarnation)
            late = [event for event in log.events[size:] if event.mark is None and not _leaves(event)]
            yield from _append(path, [event.raw for event in late], close=False)
        if sealed:
            yield from _append(path, [], close=True)
        old = yield from _keep(core, log) if keep_old else _nothing()
        yield from _switch(log, path)
        core.forget(session)
        if log.path == path_of(session) or not keep_old:
            yield from discard(log.path)
            if keep_old and not core.backend.traits.exact_forks:
                yield from hand_on(log.path, spare_path(log.incarnation))  # those that were made meanwhile
                yield from discard(heirs_path(log.path))
        yield from discard(snapshot_path(log.path, first_key(log.births)))
        return old
    finally:
        if claim is not None:
            yield from release(claim)


def _nothing() -> Steps[None]:
    yield from ()


def _leaves(event: Event) -> bool:
    return event.type == "session" and field(event, LEAVING) is not None


# --- what is taken along ---------------------------------------------------------------------------------------------


def _body(log: Log, incarnation: str) -> Iterator[bytes]:
    """The messages that the new incarnation begins with."""
    state = fold(log)
    birth = next(event for event in reversed(log.events) if birth_of(event) is not None)
    first, rewind = state.identity
    told: dict[str, Any] = {"incarnation": log.incarnation, "first": state.first_life, "identity": [first, str(rewind)]}
    replaced = sorted(log.count.replaced)
    if log.births:
        told["lives"] = [*earlier_lives(log.births[-1][1]), [log.incarnation, log.encrypted]]
    keys = sorted(keys_of(birth for _, birth in log.births))
    value = {
        "schema": SCHEMA,
        "session": log.session,
        "incarnation": incarnation,
        **({"parent": birth.value["parent"]} if "parent" in birth.value else {}),
        "compacted": {**told, **({"replaced": replaced} if replaced else {})},
        **({"keys": keys} if keys else {}),
        **({"redacted": redacted} if (redacted := _redacted(log)) is not None else {}),
    }
    yield write_event("session", incarnation, value)
    yield from _Moving(state).messages()


def _redacted(log: Log) -> str | None:
    return next((birth.redacted for _, birth in log.births if birth.redacted is not None), None)


class _Moving:
    """Writes the events that are taken along, in their order, under the claims that they were written under."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.packer = Packer(0)
        self.open = {root_of(run.key) for run in state.open_runs}
        self.ended = {run.key for run in state.runs.values() if run.parent is None}
        self.steps = self._steps_kept()
        self.statuses = {event.key: event.index for event in state.of_type("status")}
        self._places: list[int] = []

    def messages(self) -> Iterator[bytes]:
        claim: Event | None = None
        last = self.state._by_type.get("claim", ())[-1:]
        for event in self.state.events:
            if event.mark is not None:
                continue
            if event.type == "claim":
                claim = event
            elif self._is_kept(event):
                if claim is not None and event.claim == claim.claim:
                    yield self._placed(claim.raw, claim)
                    claim = None
                for message in self._written(event):
                    yield self._placed(message, event)
        if claim is not None and last == [claim]:  # the next one must be higher
            yield self._placed(claim.raw, claim)

    def _placed(self, message: bytes, event: Event) -> bytes:
        self._places.append(event.index)
        return message

    def _index(self, index: int) -> int:
        """An index of the old incarnation as one of the new."""
        return 1 + sum(place < index for place in self._places)

    def _steps_kept(self) -> set[str]:
        """The steps of ended runs that are needed: where children were begun, and how far the inbox was read."""
        kept: set[str] = set()
        read: tuple[int, str] = (-1, "")
        for step in self.state.steps:
            if root_of(step.run) in self.open:
                kept |= {attempt.start.key for attempt in step.attempts}
            elif step.kind == "spawn" and step.status == "finished":
                kept.add(step.key)
            elif (step.kind, step.name) == ("human", "inbox") and isinstance(step.result, dict):
                read = max(read, (step.result.get("upto", -1), step.key))
        return kept | {read[1]}

    def _is_kept(self, event: Event) -> bool:
        kind, key = event.type, event.key
        if kind in LEFT or _leaves(event):
            return False
        if kind == "session":
            return birth_of(event) is None
        if kind == "question":
            return root_of(key) in self.open
        if kind == "answer":
            return root_of(text(event, "question")) in self.open
        if kind == "step":
            return key in self.steps
        if kind == "error":
            return text(event, "run") in self.ended or root_of(text(event, "run")) in self.open
        if kind == "status":
            if root_of(key) in self.open:
                return True
            return key in self.ended and self.statuses[key] == event.index
        if kind in ("run", "outcome"):
            place = StepKey.parse(key)
            return key in self.ended or key in self.steps or (place is not None and self._of_open_child(event, place))
        return True

    def _of_open_child(self, event: Event, place: StepKey) -> bool:
        """Child runs of a run that can go on, and how they ended."""
        return root_of(place.run) in self.open and (
            event.type == "run" or self.state.find("run", event.key) is not None
        )

    def _written(self, event: Event) -> Iterator[bytes]:
        """The messages of an event: itself, with what it refers to in front of it."""
        raw = codec.loads(event.raw)
        if not isinstance(raw, dict) or not isinstance(raw.get("value"), dict):
            yield event.raw
            return
        value = {name: part for name, part in raw["value"].items() if name != "claim"}
        changed = self._with_indexes(event, value)
        packed = PACKED.get(event.type)
        if packed is None or event.claim is None:
            whole = self._whole(changed)
            yield event.raw if whole is value else self._message(raw, event, event.type, event.key, whole)
            return
        if packed in changed:
            changed = {**changed, packed: self._whole(changed[packed])}
        self.packer.claim = event.claim
        for kind, key, part in self.packer.events(event.type, event.key, changed, packed):
            yield self._message(raw, event, kind, key, part)

    def _whole(self, data: Any) -> Any:
        try:
            return self.state.items.resolve(data)
        except NotFound:
            return data  # its record is incomplete, and stays so

    def _with_indexes(self, event: Event, value: dict[str, Any]) -> dict[str, Any]:
        """What speaks of other events by their index speaks of them as they stand now."""
        if event.type == "status" and type(value.get("inbox")) is int:
            return {**value, "inbox": self._index(value["inbox"])}
        if event.type == "answer" and type(value.get("refuses")) is int:
            return {**value, "refuses": self._index(value["refuses"])}
        result = value.get("result")
        start = self.state.find("step", event.key) if event.type == "outcome" else None
        if start is not None and (text(start, "kind"), text(start, "name")) == ("human", "inbox"):
            result = self._whole(result)
            if isinstance(result, dict) and type(result.get("upto")) is int:
                return {**value, "result": {**result, "upto": self._index(result["upto"])}}
        return value

    def _message(self, raw: dict[str, Any], event: Event, kind: str, key: str, value: Any) -> bytes:
        body = value if event.claim is None else {"claim": event.claim, **value}
        headers = {"operation": event.operation if kind == event.type else "insert"}
        if event.timestamp is not None:
            headers["timestamp"] = event.timestamp
        return codec.dumps({"type": kind, "key": key, "value": body, "headers": headers})


# --- the way over ----------------------------------------------------------------------------------------------------


def _write(path: str, body: list[bytes]) -> Steps[None]:
    """Makes the stream of the new incarnation. Until its id is pointed at it, nobody looks there."""
    created, repeated = yield from patiently(Create(path, tuple(body[:1])))
    if not created.new and not repeated:
        raise StoreError(f"there is a stream at {path!r} already; compact again")
    yield from _append(path, body[1:], close=False)


def _append(path: str, messages: list[bytes], *, close: bool) -> Steps[None]:
    """Appends messages, a chunk at a time, none of them twice."""
    writer, seq = fresh_id(), 0
    while messages:
        size = count = 0
        while count < len(messages) and (not count or size + len(messages[count]) <= CHUNK):
            size += len(messages[count])
            count += 1
        yield from patiently(Append(path, tuple(messages[:count]), producer=Producer(writer, 0, seq)))
        messages, seq = messages[count:], seq + 1
    if close:
        yield from patiently(Append(path, close=True))


def _leave(log: Log, claim: Claim, incarnation: str) -> Steps[None]:
    """Ends the old stream, so that nothing is said there any more, and reads it to its end."""
    told = write_event("session", fresh_id(), {LEAVING: incarnation}, claim=claim.number)
    try:
        done, repeated = yield from patiently(Append(log.path, (told,), producer=claim.producer(1), close=True))
    except FENCING as error:
        raise fenced(log.session, claim, error) from error
    if done.duplicate and not repeated:
        raise fenced(log.session, claim)
    yield from extend(log)
    if not log.closed or log.count.highest != claim.number:
        raise Fenced(f"session {log.session!r} was taken over while it was compacted; compact it again")


def _keep(core: Core, log: Log) -> Steps[str]:
    """Puts the old life where it stays, and gives it an id."""
    name, path = old_id(log.session, log.incarnation), log.path
    if path == path_of(log.session):
        path = spare_path(log.incarnation)
        own = log.size - log.stitched
        yield from discard(path)  # what an attempt left that did not come to its end
        if core.backend.traits.exact_forks:
            yield from patiently(Create(path, closed=True, fork=ForkPoint(log.path, START, own)))
        else:
            yield from patiently(Create(path))
            yield from _append(path, [event.raw for event in log.events[log.stitched :]], close=True)
            yield from hand_on(log.path, path)
    if (found := (yield from locate(name))) is None or found[0] != path:
        yield from point_at(name, path)
    return name


def _switch(log: Log, path: str) -> Steps[None]:
    """Points the session's id at its new life."""
    pointer, present = pointer_path(log.session), (yield from pointed_at(log.session))
    event = write_event("session", fresh_id(), {"path": path, **({"replaces": present} if present else {})})
    created, _ = yield from patiently(Create(pointer, (event,)))
    if not created.new:
        yield from patiently(Append(pointer, (event,), producer=Producer(fresh_id(), 0, 0)))
    if (yield from pointed_at(log.session)) != path:
        yield from discard(path)
        raise StoreError(f"session {log.session!r} was compacted by somebody else at the same time; look at it again")
