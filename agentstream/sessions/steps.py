"""Runs, steps and attempts as a session's fold shows them. Each wraps the events it is told by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec

from agentstream.sessions.events import Event
from agentstream.sessions.items import Items
from agentstream.sessions.large import decoded, put_back

OPEN = frozenset(("running", "waiting", "failed", "exhausted", "abandoned"))
"""Statuses of a run that can still go on."""


def field(event: Event | None, name: str) -> Any:
    """A field of an event's value; None where there is none."""
    value = event.value if event is not None else None
    return value.get(name) if isinstance(value, dict) else None


def text(event: Event | None, name: str, default: str = "") -> str:
    """A field that should be text; `default` where it is anything else."""
    value = field(event, name)
    return value if isinstance(value, str) else default


def mapping(event: Event | None, name: str) -> dict[str, Any]:
    """A field that should be a mapping; an empty one where it is anything else."""
    value = field(event, name)
    return value if isinstance(value, dict) else {}


def error_line(error: Mapping[str, Any]) -> str:
    """An error as it is recorded, on one line: its name and text."""
    return f"{error.get('name')}: {error.get('text')}"


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a step: its start and, where there is one, its outcome."""

    number: int
    start: Event
    outcome: Event | None = None


def own_outcome(start: Event) -> Event | None:
    """The start itself, where it says what came of the step: of one that is told when it is over, by an engine that
    has its own record of it."""
    if b'"result":' not in start.raw and b'"error":' not in start.raw:
        return None  # most of them: their value is not looked at
    value = start.value
    return start if isinstance(value, dict) and ("result" in value or "error" in value) else None


@dataclass(frozen=True)
class Step:
    """One recorded call to the outside. `key` names its last attempt.

    `status` is running, finished, failed or cancelled; running, in a run that is not alive
    any more, means: begun, and no outcome known.
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
        return text(self.last.start, "kind")

    @property
    def name(self) -> str:
        return text(self.last.start, "name")

    @property
    def effect(self) -> str:
        return text(self.last.start, "effect", "repeat")

    @property
    def fingerprint(self) -> str:
        return text(self.last.start, "fingerprint")

    @property
    def code(self) -> str | None:
        """The place in the code that made the call, as `support/agents.py:42 in answer`; None where it is not said."""
        return text(self.last.start, "code") or None

    @property
    def outcome(self) -> Event | None:
        return self.last.outcome

    @cached_property
    def input(self) -> Any:
        return decoded(self.encoded_input, self.last.start)

    @property
    def stored_input(self) -> Any:
        """The input with its lists whole; what is kept in blobs (`large.py`) is still referred to."""
        return self._items.resolve(field(self.last.start, "input"))

    @cached_property
    def encoded_input(self) -> Any:
        return put_back(self.stored_input, self.last.start)

    @property
    def status(self) -> str:
        if self.outcome is None:
            return "running"
        value = self.outcome.value
        return "failed" if "error" in value else "cancelled" if value.get("cancelled") else "finished"

    @cached_property
    def result(self) -> Any:
        """What the step returned; None where it failed or has no outcome."""
        return decoded(put_back(self.stored_result, self.outcome), self.outcome)

    @property
    def stored_result(self) -> Any:
        """As `stored_input`."""
        return self._items.resolve(field(self.outcome, "result"))

    @property
    def error(self) -> dict[str, Any] | None:
        """Name, text and fields of the error it failed with."""
        return field(self.outcome, "error")

    @property
    def usage(self) -> dict[str, Any]:
        return mapping(self.outcome, "usage")


@dataclass(frozen=True)
class Run:
    """One execution of agent code.

    `status` is running, waiting, failed, cancelled, exhausted or finished; "abandoned" where it
    should be running and nobody runs it any more.
    """

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
        return text(self.start, "fingerprint")

    @property
    def entry(self) -> str | None:
        """The agent's function as `module:name`; None where the record does not tell."""
        return text(self.start, "entry") or None

    @property
    def stored_arguments(self) -> Any:
        """The arguments with their lists whole; what is kept in blobs (`large.py`) is still referred to."""
        return self._items.resolve(field(self.start, "arguments"))

    @cached_property
    def encoded_arguments(self) -> Any:
        return put_back(self.stored_arguments, self.start)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The call, by parameter name."""
        arguments = decoded(self.encoded_arguments, self.start)
        return arguments if isinstance(arguments, dict) else {}

    @property
    def stored_result(self) -> Any:
        """As `stored_arguments`."""
        return self._items.resolve(field(self.outcome, "result"))

    @cached_property
    def encoded_result(self) -> Any:
        return put_back(self.stored_result, self.outcome)

    @cached_property
    def result(self) -> Any:
        """What the agent returned; None where it has not finished."""
        return decoded(self.encoded_result, self.outcome)

    def without_worker(self) -> Run:
        """The same run, when it is known that no worker lives."""
        return replace(self, status="abandoned") if self.status == "running" else self
