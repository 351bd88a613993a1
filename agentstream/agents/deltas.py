"""Text that an engine's step says while it goes on, gathered for some tens of milliseconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentstream.sessions import codec
from agentstream.sessions.events import write_event
from agentstream.sessions.redaction import Held

if TYPE_CHECKING:
    from agentstream.agents.writer import Writer
    from agentstream.sessions.redaction import Rules

WITHIN = 0.04
"""Seconds for which text gathers."""


class Naming:
    """What is told once of each call whose arguments come: the tool, and the message that it will be a part of."""

    def __init__(self) -> None:
        self._untold: dict[str, dict[str, str]] = {}
        self._told: set[str] = set()

    def learn(self, target: str, name: str | None, message: str | None) -> None:
        """Takes note of it, to be told with the call's next piece."""
        if name and target not in self._told:
            self._untold[target] = {"name": name, **({"message": message} if message else {})}

    def of(self, target: str, kind: str) -> dict[str, str]:
        """What is to be told with a piece that is written now."""
        told = self._untold.pop(target, None) if kind == "args" else None
        if told is None:
            return {}
        self._told.add(target)
        return told


class Deltas:
    """The deltas of one source (a step's key, with its attempt), for any number of targets; fed by one at a time."""

    def __init__(self, writer: Writer, rules: Rules, claim: int, source: str, attempt: int) -> None:
        self._writer = writer
        self._claim = claim
        self._source = source
        self._attempt = attempt
        self._held = Held(rules)
        self._gathering: _Gathering | None = None
        self._naming = Naming()
        self._count = 0

    def feed(
        self, target: str, text: str, kind: str = "text", name: str | None = None, message: str | None = None
    ) -> None:
        """Adds text to what is coming for `target`; `kind` is text, reasoning or args. Never waits.

        Of arguments `target` is the call's id, `name` the tool's, `message` the id of the message that will hold it.
        """
        self._naming.learn(target, name, message)
        if text:
            self._add(target, kind, self._held.add(target, kind, text))

    def end(self) -> None:
        """Nothing more comes: what was held back, since it might have become a secret, is written too."""
        for target, kind, text in self._held.rest():
            self._add(target, kind, text)

    def _add(self, target: str, kind: str, text: str) -> None:
        gathering = self._gathering
        if not text or (gathering is not None and gathering.takes(target, kind, text)):
            return
        self._gathering = _Gathering(target, kind, text, self._message)
        self._writer.put(self._gathering, within=WITHIN)

    def _message(self, target: str, kind: str, text: str) -> bytes:
        self._count += 1  # the writer makes its messages one by one
        value = {"target": target, "kind": kind, "text": text, "attempt": self._attempt}
        value.update(self._naming.of(target, kind))
        key = f"{self._source}/d{self._count}"
        return write_event("delta", key, codec.encode(value).data, claim=self._claim)


class _Gathering:
    """One delta event: it grows until it is sent."""

    def __init__(self, target: str, kind: str, text: str, message: Callable[[str, str, str], bytes]) -> None:
        self._target, self._kind, self._parts = target, kind, [text]
        self._message = message
        self._sent = False
        self._lock = threading.Lock()

    def takes(self, target: str, kind: str, text: str) -> bool:
        """Takes more text, if it was not sent and that is for the same target."""
        with self._lock:
            if self._sent or (target, kind) != (self._target, self._kind):
                return False
            self._parts.append(text)
            return True

    def __call__(self) -> bytes:
        with self._lock:
            self._sent = True
        return self._message(self._target, self._kind, "".join(self._parts))
