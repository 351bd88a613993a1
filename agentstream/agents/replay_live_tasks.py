"""Running on from the replay of what an engine keeps: the session is forked at a step, and the engine goes on there.

What the engine stored before the cut is in the fork, and it serves its tasks' steps from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from agentstream.agents.replay import live_report
from agentstream.agents.replay_live import Ran, Steering, live_of, on_branch, typed_names
from agentstream.agents.replay_tasks import cut_of, refuse
from agentstream.sessions.codec import canonical
from agentstream.sessions.comparing import told
from agentstream.sessions.fingerprints import shape_of
from agentstream.sessions.prices import cost_of
from agentstream.sessions.state import State, fold
from agentstream.sessions.steps import mapping

if TYPE_CHECKING:
    from agentstream.agents.replay import Report
    from agentstream.agents.replay_options import Asked
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.events import Event
    from agentstream.sessions.prices import Cost, Prices
    from agentstream.sessions.steps import Step


class Engine(Protocol):
    """What an engine knows of a session that it keeps."""

    def check_id(self, new_id: str) -> None:
        """Raises ValueError for what cannot be the id of a session of its."""
        ...

    def end(self, cut: int) -> int:
        """The cut at which had ended what goes on from this one. Raises ValueError where nothing goes on from it."""
        ...

    def stands(self, run: str, cut: int) -> bool:
        """Whether a fork at this cut knows the task that these steps were recorded under."""
        ...

    def go(self, new_id: str, steering: Steering) -> Steps[Any]:
        """Goes on in the fork. `steering` is that of every TaskWorker there."""
        ...

    def same(self, new_id: str, end: int) -> Steps[bool]:
        """Whether a fork's state is as the record has it at `end`."""
        ...


def run_on_tasks(core: Core, session: str, asked: Asked, number: int, engine: Engine) -> Steps[Report]:
    """Forks the session before a step and goes on there; `number` is that of the try."""
    refuse(asked)
    state = fold((yield from core.require(session)))
    cut = cut_of(state, asked.live_from, "live_from")
    if asked.into is not None:
        engine.check_id(asked.into)
    if not any(_begun(step) >= cut for step in state.steps):
        raise ValueError(f"live_from= is before a step of the session, of which there are {len(state.steps)}")
    end = engine.end(cut)
    live = live_of(asked, sum(_begun(step) < cut for step in state.steps), number)
    recorded = [step for step in state.steps if _begun(step) < end]
    ran = Ran(_estimate(state, cut, end, live.prices, live.changes.model), len(recorded), live.start)
    names = typed_names((step.name, step.outcome) for step in recorded)
    left = [step for step in recorded if _ended_before(step, cut) and not engine.stands(step.run, cut)]
    steering = Steering(live.changes, live.mocks, live.allow, names)
    yield from on_branch(core, session, live, ran, cut, steering, lambda new_id: engine.go(new_id, steering))
    if left:
        ran.notes.append(
            f"{len(left)} recorded steps before it are made again: what their tasks stand on was stored after them"
        )
    if ran.fork is not None:
        branch = fold((yield from core.require(ran.fork)))
        ran.made = sum(step.last.start.index >= cut for step in branch.steps)
        if ran.returned:
            given = {step.key for step in left}
            made = [step for step in branch.steps if step.key not in given]
            ran.same = _made_alike(recorded, made) and (yield from engine.same(ran.fork, end))
    return live_report(ran)


def _begun(step: Step) -> int:
    return step.attempts[0].start.index


def _ended_before(step: Step, cut: int) -> bool:
    return step.outcome is not None and step.outcome.index < cut


def _estimate(state: State, cut: int, end: int, prices: Prices, model: str | None) -> Cost:
    """What was used from `cut` to `end`: by outcomes; by messages where no model call was a step."""
    used = _with_usage(state.of_type("outcome"), cut, end) or _with_usage(state.of_type("message"), cut, end)
    return cost_of(used, prices, model=model)


def _with_usage(events: Iterable[Event], cut: int, end: int) -> list[Event]:
    return [event for event in events if cut <= event.index < end and mapping(event, "usage")]


def _made_alike(recorded: list[Step], made: list[Step]) -> bool:
    """Whether the same steps came out the same, in whichever order: tasks work side by side."""
    return sorted(map(_told, recorded)) == sorted(map(_told, made))


def _told(step: Step) -> tuple[str, str, str, bytes]:
    return step.kind, step.name, str(shape_of(step.fingerprint)), canonical(told(step)["outcome"])
