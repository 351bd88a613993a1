"""`session.replay` of what an engine keeps: stops, matching and comparing across all its tasks (`TaskReplay`)."""

from __future__ import annotations

from agentstream.agents.replay_options import Asked
from agentstream.agents.replay_tasks import Node, TaskReplay
from agentstream.agents.replay_watch import Stopped

__all__ = ["Asked", "Node", "Stopped", "TaskReplay"]
