"""One session as the page has it: its events as rows, kept up to date as events come.

Rows are made once. What comes later may change an earlier row (the outcome of a step, a rewind, a fork): those are told
again, so that whoever has read the rows is sent what is new and what changed, never all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from agentstream.inspector.documents.closed import STATUS as CLOSED
from agentstream.inspector.documents.closed import Refusals, closed_document, may_be_closed, veiled
from agentstream.inspector.documents.rows import FORKS, MS, STATUS, TEXT_AT, Compact, compact_row
from agentstream.sessions.events import Event, StepKey
from agentstream.sessions.items import Items
from agentstream.sessions.prices import Prices, Used, cost_of_session, cost_of_used, summed, used_by
from agentstream.sessions.questions import TYPES, Question, Questions
from agentstream.sessions.state import Run, State, Step
from agentstream.sessions.steps import Attempt, mapping
from agentstream.sessions.views.folded import lineage_json
from agentstream.sessions.views.rows import Row, Rows

_TELLING = frozenset(("session", "claim", "run", "status", "rewind", ""))
"""Events that say something of the session as a whole, besides what it cost."""

Forks = Mapping[int, int]
"""How many sessions were forked at a cut."""


class Told:
    """A session's rows, made as they are asked for: of a long one the first are there before the last.

    Safe to use from several threads; what is read of it without its methods only grows, or is put in place at once.
    """

    def __init__(self, state: State, prices: Prices, *, alive: bool = True, sealed: bool = False) -> None:
        """`state` is of all events; `alive` says whether its worker lives."""
        self.prices = prices
        self.alive, self.sealed = alive, sealed
        self.refused: Refusals = {}
        """Why events cannot be opened here; what they say is left out."""
        self._closes = may_be_closed(state)
        self.events: list[Event] = self._opened(state.events)
        self.rows: list[Compact] = []
        self.changed: list[int] = []
        """The indexes of rows that were told again, in the order that this happened."""
        self.forks: Forks = {}
        self._used: dict[str, Used] = {}
        """What the calls used whose rows are made, by model."""
        self._name = (state.session, state.incarnation)
        self._state = State(*self._name, list(self.events), alive=alive)
        self._open: dict[str, list[int]] = {}
        """Rows of runs, and of steps that have no outcome, by key."""
        self._asked = Questions()
        self._questions: dict[str, int] = {}
        """Rows of questions that can be answered, by key."""
        self._steps: list[Step] | None = None
        self._runs: Mapping[str, Run] | None = None
        self._lock = threading.RLock()

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self._state)

    @property
    def size(self) -> int:
        return len(self.events)

    @property
    def whole(self) -> bool:
        """Whether every event has its row."""
        return len(self.rows) == len(self.events)

    @property
    def session(self) -> str:
        return self._name[0]

    @property
    def incarnation(self) -> str:
        return self._name[1]

    @property
    def running(self) -> bool:
        """Whether it should have a worker: then it matters whether that lives."""
        return self.state.status in ("running", "abandoned")

    @property
    def items(self) -> Items:
        """The elements of lists that events refer to."""
        return self._rows.state.items

    @property
    def questions(self) -> Mapping[str, Question]:
        """What is asked, by key, as far as rows are made."""
        return self._asked.by_key

    @property
    def steps(self) -> Sequence[Step]:
        """As `state.steps`: of a long session that is followed they are not folded anew for each event."""
        if self._steps is None:
            self._steps = list(self.state.steps)
        return self._steps

    @property
    def runs(self) -> Mapping[str, Run]:
        """As `state.runs`."""
        if self._runs is None:
            self._runs = self.state.runs
        return self._runs

    @property
    def state(self) -> State:
        """The session as far as it is told."""
        if self._state.index != self.size:
            self._state = State(*self._name, list(self.events), alive=self.alive)
        return self._state

    def readable(self, at: int | None = None) -> State:
        """The session as far as it is told, or its first events, for what is wrong where one of them is left out.

        Raises why an event cannot be opened (Locked, Erased, StoreError).
        """
        refused = min(self.refused, default=self.size)
        if refused < (self.size if at is None else at):
            raise self.refused[refused]
        return self.state if at is None else self.state.cut(at)

    def make(self, count: int) -> None:
        """Makes the rows of the next events, of so many at most."""
        with self._lock:
            first = len(self.rows)
            for event in self.events[first : first + count]:
                row = self._rows.row(event)
                self._add(row, first)
                for start in self._ended(event):  # what came of it was known; only the time was not
                    self.rows[start] = [*self.rows[start][:MS], row.ms, *self.rows[start][MS + 1 :]]
                    self._changed_if(start < first, start)

    def make_all(self) -> None:
        self.make(self.size)

    def take(self, events: Sequence[Event], *, alive: bool) -> None:
        """Takes the events that came.

        Raises ChangesWhatCounts before it takes any, where the rows are to be made again: one of them changes which
        count, or the worker of a run died or came back.
        """
        with self._lock:
            if any(event.type == "rewind" and event.mark is None for event in events):
                raise ChangesWhatCounts
            if alive != self.alive and (self.running or any(event.type in ("claim", "run") for event in events)):
                raise ChangesWhatCounts
            self.make_all()
            first = len(self.rows)
            for event in self._opened(events):
                row = self._rows.follow(event)
                self.events.append(event)
                self._add(row, first)
                self._tell_again(self._ended(event), first, row.ms)
                self._follow(event, row.step)
                if event.type == "status":
                    below = f"{event.key}/"  # what a run leaves unfinished stands as the run does
                    for key in [key for key in self._open if key == event.key or key.startswith(below)]:
                        self._tell_again(self._open[key], first)

    def _opened(self, events: Iterable[Event]) -> list[Event]:
        return veiled(events, self.refused) if self._closes else list(events)

    def _follow(self, event: Event, number: int | None) -> None:
        """Takes an event into the steps and runs that were folded."""
        if event.type in ("run", "status", "error") or (event.type == "outcome" and number is None):
            self._runs = None
        steps = self._steps
        if steps is None or number is None or event.mark is not None or event.type not in ("step", "outcome"):
            return
        place = StepKey.parse(event.key)
        if place is None or number > len(steps):
            self._steps = None  # what is not as a worker writes it is folded whole
            return
        known = steps[number].attempts if number < len(steps) else ()
        if event.type == "step":
            attempts = [*known, Attempt(place.attempt, event)]
        else:
            attempts = [
                Attempt(each.number, each.start, event) if each.start.key == event.key else each for each in known
            ]
        if not attempts:
            self._steps = None
            return
        attempts.sort(key=lambda attempt: attempt.number)
        step = Step(*place.identity, tuple(attempts), self.items)
        steps[number : number + 1] = [step]

    def begin_again(self, state: State, *, alive: bool, sealed: bool) -> None:
        """Takes a session whose earlier events may count otherwise, or stand otherwise, than they did."""
        fresh = Told(state, self.prices, alive=alive, sealed=sealed)
        fresh.forks = self.forks
        fresh.make_all()
        with self._lock:
            pairs = enumerate(zip(self.rows, fresh.rows, strict=False))
            changed = [*self.changed, *(number for number, (was, row) in pairs if was != row)]
            self.__dict__.update({**fresh.__dict__, "changed": changed, "_lock": self._lock})

    def set_forks(self, forks: Forks) -> None:
        """Takes note of the forks that there are now."""
        with self._lock:
            self._set_forks(forks)

    def _set_forks(self, forks: Forks) -> None:
        for at in {*forks, *self.forks}:
            if forks.get(at, 0) != self.forks.get(at, 0) and 0 < at <= len(self.rows):
                self.rows[at - 1] = [*self.rows[at - 1][:FORKS], forks.get(at, 0), *self.rows[at - 1][FORKS + 1 :]]
                self.changed.append(at - 1)
        self.forks = dict(forks)

    # --- rows --------------------------------------------------------------------------------------------------------

    def _add(self, row: Row, told: int) -> None:
        """Adds a row, and tells those again that its event says something of; the first `told` may have been read."""
        event = row.event
        self.rows.append(self._compact(row))
        if event.type in ("step", "run"):
            self._open.setdefault(event.key, []).append(event.index)
        elif event.type == "outcome" and event.mark is None:
            for used in used_by([mapping(event, "usage")]):
                known = self._used.get(used.model)
                self._used[used.model] = used if known is None else summed((known, used))[0]
        if event.type in TYPES:
            self._ask(event, told)

    def _ended(self, event: Event) -> list[int]:
        """The rows that an outcome is of. A run's status comes after that, and its row is kept for it."""
        starts = self._open.get(event.key, []) if event.type == "outcome" else []
        if starts and self.events[starts[0]].type == "step":
            del self._open[event.key]
        return [start for start in starts if self.events[start].mark == event.mark]

    def _ask(self, event: Event, told: int) -> None:
        """Takes what an event says of questions: how those stand is told with them."""
        self._asked.see(event)
        if event.type == "question" and event.mark is None:
            self._questions[event.key] = event.index
        for key, index in list(self._questions.items()):
            question = self._asked.by_key.get(key)
            if question is None or self.rows[index][STATUS] == question.status:
                continue
            self.rows[index] = [*self.rows[index][:STATUS], question.status, *self.rows[index][STATUS + 1 :]]
            if question.status in ("expired", "closed"):
                del self._questions[key]
            self._changed_if(index < told, index)

    def _compact(self, row: Row, spent: int | None = None) -> Compact:
        index = row.event.index
        made = compact_row(self._rows, row, self.prices, forks=self.forks.get(index + 1, 0), spent=spent)
        if index in self.refused:
            made[STATUS], made[TEXT_AT] = CLOSED, ""
        return made

    def _tell_again(self, starts: Iterable[int], told: int, spent: int | None = None) -> None:
        for index in starts:
            row = self._compact(self._rows.row(self.events[index]), self.rows[index][MS] if spent is None else spent)
            if row != self.rows[index]:
                self.rows[index] = row
                self._changed_if(index < told, index)

    def _changed_if(self, told: bool, index: int) -> None:
        """Notes that a row changed, if that may have been read."""
        if told:
            self.changed.append(index)

    # --- the session as a whole --------------------------------------------------------------------------------------

    def head(self, before: dict[str, Any] | None = None, events: Iterable[Event] = ()) -> dict[str, Any]:
        """What the page says of the session above its rows; with `before`, what it said before these `events` came."""
        if before is not None and not any(event.type in _TELLING for event in events):
            closed = closed_document(self.refused)
            return {**before, "events": self.size, "sealed": self.sealed, "closed": closed, **self._totals()}
        state = self.state
        return {
            "session": state.session,
            "incarnation": state.incarnation,
            "title": state.title,
            "tags": state.tags,
            "status": state.status,
            "agent": state.run.agent if state.run is not None else None,
            "sealed": self.sealed,
            "encrypted": any(birth.encrypted is not None for _, birth in state.births),
            "closed": closed_document(self.refused),
            "events": self.size,
            "lineage": lineage_json(state.lineage),
            **self._totals(),
        }

    def _totals(self) -> dict[str, Any]:
        cost = (
            cost_of_used(self._used.values(), self.prices) if self.whole else cost_of_session(self.state, self.prices)
        )
        return {
            "cost": cost.dollars if cost.known and not self.refused else None,
            "input_tokens": cost.input_tokens,
            "output_tokens": cost.output_tokens,
            "unpriced": list(cost.unpriced),
        }


class ChangesWhatCounts(Exception):
    """An event came that changes which of those before it count: the rows are made again."""
