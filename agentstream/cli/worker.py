"""`agentstream worker`: runs the sessions that have work, in one process or several."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer

from agentstream.cli.failures import INTERRUPTED, refusing_arguments
from agentstream.cli.options import Url

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a process that died is begun again: doubling."""


def worker(
    agents: Annotated[list[str], typer.Argument(metavar="MODULE:AGENT...", show_default=False)],
    match: Annotated[
        str, typer.Option("--match", metavar="PATTERN", help="Which sessions: * is one segment, ** any number.")
    ] = "**",
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, metavar="N", help="Runs at once, a process.")
    ] = 10,
    processes: Annotated[int, typer.Option("--processes", min=1, metavar="N")] = 1,
    once: Annotated[bool, typer.Option("--once", help="Ends when nothing is left to do now.")] = False,
    on_message: Annotated[
        bool,
        typer.Option("--on-message", help="A message to a session without an open run begins one, of the first AGENT."),
    ] = False,
    max_attempts: Annotated[int, typer.Option("--max-attempts", min=1, metavar="N", help="Then it is exhausted.")] = 10,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SPAN", help="What runs at work get when it is stopped: 20s, 5m.")
    ] = "20s",
    redact: Annotated[
        str | None,
        typer.Option(
            "--redact",
            metavar="MODULE:RULES",
            help="What is not recorded: a Redact, or keys.",
        ),
    ] = None,
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
    url: Url = None,
) -> None:
    """Runs sessions that have work: a message, an answer, a moment that has come, a run that crashed or failed.

    Ctrl-C or SIGTERM stops it: what is at work gets the grace to come to its end, and is
    interrupted then, to be gone on with. A second one ends it at once; nothing is lost by that.
    It tells on stderr what it does.
    """
    from agentstream import Client, Worker
    from agentstream.cli.code import imported
    from agentstream.cli.spans import seconds
    from agentstream.sessions.configured import rules_named

    span = seconds(grace, "--grace")
    functions = [imported(each) for each in agents]
    if processes > 1:
        _supervise(processes, once=once)
        return
    _tell()
    with refusing_arguments():
        client = Client(url, redact=rules_named(redact) if redact else None)
    with client:
        with refusing_arguments():
            at_work = Worker(
                client,
                functions,
                match=match,
                concurrency=concurrency,
                on_message=on_message,
                max_attempts=max_attempts,
                grace=span,
            )
        _stop_with_signals(at_work.stop)
        if attached:
            threading.Thread(target=_stop_with_stdin, args=(at_work.stop,), daemon=True).start()
        logging.getLogger("agentstream.worker").info("working in %s", client.name)
        at_work.run(once=once)


# --- stopping --------------------------------------------------------------------------------------------------------


def _stop_with_signals(stop: Callable[[], object]) -> None:
    """The first signal stops; the second ends the process, as every kill may."""

    def stopped(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda number, frame: os._exit(INTERRUPTED))
        stop()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stopped)


def _stop_with_stdin(stop: Callable[[], object]) -> None:
    """The supervisor holds the other end: it closes it to stop this process, and so does its death."""
    while os.read(0, 4096):  # not through sys.stdin: a thread that reads there is in the way of the interpreter's end
        pass
    stop()


# --- several processes -----------------------------------------------------------------------------------------------


def _supervise(count: int, *, once: bool) -> None:
    stopping = threading.Event()
    groups = [_Process(stopping, once=once) for _ in range(count)]

    def stop() -> None:
        stopping.set()
        for group in groups:
            group.stop()

    _stop_with_signals(stop)
    threads = [threading.Thread(target=group.keep) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # a bounded wait, in which signals are handled
    if any(group.failed for group in groups):
        raise typer.Exit(1)


class _Process:
    """One of several, begun again when it dies."""

    def __init__(self, stopping: threading.Event, *, once: bool) -> None:
        self.failed = False
        self._stopping = stopping
        self._once = once
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            with self._lock:
                # in a session of its own: a terminal's Ctrl-C is for the supervisor alone
                self._process = subprocess.Popen(_command(), stdin=subprocess.PIPE, start_new_session=True)
            code = self._process.wait()
            if code == 0 or self._once:
                self.failed = code != 0
                return
            if self._stopping.is_set():
                return
            print(f"a worker process ended with {code}; another one is begun in {pause:.0f} s", file=sys.stderr)
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def stop(self) -> None:
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()


def _command() -> list[str]:
    """This command line, for one process."""
    arguments, skip = [], False
    for each in sys.argv[1:]:
        if skip or each == "--processes" or each.startswith("--processes="):
            skip = each == "--processes" and not skip
            continue
        arguments.append(each)
    return [sys.executable, "-m", "agentstream.cli", *arguments, "--attached"]


def _tell() -> None:
    """What the worker does, line by line, on stderr."""
    from agentstream.cli.talk import is_quiet
    from agentstream.cli.text import clean

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"{self.formatTime(record, '%H:%M:%S')} [{os.getpid()}] {clean(record.getMessage())}"

    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logger = logging.getLogger("agentstream.worker")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if is_quiet() else logging.INFO)
