"""Which recorded step a replayed call is: three answers beside the journal's own.

- `strict` is the journal's (`lanes.py`): place, kind, name and fingerprint.
- `ordered`: place, kind and name; another input is served all the same, and noted as a drift.
- `identity`: kind, name and fingerprint, wherever it stands; equal ones in their order.
- to keep going: by identity, else the next of its kind and name; what came is compared with
  the whole record afterwards, aligned as the lines of two texts are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from agentstream.agents.divergence import Divergence, compare
from agentstream.agents.journal import Call, Entry, describe, same
from agentstream.agents.lanes import Lanes, _entry, _free, _opener
from agentstream.agents.locations import calling_code
from agentstream.sessions.comparing import aligned
from agentstream.sessions.fingerprints import shape_of

if TYPE_CHECKING:
    from agentstream.agents.context import Lane
    from agentstream.agents.worker import Worker
    from agentstream.backends.driving import Steps

Match = Literal["strict", "ordered", "identity"]
MATCHES: tuple[Match, ...] = get_args(Match)


class Made(msgspec.Struct, frozen=True):
    """A call that the code made, and the recorded step that it was served from."""

    call: Call
    data: Any
    lane: str
    code: str | None
    entry: Entry | None


class Ordered(Lanes):
    """By place, kind and name. `drifts` are the calls whose input is another one."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker, worker.journal)
        self.drifts: list[Divergence] = []

    def _settle(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[None]:
        with self._lock:
            parent = _entry(_opener(lane))
            if _free(parent, call) is None:
                free = (child for child in parent.children if child.holder is None and child.first is not None)
                alike = next((child.first for child in free if child.first and child.first.call[:2] == call[:2]), None)
                call = alike.call if alike is not None else call
        yield from super()._settle(lane, call, data, in_loop=in_loop)

    def _agreed(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[Entry | None]:
        with self._lock:
            recorded = self._recorded(lane, call)
            if recorded is not None and not same(recorded.call, call) and recorded.call[:2] == call[:2]:
                self.drifts.append(_drift(self._worker, recorded, call, data, lane.id, calling_code()))
                call = recorded.call
        return (yield from super()._agreed(lane, call, data, in_loop=in_loop))


class ByIdentity(Lanes):
    """By kind, name and fingerprint alone."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker, worker.journal)
        self.made: list[Made] = []
        for turn in worker.journal.turns:
            turn.done = True  # the recorded order is not asked for

    def place(self, lane: Lane, call: Call, data: Any, *, in_loop: bool) -> Steps[Entry | None]:
        worker = self._worker
        worker.check()
        with self._lock:
            if lane.entry is None:
                parent = _entry(_opener(lane))
                lane.entry = self._journal.lane(lane.run, self._new_id(parent))
                parent.adopt(lane.entry)
                parent.hold(lane.entry, lane)
            entry = self._entry_for(lane, call, data)
            if entry is not None:
                entry.ask()
            lane.calls.append(call)
            lane.cursor += 1
            self.made.append(Made(call, data, lane.id, calling_code(), entry))
        worker.progress.moved()
        return entry
        yield  # a generator, as what it stands for

    def _entry_for(self, lane: Lane, call: Call, data: Any) -> Entry | None:
        entry = self._unasked(lambda each: same(each.call, call))
        if entry is None:
            alike = self._unasked(lambda each: each.call[:2] == call[:2])
            if alike is not None:
                what = f"{call[0]} {call[1]!r} was recorded, but never with this input"
                raise self._worker.diverge("different_args", alike, call, data, lane.id, what)
        return entry

    def _unasked(self, fits: Any) -> Entry | None:
        """The first recorded step, in the log's order, that fits and that no call was given."""
        return next((each for each in self._journal.entries if not each.asked and fits(each)), None)


class KeepGoing(ByIdentity):
    """By identity, else by kind and name."""

    def _entry_for(self, lane: Lane, call: Call, data: Any) -> Entry | None:
        return self._unasked(lambda each: same(each.call, call)) or self._unasked(
            lambda each: each.call[:2] == call[:2] and (each.served or each.child is not None)
        )

    def differences(self, whole: bool) -> list[Divergence]:
        """Every disagreement of the calls that were made with those recorded. `whole`: the code came to its end, so
        that what it did not ask for is missing."""
        recorded = [entry for entry in self._journal.entries if entry.binding or entry.asked]
        pairs = list(aligned([entry.call for entry in recorded], [each.call for each in self.made], _known, _called))
        moved = self._moved(recorded, pairs)
        last = max((a for a, b in pairs if a is not None and b is not None), default=-1)
        found: list[Divergence] = []
        for a, b in pairs:
            entry = recorded[a] if a is not None else None
            made = self.made[b] if b is not None else None
            if made is None:
                if entry is not None and entry not in moved and (whole or (a is not None and a < last)):
                    found.append(self._divergence("missing_call", entry, None))
            elif entry is None:
                origin = next((each for each in moved if moved[each] is made), None)
                found.append(self._divergence("reordered" if origin else "extra_call", origin, made))
            elif not same(entry.call, made.call):
                found.append(self._divergence("different_args", entry, made))
        return found

    def _moved(self, recorded: list[Entry], pairs: list[tuple[int | None, int | None]]) -> dict[Entry, Made]:
        """The recorded steps without a partner that were asked for elsewhere."""
        free = [self.made[b] for a, b in pairs if a is None and b is not None]
        moved: dict[Entry, Made] = {}
        for a, b in pairs:
            if a is None or b is not None:
                continue
            match = next((made for made in free if same(recorded[a].call, made.call)), None)
            if match is not None:
                free.remove(match)
                moved[recorded[a]] = match
        return moved

    def _divergence(self, kind: str, entry: Entry | None, made: Made | None) -> Divergence:
        worker = self._worker
        then = describe(entry.call, entry.encoded_input) if entry is not None else None
        now = describe(made.call, made.data) if made is not None else None
        lane = made.lane if made is not None else entry.lane if entry is not None else "0"
        code = made.code if made is not None else None
        was = entry.code if entry is not None else None
        return compare(worker.before(entry), worker.journal.index(entry), lane, kind, then, now, code, was)


def lanes_for(worker: Worker, match: str, *, keep_going: bool) -> Lanes:
    """The lanes of a replay. ValueError for a `match` that is none of those above."""
    if match not in MATCHES:
        raise ValueError(f"match= is one of {', '.join(MATCHES)}, not {match!r}")
    if keep_going:
        return KeepGoing(worker)
    if match == "identity":
        return ByIdentity(worker)
    return Ordered(worker) if match == "ordered" else worker.lanes


def _drift(worker: Worker, entry: Entry, call: Call, data: Any, lane: str, code: str | None) -> Divergence:
    then, now = describe(entry.call, entry.encoded_input), describe(call, data)
    return compare(worker.before(entry), entry.number, lane, "different_args", then, now, code, entry.code)


def _called(call: Call) -> tuple[str, str]:
    return call[:2]


def _known(call: Call) -> Call:
    return (*call[:2], shape_of(call[2]))
