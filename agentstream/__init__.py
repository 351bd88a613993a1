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
    from agentstream.agents.attaching import aattach, attach
    from agentstream.agents.context import in_run, outside_run
    from agentstream.agents.divergence import Divergence
    from agentstream.agents.inbox import ainbox, ainterrupted, inbox, interrupted, interruptible
    from agentstream.agents.replay import Report
    from agentstream.agents.saying import delta, emit
    from agentstream.agents.serving import Worker
    from agentstream.agents.sleeping import asleep, asleep_until, sleep, sleep_until
    from agentstream.agents.spawning import AsyncChildSession, ChildSession, aspawn, spawn
    from agentstream.agents.steps import current_step, step
    from agentstream.backends.remote.exchange import Backoff
    from agentstream.client import AsyncClient, Client
    from agentstream.errors import (
        AgentStreamError,
        AnswerRefused,
        BlobLost,
        Denied,
        Diverged,
        Erased,
        Fenced,
        Interrupted,
        InvalidExport,
        Locked,
        NotFound,
        NotSerializable,
        OutcomeUnknown,
        ProducerConflict,
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
        SubscriptionError,
        Unauthorized,
        Unavailable,
    )
    from agentstream.protocol.errors import InvalidRequest, SequenceConflict, StaleEpoch, StreamClosed, StreamConflict
    from agentstream.session import AsyncSession, Session, current_session
    from agentstream.sessions.attachments import Attachment
    from agentstream.sessions.catalog import Summary
    from agentstream.sessions.conversions.messages import Messages
    from agentstream.sessions.events import Event
    from agentstream.sessions.output import Output
    from agentstream.sessions.positions import Position
    from agentstream.sessions.questions import Answer, Question
    from agentstream.sessions.redaction import Redact
    from agentstream.sessions.secrets import Redacted, Secret
    from agentstream.sessions.state import State
    from agentstream.streams.producer import AsyncProducer, Producer
    from agentstream.streams.stream import AsyncStream, Stream
    from agentstream.streams.values import Item, StreamPosition
    from agentstream.subscriptions import AsyncSubscription, AsyncWake, Subscription, Wake
    from agentstream.telemetry import export_spans, instrument, uninstrument

__version__ = "0.1.0"

__all__ = [
    "AgentStreamError",
    "Answer",
    "AnswerRefused",
    "AsyncChildSession",
    "AsyncClient",
    "AsyncProducer",
    "AsyncSession",
    "AsyncStream",
    "AsyncSubscription",
    "AsyncWake",
    "Attachment",
    "Backoff",
    "BlobLost",
    "ChildSession",
    "Client",
    "Denied",
    "Diverged",
    "Divergence",
    "Erased",
    "Event",
    "Fenced",
    "Interrupted",
    "InvalidExport",
    "InvalidRequest",
    "Item",
    "Locked",
    "Messages",
    "NotFound",
    "NotSerializable",
    "OutcomeUnknown",
    "Output",
    "Position",
    "Producer",
    "ProducerConflict",
    "Question",
    "QuestionExpired",
    "Redact",
    "Redacted",
    "ReplayOffline",
    "ReplayedError",
    "Report",
    "RunCancelled",
    "RunExhausted",
    "RunPending",
    "RunWaiting",
    "Secret",
    "SequenceConflict",
    "Session",
    "SessionBusy",
    "SessionExists",
    "StaleEpoch",
    "State",
    "StoreError",
    "Stream",
    "StreamClosed",
    "StreamConflict",
    "StreamPosition",
    "Subscription",
    "SubscriptionError",
    "Summary",
    "Unauthorized",
    "Unavailable",
    "Wake",
    "Worker",
    "aask",
    "aattach",
    "agent",
    "ainbox",
    "ainterrupted",
    "ask",
    "asleep",
    "asleep_until",
    "aspawn",
    "attach",
    "current_session",
    "current_step",
    "delta",
    "emit",
    "export_spans",
    "in_run",
    "inbox",
    "instrument",
    "interrupted",
    "interruptible",
    "outside_run",
    "recorded",
    "sleep",
    "sleep_until",
    "spawn",
    "step",
    "uninstrument",
]

_HOMES = {
    "agents": "recorded",
    "agents.agent": "agent",
    "agents.asking": "aask ask",
    "agents.attaching": "aattach attach",
    "agents.context": "in_run outside_run",
    "agents.divergence": "Divergence",
    "agents.inbox": "ainbox ainterrupted inbox interrupted interruptible",
    "agents.replay": "Report",
    "agents.saying": "delta emit",
    "agents.serving": "Worker",
    "agents.sleeping": "asleep asleep_until sleep sleep_until",
    "agents.spawning": "AsyncChildSession ChildSession aspawn spawn",
    "agents.steps": "current_step step",
    "backends.remote.exchange": "Backoff",
    "client": "AsyncClient Client",
    "protocol.errors": "InvalidRequest SequenceConflict StaleEpoch StreamClosed StreamConflict",
    "session": "AsyncSession Session current_session",
    "sessions.attachments": "Attachment",
    "sessions.catalog": "Summary",
    "sessions.conversions.messages": "Messages",
    "sessions.events": "Event",
    "sessions.output": "Output",
    "sessions.positions": "Position",
    "sessions.questions": "Answer Question",
    "sessions.redaction": "Redact",
    "sessions.secrets": "Redacted Secret",
    "sessions.state": "State",
    "streams.producer": "AsyncProducer Producer",
    "streams.stream": "AsyncStream Stream",
    "streams.values": "Item StreamPosition",
    "subscriptions": "AsyncSubscription AsyncWake Subscription Wake",
    "telemetry": "export_spans instrument uninstrument",
}
"""Where each name comes from; from `errors` all that are not here."""

_home_of = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{_home_of.get(name, 'errors')}"
    value = globals()[name] = (
        import_module(f"{home}.{name}") if name == "recorded" else getattr(import_module(home), name)
    )
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
