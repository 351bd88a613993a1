"""agentstream: an agent's session as a durable stream.

Every message, token, tool call and result is appended to a log. From that one record a
session is resumed after a crash, forked at any event, replayed offline against changed
code, and followed live.

Each name is imported when it is first asked for, so that a program loads what it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentstream.agents import recorded
    from agentstream.agents.agent import agent
    from agentstream.agents.asking import aask, ask
    from agentstream.agents.context import in_run, outside_run
    from agentstream.agents.divergence import Divergence
    from agentstream.agents.inbox import ainbox, ainterrupted, inbox, interrupted, interruptible
    from agentstream.agents.replay import Report
    from agentstream.agents.sleeping import asleep, asleep_until, sleep, sleep_until
    from agentstream.agents.steps import current_step, step
    from agentstream.client import AsyncClient, Client
    from agentstream.errors import (
        AgentStreamError,
        AnswerRefused,
        Denied,
        Diverged,
        Fenced,
        Interrupted,
        InvalidExport,
        NotFound,
        NotSerializable,
        OutcomeUnknown,
        QuestionExpired,
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
    from agentstream.sessions.questions import Answer, Question
    from agentstream.sessions.state import State
