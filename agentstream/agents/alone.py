"""Whether other code is about that could still make a step of a task: seen by what threads and tasks are doing.

An engine's task has no lane that is known to be its first, so code that calls something new waits
for what was recorded: another thread may come with it. Where nobody else is in any code but the
engine's, Python's and ours, nobody will.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

_OURS = frozenset(("agentstream", *sys.stdlib_module_names))


def nobody_else(engine: frozenset[str]) -> bool:
    """Whether no other thread or task is in code of its own; what waits inside of `engine` (top names of modules) is
    not."""
    passed, me = _OURS, threading.get_ident()
    frames = sys._current_frames()  # what a debugger looks at; threads may be anywhere
    others = (_outwards(frame) for ident, frame in frames.items() if ident != me)
    return not any(_is_busy(stack, engine, passed) for stack in (*others, *_tasks()))


def _is_busy(modules: Iterable[str], engine: frozenset[str], passed: frozenset[str]) -> bool:
    """Whether the innermost module that is not Python's or ours is none of the engine's either."""
    for module in modules:
        top = module.partition(".")[0]
        if top in engine:
            return False
        if top not in passed:
            return True
    return False


def _outwards(frame: Any) -> Iterator[str]:
    while frame is not None:
        yield frame.f_globals.get("__name__") or ""
        frame = frame.f_back


def _tasks() -> Iterator[Iterable[str]]:
    try:
        here, tasks = asyncio.current_task(), asyncio.all_tasks()
    except RuntimeError:
        return
    for task in tasks:
        if task is not here:
            yield reversed(list(_inwards(task.get_coro())))


def _inwards(awaited: Any) -> Iterator[str]:
    """The modules of a suspended coroutine and of what it awaits, from outside to inside."""
    while awaited is not None:
        frame = next((f for name in ("cr_frame", "gi_frame", "ag_frame") if (f := getattr(awaited, name, None))), None)
        if frame is not None:
            yield frame.f_globals.get("__name__") or ""
        awaited = next(
            (on for name in ("cr_await", "gi_yieldfrom", "ag_await") if (on := getattr(awaited, name, None))), None
        )
