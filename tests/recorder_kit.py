"""A log as workers write it, each under a claim of its own, without a store; and read back as a session is."""

from __future__ import annotations

from typing import Any

from agentstream.sessions import codec
from agentstream.sessions.counting import counted
from agentstream.sessions.events import read_event, write_event
from agentstream.sessions.packing import Packer
from agentstream.sessions.state import State


class Recorder:
    """Writes as workers do, each under a claim of its own, and reads the log back as a session does."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.packer = Packer(0)
        self.take_over()

    def append(self, kind: str, key: str, value: dict[str, Any], claim: int | None = None) -> None:
        self.messages.append(write_event(kind, key, value, claim=claim))

    def write(self, kind: str, key: str, value: dict[str, Any], packed: str | None = None) -> Any:
        """The packed field as it was stored."""
        changes = self.packer.events(kind, key, value, packed)
        for change in changes:
            self.append(*change, claim=self.packer.claim)
        return changes[-1][2].get(packed or "")

    def take_over(self) -> None:
        """A new worker, that knows what the log says."""
        self.packer = Packer(self.packer.claim + 1)
        self.append("claim", f"{self.packer.claim}.nonce", {"nonce": "nonce"}, claim=self.packer.claim)
        state = self.state()
        self.packer.recall(state.events, state.items, state.sources)

    def state(self, at: int | None = None) -> State:
        events = [read_event(message, index) for index, message in enumerate(self.messages[:at])]
        return State("s", "", counted(events).events)

    def read(self, data: Any, at: int | None = None) -> Any:
        return self.state(at).items.resolve(codec.loads(codec.dumps(data)))
