"""What `session.with_options` says: of itself, so that a handle on a session loads nothing that runs agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agentstream.agents.replay_live import Steering


class Options(msgspec.Struct, frozen=True):
    """What `session.with_options` says of the runs of a handle."""

    run_id: str | None = None
    take_over: bool = False
    max_attempts: int = 10
    durability: str = "sync"
    steering: Steering | None = None
    """What the run makes otherwise than its code says: a session that is run on for debugging."""

    def __post_init__(self) -> None:
        if self.run_id is not None and (not isinstance(self.run_id, str) or not self.run_id):
            raise ValueError(f"run_id= is a text that is not empty, not {self.run_id!r}")
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ValueError(f"max_attempts= is a number of attempts, at least 1, not {self.max_attempts!r}")
        if not isinstance(self.take_over, bool):
            raise TypeError(f"take_over= is True or False, not {self.take_over!r}")
        if self.durability not in ("sync", "behind"):
            raise ValueError(f'durability= is "sync" or "behind", not {self.durability!r}')
