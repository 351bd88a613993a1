"""`session.replay` of what an engine keeps: stops, matching and comparing across all its tasks (`TaskReplay`), and
running on in a fork (`run_on`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.agents.replay_live import Steering
from agentstream.agents.replay_live_tasks import Engine, run_on_tasks
from agentstream.agents.replay_options import Asked
from agentstream.agents.replay_tasks import Node, TaskReplay
from agentstream.agents.replay_tries import tried
from agentstream.agents.replay_watch import Stopped

if TYPE_CHECKING:
    from agentstream.agents.replay import Report
    from agentstream.backends.driving import Steps

__all__ = ["Asked", "Engine", "Node", "Steering", "Stopped", "TaskReplay", "run_on", "tried"]


def run_on(client: Any, session: str, asked: Asked, number: int, engine: Engine) -> Steps[Report]:
    """Forks the session before `asked.live_from` and goes on there; `number` is that of the try (`tried`)."""
    return run_on_tasks(client._core, session, asked, number, engine)
