"""What a person sees while a command takes long: on stderr, if that is a terminal, and gone when the answer comes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SOON = 0.7
"""Seconds after which it is said that something goes on."""
EVERY = 0.2


@contextmanager
def working(what: str, count: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Around what may take long. `what` is said with the seconds since, and with what `count` gives.

    It is said from a thread of its own: what is done inside may wait in place.
    """
    from agentstream.cli.talk import is_quiet

    if is_quiet() or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(what, count, done), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _tell(what: str, count: Callable[[], str], done: threading.Event) -> None:
    from agentstream.cli.text import clean

    begun, told = time.monotonic(), False
    pause = SOON
    while not done.wait(pause):
        about = ", ".join(part for part in (count(), f"{time.monotonic() - begun:.0f} s") if part)
        sys.stderr.write(f"\r\x1b[K{clean(what)} … {about}")
        sys.stderr.flush()
        told, pause = True, EVERY
    if told:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def size(count: int) -> str:
    """Bytes, for a person."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count = count // 1000
    return f"{count} GB"
