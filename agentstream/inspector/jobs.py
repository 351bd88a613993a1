"""Command lines that the page has run: the user's own code, in a process of its own that can be stopped.

The page shows each as it is typed, and what it runs is that: `agentstream replay … --json`, from
the folder in which the inspector was begun. What the agent prints is kept apart from the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentstream.inspector.actions import Edit, ForkRequest, fork_arguments
from agentstream.inspector.requests import Failed
from agentstream.sessions.ids import fresh_id

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from agentstream.inspector.service import Inspector

KEPT = 50
"""Jobs whose answers are kept."""
MOST = 4
"""Jobs that run at once."""
WAIT = 20.0
"""Seconds that one asks for the end of a job at most."""
PATIENCE = 5.0
"""Seconds between asking a process to end, and ending it."""
LARGEST = 64 * 1024 * 1024
"""Bytes of an answer."""
SHOWN = 20_000
"""Bytes of what was said besides, from its end."""


class JobRequest(msgspec.Struct, rename="camel"):
    """As the page asks for a job. `run` is the agent, `MODULE:AGENT`."""

    verb: Literal["replay", "fork", "resume"]
    session: str
    run: str
    at: int | None = None
    match: Literal["strict", "ordered", "identity"] = "strict"
    keep_going: bool = False
    until: str | None = None
    breaks: list[str] = msgspec.field(name="break", default_factory=list)
    live_from: str | None = None
    new_id: str | None = msgspec.field(name="as", default=None)
    model: str | None = None
    system: str | None = None
    mock: dict[str, Any] = {}
    allow: list[str] = []
    repeat: int = 1
    check: str | None = None
    input: Any = msgspec.UNSET
    run_id: str | None = None
    edit: Edit | None = None
    note: str | None = None
    untyped: bool = False


class Job:
    """One command line that was begun."""

    def __init__(self, id: str, verb: str, command: str) -> None:
        self.id = id
        self.verb = verb
        self.command = command
        self.begun = time.monotonic()
        self.took: float | None = None
        self.stopped = False
        self.code: int | None = None
        self.out = b""
        self.err = b""
        self.process: Process | None = None
        self.done = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def document(self) -> dict[str, Any]:
        """How it stands, and its answer."""
        spent = self.took if self.took is not None else time.monotonic() - self.begun
        answer, error = _answer_in(self.out), _error_in(self.err)
        return {
            "job": self.id,
            "verb": self.verb,
            "state": "running" if not self.done.is_set() else "stopped" if self.stopped else "done",
            "code": self.code,
            "command": self.command,
            "result": answer,
            "error": error,
            "stderr": self.err[-SHOWN:].decode("utf-8", "replace"),
            "ms": round(spent * 1000),
        }


class Jobs:
    """The jobs of one inspector."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    async def begin(self, asked: JobRequest) -> Job:
        """Begins what was asked for."""
        if sum(not job.done.is_set() for job in self._jobs.values()) >= MOST:
            raise Failed(409, "busy", f"{MOST} jobs run already", "stop one, or wait for it")
        arguments = arguments_of(asked)
        job = Job(fresh_id(), asked.verb, self._inspector.typed(arguments))
        place = self._inspector.place
        if place is None:
            raise Failed(409, "failed", f"{self._inspector.client.name} is inside this process; no other one sees it")
        options = ["--json", "--url", place, *(["--yes"] if asked.live_from is not None else [])]
        job.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentstream.cli", *arguments[:1], *options, *arguments[1:]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._jobs[job.id] = job
        job.task = asyncio.create_task(_attend(job, job.process))
        for old in [id for id, each in self._jobs.items() if each.done.is_set()][: max(len(self._jobs) - KEPT, 0)]:
            del self._jobs[old]
        return job

    def find(self, id: str) -> Job:
        """The job of this id. `Failed` if there is none."""
        job = self._jobs.get(id)
        if job is None:
            raise Failed(404, "not_found", f"there is no job {id[:80]!r}")
        return job

    async def wait(self, job: Job) -> None:
        """Waits for its end, for a while."""
        with suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(job.done.wait(), WAIT)

    async def stop(self, job: Job) -> None:
        """Has it end: asked as by Ctrl-C, then made to."""
        if job.process is None or job.done.is_set():
            return
        job.stopped = True
        for number in (signal.SIGINT, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(job.process.pid, number)
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(job.done.wait(), PATIENCE)
                return

    async def close(self) -> None:
        """Ends them all."""
        await asyncio.gather(*(self.stop(job) for job in self._jobs.values()))


def arguments_of(asked: JobRequest) -> list[str]:
    """The command line that a job is, without what is added to run it. No value is taken for an option."""
    if asked.verb == "fork":
        request = ForkRequest(asked.session, asked.new_id or "", asked.at, asked.edit, asked.note, asked.untyped)
        if asked.edit is not None and asked.edit.kind == "input":
            asked.edit.run = asked.run
            return fork_arguments(request, request.new_id)
        verb, *rest = fork_arguments(request, request.new_id)
        return [verb, f"--run={asked.run}", *rest]
    if asked.verb == "resume":
        return ["resume", *([f"--run={asked.run_id}"] if asked.run_id else []), "--", asked.session, asked.run]
    given: list[tuple[str, Any]] = [
        ("--run", asked.run_id),
        ("--input", None if asked.input is msgspec.UNSET else _json(asked.input)),
        ("--until", asked.until),
        *(("--break", each) for each in asked.breaks),
        ("--match", asked.match if asked.match != "strict" else None),
        ("--live-from", asked.live_from),
        ("--as", asked.new_id),
        ("--model", asked.model),
        ("--system", asked.system),
        *(("--mock", f"{name}={_json(value)}") for name, value in asked.mock.items()),
        *(("--allow", each) for each in asked.allow),
        ("--repeat", asked.repeat if asked.repeat != 1 else None),
        ("--check", asked.check),
    ]
    options = [f"{name}={value}" for name, value in given if value is not None]
    session = asked.session + (f"@{asked.at}" if asked.at is not None and asked.until is None else "")
    return ["replay", *(["--keep-going"] if asked.keep_going else []), *options, "--", session, asked.run]


async def _attend(job: Job, process: Process) -> None:
    """Reads what it says until it ends."""
    assert process.stdout is not None
    assert process.stderr is not None

    async def read(stream: asyncio.StreamReader, name: str, most: int) -> None:
        while part := await stream.read(65536):
            setattr(job, name, (getattr(job, name) + part)[-most:])

    await asyncio.gather(read(process.stdout, "out", LARGEST), read(process.stderr, "err", 10 * SHOWN))
    job.code = await process.wait()
    job.took = time.monotonic() - job.begun
    job.done.set()


def _answer_in(out: bytes) -> Any:
    """The document of `--json`: the last line that is one, below what the agent printed."""
    for line in reversed(out.splitlines()):
        with suppress(ValueError, RecursionError):
            document = json.loads(line)
            if isinstance(document, dict) and "schema" in document:
                return document.get("data")
    return None


def _error_in(err: bytes) -> Any:
    for line in reversed(err.splitlines()):
        with suppress(ValueError, RecursionError):
            document = json.loads(line)
            if isinstance(document, dict) and isinstance(document.get("error"), dict):
                return document["error"]
    return None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
