"""Frameworks that run an agent's code in tasks of their own making, inside a run."""

from __future__ import annotations

from agentstream.agents.alone import nobody_else
from agentstream.agents.context import is_muted, lane_here


def run_by(*modules: str) -> None:
    """Says which code runs what this run does: `modules` by their top names, the framework's own and what it stands on.

    Where a task calls what no recorded one did, another task may still come with what was recorded; who waits in the
    framework's code will not. So a changed prompt is found to diverge at once rather than when nothing has moved for
    long. Outside a run it does nothing.
    """
    lane = None if is_muted() else lane_here()
    if lane is not None and lane.worker.progress.alone is None:
        engine = frozenset(modules)
        lane.worker.progress.alone = lambda: nobody_else(engine)
