"""The fold: what a session's counted events amount to.

A `State` is made of marked events and works its lists out when they are first asked for,
so that opening a long session to read one thing costs one thing.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.births import Birth, Lineage, birth_of
from agentstream.sessions.counting import prefix
from agentstream.sessions.events import Event, StepKey, run_name
from agentstream.sessions.items import Items
from agentstream.sessions.questions import Question, questions_of
from agentstream.sessions.repeats import Sources
from agentstream.sessions.steps import OPEN, Attempt, Run, Step, field, mapping, text

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    @property
    def index(self) -> int:
        return len(self.events)

    @cached_property
    def _by_type(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            if event.mark is None:
                found.setdefault(event.type, []).append(event)
        return found

    def of_type(self, *types: str) -> list[Event]:
        """The counted events of these types, in order."""
        if len(types) == 1:
            return list(self._by_type.get(types[0], ()))
        return sorted((event for kind in types for event in self._by_type.get(kind, ())), key=lambda event: event.index)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], Event]:
        return {(event.type, event.key): event for event in self.events if event.mark is None}

    def find(self, type: str, key: str) -> Event | None:
        """The counted event of this type and key; of a status, the last one."""
        return self._by_key.get((type, key))

    # --- the session itself ------------------------------------------------------------------------------------------

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

    @property
    def title(self) -> str | None:
        title = self._session.get("title")
        return title if title is None or isinstance(title, str) else str(title)

    @property
    def tags(self) -> dict[str, Any]:
        """Each tag as last said; one that was last said to be None is none."""
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

    # --- claims and rewinds ------------------------------------------------------------------------------------------

    @cached_property
    def highest_claim(self) -> int:
        """The highest claim number seen: the next claim takes the one after it."""
        shared = [birth.lineage.claim for _, birth in self._births if birth.lineage is not None]
        return max([0, *shared, *(event.claim or 0 for event in self.of_type("claim"))])

    @cached_property
    def claim(self) -> Event | None:
        """The claim in force; a fork voids those it inherits."""
        claims = self._by_type.get("claim", ())
        return claims[-1] if claims and claims[-1].index >= self.inherited else None

    @cached_property
    def last_rewind(self) -> int:
        """The index of the last rewind in force, 0 if there is none."""
        return max((event.index for event in self.of_type("rewind")), default=0)

    # --- runs and steps ----------------------------------------------------------------------------------------------

    @cached_property
    def item_events(self) -> list[Event]:
        """The events that hold elements of lists. They are read whatever became of the events around them, but only
        those of a worker: under its own claim's number."""
        return [
            event
            for event in self.events
            if event.type == "item"
            and event.key.partition(".")[0] == str(event.claim)
            and isinstance(field(event, "items"), list)
        ]

    @cached_property
    def sources(self) -> Sources:
        """The events that references point into."""
        return Sources(self.events)

    @cached_property
    def items(self) -> Items:
        items = Items(self.sources)
        for event in self.item_events:
            try:
                items.add(event.key, event.value["items"])
            except NotFound:
                continue  # a key that is no item's id: nothing can refer to it
        return items

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

    @property
    def run(self) -> Run | None:
        """The last run that is nobody's child."""
        return next((run for run in reversed(self.runs.values()) if run.parent is None), None)

    @property
    def status(self) -> str | None:
        """The status of the last run, None before the first."""
        return self.run.status if self.run is not None else None

    @cached_property
    def steps(self) -> list[Step]:
        """Every step in the order they began, each with its attempts.

        A step inherited unfinished by a fork counts as never started and is left out.
        """
        attempts: dict[tuple[str, str, int], list[Attempt]] = {}
        for event in self.of_type("step"):
            key = StepKey.parse(event.key)
            if key is None:
                continue
            outcome = self.find("outcome", event.key)
            if event.index < self.inherited and (outcome is None or outcome.index >= self.inherited):
                continue
            attempts.setdefault(key.identity, []).append(Attempt(key.attempt, event, outcome))
        return [
            Step(*identity, tuple(sorted(found, key=lambda attempt: attempt.number)), self.items)
            for identity, found in attempts.items()
        ]

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

    # --- what was said -----------------------------------------------------------------------------------------------

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """Every message in order, decoded."""
        return [codec.decode(event.value) for event in self.of_type("message")]

    @cached_property
    def questions(self) -> dict[str, Question]:
        """Every question by its key, in the order they were asked, each with its answers and what became of them."""
        return questions_of(self).by_key

    @cached_property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Every tool call in order, decoded."""
        return [codec.decode(event.value) for event in self.of_type("tool_call")]

    @cached_property
    def usage(self) -> dict[str, int | float]:
        """What the model calls used, summed: `input_tokens`, `output_tokens` and whatever else was counted."""
        total: dict[str, int | float] = {}
        for event in self.of_type("outcome"):
            for name, amount in mapping(event, "usage").items():
                if isinstance(amount, (int, float)) and not isinstance(amount, bool):
                    total[name] = total.get(name, 0) + amount
        return total

    def cut(self, at: int) -> State:
        """The state of the first `at` events, as it was when there were no more."""
        return State(self.session, self.incarnation, prefix(list(self.events), at))


def fold(log: Log, at: int | None = None, *, alive: bool = True) -> State:
    """The state of a log, of its first `at` events only where given."""
    events = list(log.events) if at is None or at >= log.size else prefix(log.events, at)
    return State(log.session, log.incarnation, events, alive=alive)
