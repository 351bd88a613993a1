"""A fork with something else in it (`sessions/edits.py`): what does not fit, as the command line says it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agentstream.cli.failures import Missing, UsageError
from agentstream.sessions.edits import Misfit, NotEditable


@contextmanager
def refusing_edits() -> Iterator[None]:
    """Around the making of an edit: there an error says what is wrong with what the user typed."""
    try:
        yield
    except Misfit as error:
        raise UsageError(str(error), hint=error.hint) from error
    except NotEditable as error:
        raise Missing(str(error), hint=error.hint) from error
