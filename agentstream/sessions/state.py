"""The fold: what a session's counted events amount to.

A `State` groups the events by type when it is made and works its lists out when they are
first asked for, so that opening a long session to read one thing costs one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from agentstream.sessions import codec
from agentstream.sessions.counting import marked
from agentstream.sessions.events import Event, StepKey, run_name
from agentstream.sessions.items import Items

if TYPE_CHECKING:
    from agentstream.sessions.log import Log

OPEN = frozenset(("running", "waiting", "failed", "exhausted"))
"""Statuses of a run that can still go on."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a fork comes from: the first `count` events are those of `source`."""

    source: str
    incarnation: str
    count: int
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step: its start and, where there is one, its outcome."""

    number: int
    start: Event
    outcome: Event | None = None


@dataclass(frozen=True)
class Step:
    """One recorded call to the outside. `key` names its last attempt; `status` is running, finished, failed or cancelled.

    `running` of a run that is not alive any more means: begun, and no outcome known.
    """

    run: str
    lane: str
    ordinal: int
    attempts: tuple[Attempt, ...]
    _items: Items

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def key(self) -> str:
        return self.last.start.key

    @property
    def attempt(self) -> int:
        return self.last.number

    @property
    def kind(self) -> str:
        return str(self.last.start.value.get("kind", ""))

    @property
    def name(self) -> str:
        return str(self.last.start.value.get("name", ""))

    @property
    def effect(self) -> str:
        return str(self.last.start.value.get("effect", "repeat"))

    @property
    def fingerprint(self) -> str:
        return str(self.last.start.value.get("fingerprint", ""))

    @property
    def outcome(self) -> Event | None:
        return self.last.outcome

    @cached_property
    def input(self) -> Any:
        return codec.decode(self.encoded_input)

    @cached_property
    def encoded_input(self) -> Any:
        return self._items.resolve(self.last.start.value.get("input"))

    @property
    def status(self) -> str:
        value = self.outcome.value if self.outcome is not None else None
        if value is None:
            return "running"
        return "failed" if "error" in value else "cancelled" if value.get("cancelled") else "finished"

    @cached_property
    def result(self) -> Any:
        """What the step returned; None where it failed or has no outcome."""
        value = self.outcome.value if self.outcome is not None else {}
        return codec.decode(self._items.resolve(value.get("result")))

    @property
    def error(self) -> dict[str, Any] | None:
        """Name, text and fields of the error it failed with."""
        return self.outcome.value.get("error") if self.outcome is not None else None

    @property
    def usage(self) -> dict[str, Any]:
        return (self.outcome.value.get("usage") or {}) if self.outcome is not None else {}


@dataclass(frozen=True)
class Run:
    """One execution of agent code. `status` is running, waiting, failed, cancelled, exhausted or finished."""

    id: str
    agent: str
    status: str
    start: Event
    parent: str | None
    _items: Items
    outcome: Event | None = None
    error: dict[str, Any] | None = None

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def key(self) -> str:
        return self.start.key

    @property
    def fingerprint(self) -> str:
        return str(self.start.value.get("fingerprint", ""))

    @cached_property
    def encoded_arguments(self) -> Any:
        return self._items.resolve(self.start.value.get("arguments"))

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The call, by parameter name."""
        return codec.decode(self.encoded_arguments) or {}

    @cached_property
    def encoded_result(self) -> Any:
        value = self.outcome.value if self.outcome is not None else {}
        return self._items.resolve(value.get("result"))

    @cached_property
    def result(self) -> Any:
        """What the agent returned; None where it has not finished."""
        return codec.decode(self.encoded_result)


class State:
    """A session folded at a cut. `index` counts the events before the cut; lists are worked out when asked for."""

    def __init__(self, session: str, incarnation: str, events: Sequence[Event]) -> None:
        """`events` from the session's start, unmarked."""
        self.session = session
        self.incarnation = incarnation
        self.events, marker = marked(events)
        self.index = len(self.events)
        self.highest_claim = marker.highest
        self.claim = marker.current
        self._by_type: dict[str, list[Event]] = {}
        for event in self.events:
            if event.mark is None:
                self._by_type.setdefault(event.type, []).append(event)

    def of_type(self, *types: str) -> list[Event]:
        """The counted events of these types, in order."""
        if len(types) == 1:
            return list(self._by_type.get(types[0], ()))
        return sorted((event for kind in types for event in self._by_type.get(kind, ())), key=lambda event: event.index)

    @cached_property
    def _session(self) -> dict[str, Any]:
        """Title and tags as last said; a fork keeps its source's where it says nothing itself."""
        merged: dict[str, Any] = {}
        for event in self.of_type("session"):
            merged.update({name: value for name, value in event.value.items() if value is not None})
        return merged

    @property
    def title(self) -> str | None:
        return self._session.get("title")

    @property
    def tags(self) -> dict[str, Any]:
        return dict(self._session.get("tags") or {})

    @property
    def schema(self) -> int:
        return int(self._session.get("schema") or 1)

    @cached_property
    def lineage(self) -> Lineage | None:
        """Where this session was forked from, None for one that begins of itself."""
        value = next((e.value["lineage"] for e in reversed(self.of_type("session")) if e.value.get("lineage")), None)
        if value is None:
            return None
        return Lineage(value["source"], value["incarnation"], value["count"], tuple(value.get("replaced", ())))

    @property
    def inherited(self) -> int:
        """How many of the first events are shared with the source."""
        return self.lineage.count if self.lineage is not None else 0

    @cached_property
    def items(self) -> Items:
        items = Items()
        # elements stay readable whatever became of the events around them
        for event in self.events:
            if event.type == "item" and isinstance(event.value, dict) and isinstance(event.value.get("items"), list):
                items.add(event.key, event.value["items"])
        return items

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Every run by its id, in the order they began; child runs name their `parent`."""
        statuses = {event.key: str(event.value.get("status")) for event in self.of_type("status")}
        outcomes = {event.key: event for event in self.of_type("outcome")}
        errors = {event.value.get("run"): event.value for event in self.of_type("error")}
        return {
            run_name(event.key): Run(
                run_name(event.key),
                str(event.value.get("agent", "")),
                statuses.get(event.key, "running"),
                event,
                event.value.get("parent"),
                self.items,
                outcomes.get(event.key),
                errors.get(event.key),
            )
            for event in self.of_type("run")
        }

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
        outcomes = {event.key: event for event in self.of_type("outcome")}
        attempts: dict[tuple[str, str, int], list[Attempt]] = {}
        for event in self.of_type("step"):
            key = StepKey.parse(event.key)
            if key is None or not isinstance(event.value, dict):
                continue
            outcome = outcomes.get(event.key)
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

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """Every message in order, decoded."""
        return [codec.decode(event.value) for event in self.of_type("message")]

    @cached_property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Every tool call in order, decoded."""
        return [codec.decode(event.value) for event in self.of_type("tool_call")]

    @cached_property
    def usage(self) -> dict[str, int | float]:
        """What the model calls used, summed: `input_tokens`, `output_tokens` and whatever else was counted."""
        total: dict[str, int | float] = {}
        for event in self.of_type("outcome"):
            for name, amount in (event.value.get("usage") or {}).items():
                if isinstance(amount, (int, float)) and not isinstance(amount, bool):
                    total[name] = total.get(name, 0) + amount
        return total

    @cached_property
    def last_rewind(self) -> int:
        """The index of the last rewind in force, 0 if there is none."""
        return max((event.index for event in self.of_type("rewind")), default=0)


def fold(log: Log, at: int | None = None) -> State:
    """The state of a log, of its first `at` events only where given."""
    return State(log.session, log.incarnation, log.events if at is None else log.events[:at])
