"""Clock and chance for agents: recorded, so that resume and replay see the same values.

Each is a `pure` step: nothing waits for it, and it is durable before the next step acts.
`uuid4` and `random` are worked out from the step's identity, so they come out the same
also after a crash before anything was written.
"""

from __future__ import annotations

import random as _random
import uuid as _uuid
from collections.abc import Callable
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

from agentstream.agents.calls import StepCall
from agentstream.agents.opening import backend_here, opening, recording
from agentstream.backends.driving import Steps, drive

__all__ = ["now", "random", "uuid4"]


def now() -> datetime:
    """The time now, in UTC; in a run the time when it was first asked for. Outside a run it is simply the time."""
    return _recorded("clock", "now", lambda call: datetime.now(timezone.utc))


def uuid4() -> _uuid.UUID:
    """A random UUID; in a run the same one on resume and replay."""
    return _recorded("random", "uuid4", lambda call: _uuid.UUID(bytes=_bytes(call, 16), version=4))


def random() -> float:
    """A random number in [0, 1); in a run the same one on resume and replay."""
    return _recorded("random", "random", lambda call: _random.random() if call is None else _fraction(call))


def _fraction(call: StepCall) -> float:
    return (int.from_bytes(_bytes(call, 8), "big") >> 11) / (1 << 53)


def _bytes(call: StepCall | None, count: int) -> bytes:
    if call is None:
        return _random.SystemRandom().randbytes(count)
    return sha256(f"{call.idempotency_key}/{call.name}".encode()).digest()[:count]


def _recorded(kind: str, name: str, make: Callable[[StepCall | None], Any]) -> Any:
    if not recording():
        return make(None)
    return drive(_step(kind, name, make), backend_here())


def _step(kind: str, name: str, make: Callable[[StepCall | None], Any]) -> Steps[Any]:
    call = yield from opening(kind, name, {}, effect="pure")
    if call.served is not None:
        return call.served.value()
    return (yield from call.finishing(make(call)))
