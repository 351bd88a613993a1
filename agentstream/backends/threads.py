"""Threads that work in the background for as long as there is something to do."""

from __future__ import annotations

import threading


def at_work(thread: threading.Thread | None) -> bool:
    """Whether there is a thread and it runs: an interrupt may have come between making it and starting it."""
    return thread is not None and thread.is_alive()
