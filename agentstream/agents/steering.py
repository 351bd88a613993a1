"""What may stand between a run's code and the steps that it makes: a replay that runs on, a cassette."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.backends.driving import Steps


class Steers(Protocol):
    """Asked of each step that the journal does not serve. `core.steering` is asked by all runs of a client."""

    def ready(self, call: StepCall, *, changeable: bool | Collection[str], in_loop: bool) -> Steps[None]:
        """Before the step is begun: raises the stop where it may not be."""
        ...

    def mock(self, call: StepCall, *, in_loop: bool) -> Steps[None]:
        """After it was begun: gives it an outcome (`call.served`), or leaves it to be made."""
        ...
