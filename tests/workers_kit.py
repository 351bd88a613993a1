"""What the tests of workers share: a worker at work beside the test, worker processes, and waiting for what they do."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli_kit import environment

from agentstream import Client, Event, Session, Worker


@contextlib.contextmanager
def at_work(client: Client, agent: Any, **options: Any) -> Iterator[Worker]:
    """A worker in a thread, stopped at the end; what ended it otherwise is raised."""
    worker = Worker(client, agent, **options)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            worker.run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def until(session: Session, status: str, *, run: str | None = None, start: int | None = None) -> Event:
    """The status event with which a run (the last, if none is named) comes to a status, as soon as it is there."""
    for event in session.follow(start):
        counts = event.type == "status" and event.mark is None and run in (None, event.key)
        if counts and event.value["status"] == status:
            return event
    raise AssertionError("the session was sealed")


def step_begun(session: Session, name: str, *, start: int | None = None) -> Event:
    """The first attempt of a step by this name from a place on, as soon as it is in the log."""
    for event in session.follow(start):
        if event.type == "step" and event.value["name"] == name:
            return event
    raise AssertionError("the session was sealed")


class WorkerProcess:
    """`agentstream worker` in a process of its own; killed at the end if it is still there."""

    def __init__(self, store: Path | str, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "agentstream.cli", "worker", *arguments, "--url", str(store)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.told: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.told.extend(self.process.stderr)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ended(self) -> int:
        code = self.process.wait(60)
        self._reader.join(60)
        return code
