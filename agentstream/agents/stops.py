"""Stop signals: what ends a run whatever its code catches.

`Fenced`, `Diverged`, `OutcomeUnknown` and `ReplayOffline` travel through the agent's code
inside a `Stop`, which is no `Exception`; the run is poisoned, so that code that catches
everything meets the same stop at its next step. `session.run` raises the public error.
"""

from __future__ import annotations


class Stop(BaseException):
    """Carries the public error out through the agent's code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
