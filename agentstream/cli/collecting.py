"""How often this process looks for cycles: hardly ever, while it is a command of ours.

Imports make next to none, and to look for them while it starts and when it ends would take a
quarter of a short command's time. With the user's own code in it, all is as Python does it.
"""

from __future__ import annotations

import gc

_usual: tuple[int, int, int] | None = None


def seldom() -> None:
    """From here on, until `as_usual`."""
    global _usual
    _usual = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)


def as_usual() -> None:
    """The user's code is about to be loaded, and may leave what must be closed."""
    global _usual
    if _usual is not None:
        gc.set_threshold(*_usual)
        _usual = None


def never_again() -> None:
    """The process ends, and what is left goes with it: unless the user's code is there."""
    if _usual is not None:
        gc.freeze()
