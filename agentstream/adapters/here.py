"""Which run the calling code is in, for what an integration keeps in memory for as long as that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstream.agents.context import is_muted, lane_here

if TYPE_CHECKING:
    from agentstream.agents.worker import Worker


def run_here() -> Worker | None:
    """The run in which a call made here and now would be a step, None where it would not.

    Good for `.session` (the id), `.replaying`, and as a key of a WeakKeyDictionary.
    """
    lane = None if is_muted() else lane_here()
    return lane.worker if lane is not None else None
