"""A session as it is now, for who looks at it: folded, with what the log alone does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentstream.sessions.claims import holder_alive
from agentstream.sessions.state import State, fold

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core


class Seen(NamedTuple):
    """A session as it was when it was read."""

    state: State
    sealed: bool


def seen(core: Core, session: str) -> Steps[Seen]:
    """Reads and folds a session once, and asks whether its worker lives and whether it is sealed. NotFound."""
    log = yield from core.require(session)
    alive = yield from holder_alive(log, fold(log))
    return Seen(fold(log, alive=alive), log.closed)
