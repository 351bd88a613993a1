"""An interrupt over the start of a thread in the background: the next one to need it starts it."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agentstream.agents.timer import Timer
from agentstream.backends.embedded.backend import EmbeddedBackend
from agentstream.backends.threads import at_work
from agentstream.protocol.operations import Create, Head
from agentstream.sessions.saving import Saver
from agentstream.streams.producer import _Threads

HANGING = 60
Need = Callable[[threading.Event], object]


def timer(folder: Path) -> Need:
    timer = Timer()
    return lambda done: timer.later(0.0, done.set)


def saver(folder: Path) -> Need:
    saver = Saver()
    return lambda done: saver.soon("s", done.set)


def committer(folder: Path) -> Need:
    backend = EmbeddedBackend(folder)
    return lambda done: backend._committer.start(Create("a"), lambda value, error: done.set())


def watcher(folder: Path) -> Need:
    backend = EmbeddedBackend(folder)
    backend.execute(Create("a"))

    def need(done: threading.Event) -> None:
        backend._hub.register("a", 0)
        if at_work(backend._hub._thread):
            done.set()

    return need


def producer(folder: Path) -> Need:
    class Batches:
        def __init__(self) -> None:
            self.waiting: list[threading.Event] = []

        def take(self) -> tuple[threading.Event | None, float | None]:
            return (self.waiting.pop() if self.waiting else None), None

    queue: Any = Batches()

    def deliver(batch: Any) -> None:
        batch.set()

    threads = _Threads(queue, deliver, 1)

    def need(done: threading.Event) -> None:
        queue.waiting.append(done)
        threads.wake()

    return need


class Interrupted:
    """`Thread.start` as a signal interrupts it once: before anything, or when the thread runs."""

    def __init__(self, patch: pytest.MonkeyPatch, *, begun: bool) -> None:
        start = threading.Thread.start

        def interrupted(thread: threading.Thread) -> None:
            patch.undo()
            if begun:
                start(thread)
            raise KeyboardInterrupt

        patch.setattr(threading.Thread, "start", interrupted)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("made", [timer, saver, committer, watcher, producer])
def test_the_next_one_starts_it(made: Callable[[Path], Need], begun: bool, tmp_path: Path) -> None:
    need = made(tmp_path)
    done = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        Interrupted(patch, begun=begun)
        with pytest.raises(KeyboardInterrupt):
            need(threading.Event())
    need(done)
    assert done.wait(HANGING)


def test_a_store_that_was_interrupted_so_is_closed(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        Interrupted(patch, begun=False)
        with pytest.raises(KeyboardInterrupt):
            backend._committer.start(Create("a"), lambda value, error: None)
    backend.close()
    again = EmbeddedBackend(tmp_path)
    assert again.execute(Head("a"))  # what was queued was committed as the store was closed
    again.close()


def test_an_interrupt_over_the_asking_mixes_nothing_up() -> None:
    """At each line of it: what others ask for is called, each once."""
    interrupts = 0
    for number in range(1, 100):
        timer, lines, called = Timer(), number, list[str]()
        timer.in_line(3600, threading.Event().set)

        def interrupt(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal lines
            if frame.f_code is not Timer.in_line.__code__:
                return None
            here = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and "with self._wake" not in here:  # a signal does not come before a lock is given back
                lines -= 1
                if lines == 0:
                    raise KeyboardInterrupt
            return interrupt

        sys.settrace(interrupt)
        try:
            timer.in_line(0.0, lambda: None)
        except KeyboardInterrupt:
            interrupts += 1
        else:
            break
        finally:
            sys.settrace(None)
        done = threading.Event()
        timer.in_line(0.0, lambda called=called: called.append("first"))
        timer.in_line(0.0, done.set)
        assert done.wait(HANGING)
        assert called == ["first"]
    assert interrupts > 3
