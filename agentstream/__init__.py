"""agentstream: an agent's session as a durable stream.

Every message, token, tool call and result is appended to a log. From that one record a
session is resumed after a crash, forked at any event, replayed offline against changed
code, and followed live.
"""

from agentstream.agents import recorded
from agentstream.agents.agent import agent
from agentstream.agents.context import in_run, outside_run
from agentstream.agents.divergence import Divergence
from agentstream.agents.replay import Report
from agentstream.agents.steps import current_step, step
from agentstream.client import AsyncClient, Client
from agentstream.errors import (
    AgentStreamError,
    Diverged,
    Fenced,
    NotFound,
    NotSerializable,
    OutcomeUnknown,
    ReplayedError,
    ReplayOffline,
    RunCancelled,
    RunExhausted,
    RunPending,
    RunWaiting,
    SessionBusy,
    SessionExists,
    StoreError,
    Unavailable,
)
from agentstream.session import AsyncSession, Session, current_session
from agentstream.sessions.catalog import Summary
from agentstream.sessions.events import Event
from agentstream.sessions.positions import Position
from agentstream.sessions.state import State

__version__ = "0.1.0"

__all__ = [
    "AgentStreamError",
    "AsyncClient",
    "AsyncSession",
    "Client",
    "Diverged",
    "Divergence",
    "Event",
    "Fenced",
    "NotFound",
    "NotSerializable",
    "OutcomeUnknown",
    "Position",
    "ReplayOffline",
    "ReplayedError",
    "Report",
    "RunCancelled",
    "RunExhausted",
    "RunPending",
    "RunWaiting",
    "Session",
    "SessionBusy",
    "SessionExists",
    "State",
    "StoreError",
    "Summary",
    "Unavailable",
    "agent",
    "current_session",
    "current_step",
    "in_run",
    "outside_run",
    "recorded",
    "step",
]
