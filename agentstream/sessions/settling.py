"""What a person settles in a session: unknown outcomes, a rewind, an end, a deletion.

Each wins a claim first, as a run does, so that it never cuts into a living worker's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstream.backends.base import Delist
from agentstream.errors import Unavailable
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Delete
from agentstream.sessions.births import declared_birth
from agentstream.sessions.claims import holder_alive, under_claim
from agentstream.sessions.cuts import At, index_in
from agentstream.sessions.events import read_event
from agentstream.sessions.heirs import heirs_path, refuse_with_heirs
from agentstream.sessions.ids import fresh_id, path_of
from agentstream.sessions.large import kept
from agentstream.sessions.log import locate, missing, pointed_at
from agentstream.sessions.naming import find_step, outcome_value
from agentstream.sessions.placing import discard
from agentstream.sessions.snapshots import snapshot_path
from agentstream.sessions.state import State, Step, fold

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.redaction import Rules


def unknown_steps(state: State) -> list[Step]:
    """Steps with effect="once" of open runs that were begun and have no outcome."""
    openly = {run.key for run in state.open_runs}
    steps = state.steps_of(*openly)
    return [step for step in steps if step.effect == "once" and step.outcome is None and step.run in openly]


def unresolved(core: Core, session: str) -> Steps[list[Step]]:
    """The steps of which nobody knows what came; none while a living worker may still say it."""
    log = yield from core.require(session)
    state = fold(log)
    return [] if (yield from holder_alive(log, state)) else unknown_steps(state)


def resolve(core: Core, session: str, named: Any, outcome: dict[str, Any], *, take_over: bool) -> Steps[None]:
    """Gives an unknown step its outcome. Raises NotFound for no such step, ValueError for one that has its outcome."""

    def build(state: State) -> list[dict[str, Any]]:
        step = find_step(state, named)
        if step.outcome is not None:
            raise ValueError(
                f"step {step.key} of session {session!r} has its outcome ({step.status}); nothing is to be resolved"
            )
        return [{"kind": "outcome", "key": step.key, "value": {**outcome, "resolved": True}}]

    log = yield from core.require(session)
    outcome = yield from kept(core.blobs, "outcome", outcome, log.births)
    yield from under_claim(core, session, build, take_over=take_over)


def resolution(step: Any, result: Any, error: Any, rules: Rules) -> dict[str, Any]:
    """The outcome that `resolve(step, result)` or `resolve(step, error=…)` gives."""
    if error is None:
        return outcome_value(result, str(step), rules)
    if result is not None:
        raise ValueError("a step is resolved with a result or with error=…, not with both")
    if isinstance(error, str):
        error = RuntimeError(error)
    if not isinstance(error, Exception):
        raise TypeError(f"error= is an exception, or a text that says what went wrong, not {error!r}")
    return outcome_value(error, str(step), rules)


def rewind(core: Core, session: str, at: At | None, *, take_over: bool) -> Steps[None]:
    """Takes the events from `at` on out of every fold; they stay readable, marked rewound."""
    if at is None:
        raise TypeError("rewind needs at=: a number of events, an Event or a Position")
    log = yield from core.require(session)
    index = index_in(log, at)

    def build(state: State) -> list[dict[str, Any]]:
        return [{"kind": "rewind", "key": fresh_id(), "value": {"to": index}}]

    yield from under_claim(core, session, build, take_over=take_over)


def seal(core: Core, session: str, *, take_over: bool) -> Steps[None]:
    """Ends the session for ever: nothing can be appended any more, and followers come to their end."""
    log = yield from core.require(session)
    if not log.closed:
        yield from under_claim(core, session, lambda state: [], take_over=take_over, close=True)


def delete(core: Core, session: str) -> Steps[None]:
    """Deletes the session. Forks of it stay readable; its id can be used again.

    Raises AgentStreamError for one that stitched forks read from, where the server cannot know of those.
    """
    found = yield from locate(session)
    if found is None:
        raise missing(session)
    core.forget(session)
    if not core.backend.traits.exact_forks:
        yield from refuse_with_heirs(found[0], session)
    try:
        yield Delete(found[0])
    except (StreamNotFound, StreamGone):
        raise missing(session) from None
    except Unavailable:
        yield from discard(found[0])  # the first try may have been the one
    birth = declared_birth(read_event(found[1].messages[0], 0)) if found[1].messages else None
    yield from discard(snapshot_path(found[0], birth.encrypted if birth is not None else None))
    left = yield from pointed_at(session)
    if left is not None and left != found[0]:
        yield from discard(left)  # what a compaction that broke off was to go over to
    yield Delist(path_of(session))
    if not core.backend.traits.exact_forks:
        yield from discard(heirs_path(found[0]))  # of the next life at that path they are none
