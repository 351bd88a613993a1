"""The fold: what a session's counted events amount to.

A `State` is made of marked events and works its lists out when they are first asked for,
so that opening a long session to read one thing costs one thing. Where a snapshot told the
first events (`history.py`), what concerns the session as a whole and the runs that can go on
is here; lists of all there ever was read those events from the store, in place.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.births import Birth, Lineage, birth_of
from agentstream.sessions.conversions.messages import Messages
from agentstream.sessions.counting import prefix_of
from agentstream.sessions.encryption.refusals import check_open
from agentstream.sessions.events import OWN_TYPES, Event, StepKey, run_key, run_name
from agentstream.sessions.history import Events, head_of, name_hash, since
from agentstream.sessions.items import Items, count_of
from agentstream.sessions.large import whole_value
from agentstream.sessions.questions import Question, questions_of
from agentstream.sessions.repeats import Sources
from agentstream.sessions.steps import OPEN, Attempt, Run, Step, field, mapping, own_outcome, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstream.sessions.history import Head
    from agentstream.sessions.log import Log

__all__ = ["OPEN", "Attempt", "Lineage", "Run", "State", "Step", "fold"]


class State:
    """A session folded at a cut. `index` counts the events before the cut; lists are worked out when asked for."""

    def __init__(self, session: str, incarnation: str, events: Sequence[Event], *, alive: bool = True) -> None:
        """`events` are marked, from the session's start; `alive` is False where no worker of it lives."""
        self.session = session
        self.incarnation = incarnation
        self.events = events
        self._alive = alive
        self._parts: dict[int, State] = {}

    @property
    def index(self) -> int:
        return len(self.events)

    @cached_property
    def _near(self) -> State:
        """The events that are here, in the place of all: those that a snapshot keeps, and what came after it."""
        if not isinstance(self.events, Events):
            return self
        here = [*self.events.head.kept, *self.events.tail]
        near = State(self.session, self.incarnation, here, alive=self._alive)
        near.__dict__["items"] = self.items
        return near

    def first_of(self, run: str) -> int:
        """An index before which nothing stands of a run (by key), its claims included."""
        head = head_of(self.events)
        return head.first_of(run) if head is not None else 0

    def since(self, start: int) -> Sequence[Event]:
        """The events from an index on."""
        return since(self.events, start)

    def _from(self, start: int) -> State:
        """The same, of the events from an index on alone: for what nothing before it has a part in."""
        if not isinstance(self.events, Events) or start <= 0:
            return self
        part = self._parts.get(start)
        if part is None:
            part = State(self.session, self.incarnation, self.events.since(start), alive=self._alive)
            part.__dict__.update(items=self.items, lineage=self.lineage)
            self._parts[start] = part
        return part

    @cached_property
    def _by_type(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            if event.mark is None:
                found.setdefault(event.type, []).append(event)
        return found

    def of_type(self, *types: str, start: int = 0) -> list[Event]:
        """The counted events of these types, in order; those from the index `start` on."""
        if types == ("session",):  # a snapshot keeps them all
            found = list(self._near._by_type.get("session", ()))
        else:
            by_type = self._from(start)._by_type
            found = [event for kind in types for event in by_type.get(kind, ())]
            if len(types) > 1:
                found.sort(key=lambda event: event.index)
        return [event for event in found if event.index >= start] if start else found

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], Event]:
        return {(event.type, event.key): event for event in self.events if event.mark is None}

    def find(self, type: str, key: str) -> Event | None:
        """The counted event of this type and key; of a status, the last one."""
        head = head_of(self.events)
        if head is None:
            return self._by_key.get((type, key))
        found = self._near._by_key.get((type, key))
        if found is not None:
            return found
        if type not in OWN_TYPES or not key:
            return self._by_key.get((type, key))  # an update may be the last
        if type == "status" and head.first_of(key) < head.size:
            return self._by_key.get((type, key))
        return head.find(type, key)

    # --- the session itself ------------------------------------------------------------------------------------------

    @property
    def births(self) -> list[tuple[int, Birth]]:
        """Where each incarnation in this history began, the present one's last."""
        return self._births

    @cached_property
    def _births(self) -> list[tuple[int, Birth]]:
        found = ((event.index, birth_of(event)) for event in self.of_type("session"))
        return [(index, birth) for index, birth in found if birth is not None]

    @cached_property
    def _session(self) -> dict[str, Any]:
        """Title and tags as last said; a fork keeps its source's where it says nothing itself."""
        merged: dict[str, Any] = {}
        for event in self.of_type("session"):
            merged.update({name: value for name, value in event.value.items() if value is not None})
        return merged

    def _labels_open(self) -> None:
        for event in self.of_type("session"):
            if isinstance(event.value, dict):
                check_open(event.value, f"session {self.session!r}: event {event.index} (session {event.key})")

    @property
    def title(self) -> str | None:
        self._labels_open()
        title = self._session.get("title")
        return title if title is None or isinstance(title, str) else str(title)

    @property
    def tags(self) -> dict[str, Any]:
        """Each tag as last said; one that was last said to be None is none."""
        self._labels_open()
        tags: dict[str, Any] = {}
        for event in self.of_type("session"):
            told = codec.decode(field(event, "tags"))
            tags.update(told if isinstance(told, dict) else {})
        return {name: value for name, value in tags.items() if value is not None}

    @property
    def schema(self) -> int:
        """The version of the stored format that the session was begun with."""
        schema = self._session.get("schema")
        return schema if isinstance(schema, int) else 1

    @cached_property
    def lineage(self) -> Lineage | None:
        """Where this session was forked from, None for one that begins of itself."""
        return self._births[-1][1].lineage if self._births else None

    @property
    def inherited(self) -> int:
        """How many of the first events are shared with the source."""
        return self.lineage.count if self.lineage is not None else 0

    @property
    def first_life(self) -> str:
        """The incarnation that the session's children know it by: compacting gives it another."""
        compacted = self._births[-1][1].compacted if self._births else None
        return compacted.first if compacted is not None else self.incarnation

    @property
    def identity(self) -> tuple[str, int | str]:
        """What the identities of steps are made of, beside their places: changed by a fork or a rewind alone."""
        compacted = self._births[-1][1].compacted if self._births else None
        if compacted is not None and not self.last_rewind:
            return compacted.identity
        return (self.incarnation, self.last_rewind)

    # --- claims and rewinds ------------------------------------------------------------------------------------------

    @cached_property
    def highest_claim(self) -> int:
        """The highest claim number seen: the next claim takes the one after it."""
        shared = [birth.lineage.claim for _, birth in self._births if birth.lineage is not None]
        return max([0, *shared, *(event.claim or 0 for event in self._near._by_type.get("claim", ()))])

    @cached_property
    def claim(self) -> Event | None:
        """The claim in force; a fork voids those it inherits."""
        claims = self._near._by_type.get("claim", ())
        return claims[-1] if claims and claims[-1].index >= self.inherited else None

    @cached_property
    def last_rewind(self) -> int:
        """The index of the last rewind in force, 0 if there is none."""
        return max((event.index for event in self._near._by_type.get("rewind", ())), default=0)

    # --- runs and steps ----------------------------------------------------------------------------------------------

    @cached_property
    def sources(self) -> Sources:
        """The events that references point into."""
        return Sources(self.events)

    @cached_property
    def items(self) -> Items:
        head = head_of(self.events)
        if head is None:
            items = Items(self.sources)
        else:
            items = Items(self.sources, lambda claim, number: self._event_of(head.span(claim, number)))
        for event in self.events.tail if isinstance(self.events, Events) else self.events:
            if holds_items(event):
                try:
                    items.add(event.key, event.value["items"])
                except NotFound:
                    continue  # a key that is no item's id: nothing can refer to it
        return items

    def _event_of(self, index: int | None) -> tuple[str, Any] | None:
        event = self.events[index] if index is not None else None
        return (event.key, event.value["items"]) if event is not None else None

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Every run by its id, in the order they began; child runs name their `parent`."""
        statuses = {event.key: text(event, "status", "running") for event in self.of_type("status")}
        errors = {text(event, "run"): event.value for event in self.of_type("error")}
        found: dict[str, Run] = {}
        for event in self.of_type("run"):
            run = Run(
                run_name(event.key),
                text(event, "agent"),
                statuses.get(event.key, "running"),
                event,
                text(event, "parent") or None,
                self.items,
                self.find("outcome", event.key),
                errors.get(event.key),
            )
            found[run.id] = run if self._alive else run.without_worker()
        return found

    @cached_property
    def _near_runs(self) -> dict[str, Run]:
        """The runs that can go on, the last that is nobody's child, and what came after them; or all there are."""
        head, near = head_of(self.events), self._near
        if head is None:
            return self.runs
        if any(_told_of(head, run.key) for run in near.runs.values() if run.start.index >= head.size):
            return self.runs
        if any(
            head.names.places(name_hash("run", key)) for key in _ends_in(near) - {r.key for r in near.runs.values()}
        ):
            return self.runs  # something came to a run that had ended
        return near.runs

    @property
    def open_runs(self) -> list[Run]:
        """The runs that can go on, in the order they began."""
        return [run for run in self._near_runs.values() if run.open]

    @property
    def open_since(self) -> int:
        """An index before which nothing stands of a run that can go on."""
        head = head_of(self.events)
        return min((self.first_of(run.key) for run in self.open_runs), default=head.size if head is not None else 0)

    def find_run(self, id: str) -> Run | None:
        """The run of this id."""
        head = head_of(self.events)
        if head is None or id in self._near_runs or not head.names.places(name_hash("run", run_key(id))):
            return self._near_runs.get(id)
        return self.runs.get(id)

    def runs_below(self, key: str) -> list[Run]:
        """The run of this key and its child runs, in the order they began."""
        runs = self._from(self.first_of(key)).runs.values()
        return [run for run in runs if run.key == key or run.key.startswith(key + "/")]

    @property
    def run(self) -> Run | None:
        """The last run that is nobody's child."""
        return next((run for run in reversed(self._near_runs.values()) if run.parent is None), None)

    @property
    def status(self) -> str | None:
        """The status of the last run, None before the first."""
        return self.run.status if self.run is not None else None

    @cached_property
    def steps(self) -> list[Step]:
        """Every step in the order they began, each with its attempts.

        A step inherited unfinished by a fork counts as never started and is left out, but for
        one that asks a person: its question is inherited with it.
        """
        attempts: dict[tuple[str, str, int], list[Attempt]] = {}
        for event in self.of_type("step"):
            key = StepKey.parse(event.key)
            if key is None:
                continue
            outcome = self.find("outcome", event.key) or own_outcome(event)
            unfinished = event.index < self.inherited and (outcome is None or outcome.index >= self.inherited)
            if unfinished and self.find("question", event.key) is None:
                continue
            attempts.setdefault(key.identity, []).append(Attempt(key.attempt, event, outcome))
        return [
            Step(*identity, tuple(sorted(found, key=lambda attempt: attempt.number)), self.items)
            for identity, found in attempts.items()
        ]

    def steps_of(self, *runs: str) -> list[Step]:
        """The steps of the runs of these keys, and of their child runs, in the order they began."""
        if not runs:
            return []
        start = min(self.first_of(run) for run in runs)
        below = tuple(f"{run}/" for run in runs)
        return [step for step in self._from(start).steps if step.run in runs or step.run.startswith(below)]

    @cached_property
    def attempts(self) -> dict[tuple[str, str, int], int]:
        """The highest attempt in the log of each step, whether it counts or not."""
        highest: dict[tuple[str, str, int], int] = {}
        for event in self.events:
            if event.type in ("step", "outcome", "run"):
                key = StepKey.parse(event.key)
                if key is not None:
                    highest[key.identity] = max(highest.get(key.identity, 0), key.attempt)
        return highest

    def attempts_of(self, run: str) -> dict[tuple[str, str, int], int]:
        """The same, of the steps of one run and its child runs at least."""
        return self._from(self.first_of(run)).attempts

    # --- what was said -----------------------------------------------------------------------------------------------

    @cached_property
    def messages(self) -> Messages:
        """Every message in order, decoded; and the conversation as other SDKs take it."""
        return Messages.of(self, (whole_value(event) for event in self.of_type("message")))

    @cached_property
    def questions(self) -> dict[str, Question]:
        """Every question by its key, in the order they were asked, each with its answers and what became of them."""
        return questions_of(self).by_key

    @cached_property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Every tool call in order, decoded."""
        return [whole_value(event) for event in self.of_type("tool_call")]

    @cached_property
    def usage(self) -> dict[str, int | float]:
        """What the model calls used, summed: `input_tokens`, `output_tokens` and whatever else was counted."""
        head = head_of(self.events)
        total: dict[str, int | float] = dict(head.usage) if head is not None else {}
        for event in self.of_type("outcome", start=head.size if head is not None else 0):
            for name, amount in mapping(event, "usage").items():
                if isinstance(amount, (int, float)) and not isinstance(amount, bool):
                    total[name] = total.get(name, 0) + amount
        return total

    def cut(self, at: int) -> State:
        """The state of the first `at` events, as it was when there were no more."""
        return State(self.session, self.incarnation, prefix_of(self.events, at))


def fold(log: Log, at: int | None = None, *, alive: bool = True) -> State:
    """The state of a log, of its first `at` events only where given."""
    events = prefix_of(log.events, log.size if at is None else at)
    if isinstance(events, Events):
        events = Events(events.head, list(events.tail))
    return State(log.session, log.incarnation, list(events) if events is log.count.events else events, alive=alive)


def holds_items(event: Event) -> bool:
    """Whether an event holds elements of lists. They are read whatever became of the events around them, but only
    those of a worker: under its own claim's number."""
    return (
        event.type == "item"
        and event.key.partition(".")[0] == str(event.claim)
        and count_of(field(event, "items")) is not None
    )


def _ends_in(near: State) -> set[str]:
    """The runs that events say something of, other than that they begin."""
    keys = {event.key for event in near.of_type("status", "outcome") if "#" not in event.key or event.type == "status"}
    return keys | {text(event, "run") for event in near.of_type("error")}


def _told_of(head: Head, run: str) -> bool:
    """Whether a head holds how a run ended that begins after it: in what somebody made up."""
    return name_hash("~end", run) in head.roots or bool(head.names.places(name_hash("outcome", run)))
