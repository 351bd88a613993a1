"""Tidying up what the garbage collector ends.

It comes over any line: also over one whose thread holds the very locks, or is in the very
transaction, that tidying up needs. So what it ends is tidied up on a thread of its own.
"""

from __future__ import annotations

import _thread
import gc
import logging
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import Any

_log = logging.getLogger("agentstream")

_collector: int | None = None
"""The thread that the garbage collector is at work in: there is one at a time."""

_phases: dict[str, object] = {"stop": None}
"""What each phase of the collector was last told with. A dict notes it itself: no interrupt comes between."""
_last_stop: object = None
"""Where the collection that is at work began, what was told at the end of the one before."""

_kept: dict[int, object] = {}
_found: deque[Callable[[], Any]] = deque()
"""By the collection that is at work."""
_waiting: deque[Callable[[], Any]] = deque()
_tidying = False


def keep(steps: object) -> None:
    """Keeps a generator from the garbage collector until `let_go`: it would end it in its own place.

    Who is in the midst of it must not be reachable from it, and is what the collector ends then.
    """
    _kept[id(steps)] = steps


def let_go(steps: object) -> None:
    """The generator has come to its end, or `elsewhere` has it."""
    _kept.pop(id(steps), None)


def in_collector() -> bool:
    """Whether the calling code is a finalizer that the garbage collector has called."""
    return _collector == get_ident() and _at_work() and not sys.is_finalizing()


def _at_work() -> bool:
    """Whether a collection has begun and not ended, also where an interrupt came over noting that."""
    return _collector is not None and _phases["stop"] is _last_stop


def elsewhere(tidy_up: Callable[[], Any]) -> None:
    """Calls it soon, on another thread, one after the other. Takes no lock, and may be called by a finalizer."""
    if in_collector():
        _found.append(tidy_up)  # the collector may come to the same thing once more
    else:
        _waiting.append(tidy_up)
        _hand_on()


def _hand_on() -> None:
    if not _at_work():
        with suppress(IndexError):  # another thread was faster
            while _found:
                _waiting.append(_found.popleft())
    if _waiting:
        _start()


def _start() -> None:
    global _tidying
    if not _tidying:
        _tidying = True
        with suppress(RuntimeError):  # the process ends, and frees what it holds
            _thread.start_new_thread(_tidy_up, ())  # `threading` takes locks


def _tidy_up() -> None:
    global _tidying
    while _waiting:
        try:
            _waiting.popleft()()
        except (GeneratorExit, IndexError):  # as it was ended; another thread was faster
            pass
        except BaseException:
            _log.exception("what the garbage collector had ended could not be tidied up")
        if not _waiting:
            _tidying = False  # who comes from here on starts a thread; who came just before is seen


def _note(phase: str, _: dict[str, int]) -> None:
    global _collector, _last_stop
    if phase == "start":
        _last_stop = _phases["stop"]
        _collector = get_ident()
    else:
        _collector = None
        _hand_on()


def _begin_anew() -> None:
    global _tidying, _collector
    _found.clear()
    _waiting.clear()
    _tidying, _collector = False, None


gc.callbacks += (_phases.__setitem__, _note)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
