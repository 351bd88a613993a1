"""How the calling code comes to its end."""

from __future__ import annotations

import sys

from agentstream.backends.finalizing import in_collector


def torn_down() -> bool:
    """Whether it ends with its process, or by the garbage collector together with its event loop.

    Then nobody can wait for anything: async code does as in a crash, and `abandon`s its call.
    """
    return sys.is_finalizing() or in_collector()
