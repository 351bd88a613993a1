"""Who watches the runs of a client as they go: telemetry. Nobody, in most programs, and then nothing is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.agents.worker import Worker
    from agentstream.sessions.state import State


class Watched(Protocol):
    """Told of what an engine does in one run. Steps are known by their keys."""

    trace: str | None
    """What the run's event is to say as its `trace`."""

    def current(self) -> AbstractContextManager[None]:
        """Around what the engine does."""
        ...

    def began(self, key: str, task: str, above: str | None, kind: str, name: str, provider: str | None) -> None:
        """A step begins: of kind "node" the task itself, else in it. `above`: the task that it is in."""
        ...

    def ended(self, key: str, value: dict[str, Any] | None) -> None:
        """It has its outcome; None where it was left without one."""
        ...

    def end(self, status: str, error: BaseException | None) -> None:
        """The run ended, or waits."""
        ...


class Observes(Protocol):
    """Kept as `core.observer`. Told of what is really made, never of what a record serves."""

    def run(self, worker: Worker, key: str, agent: str, *, resumed: bool) -> AbstractContextManager[None]:
        """Around a run. It may set `worker.trace`, which the run's event then says."""
        ...

    def engine(self, state: State, key: str, agent: str, *, resumed: bool) -> Watched:
        """A run begins, or goes on, of an engine that tells of it itself."""
        ...

    def told(self, session: str, key: str, value: dict[str, Any]) -> None:
        """An engine says of a step, by its key, that it has ended; nobody said when it began."""
        ...

    def began(self, call: StepCall) -> None:
        """An attempt of a step begins."""
        ...

    def ended(self, call: StepCall, value: dict[str, Any] | None) -> None:
        """It has its outcome, which is about to be written; None where it was left without one."""
        ...

    def within(self, call: StepCall, body: Callable[[], Any], *, is_async: bool) -> Callable[[], Any]:
        """What a step's function is called by."""
        ...


def observed(worker: Worker, key: str, agent: str, *, resumed: bool = False) -> AbstractContextManager[None]:
    """Around what a run does."""
    observer: Observes | None = worker.core.observer
    if observer is None or worker.replaying:
        return nullcontext()
    return observer.run(worker, key, agent, resumed=resumed)
