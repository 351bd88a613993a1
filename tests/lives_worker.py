"""One life of a random program in a process of its own, which may kill itself at an append.

`lives_worker.py STORE LIFE MARKS`: LIFE is JSON with `program`, `in_loop`, `session`, `thrown`, `ahead`
(of the clock) and `after` (appends, or null). Each act, and each step that returned, leaves a line in
MARKS. Prints the result; ends with 3 where there is none yet.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from failing import FailingBackend
from lives_driver import Clock
from lives_world import Broken, Life

from agentstream import AsyncClient, Client, OutcomeUnknown, RunWaiting
from agentstream.backends.embedded import EmbeddedBackend

NOT_YET = 3


class DyingBackend(FailingBackend):
    """Kills the process instead of refusing."""

    def _admit(self, operation: Any) -> None:
        try:
            super()._admit(operation)
        finally:
            if self.dead:
                os.kill(os.getpid(), signal.SIGKILL)


class Marking:
    """A Counter and a set at once, as far as a life writes to them, that leaves lines in a file."""

    def __init__(self, file: int, what: str) -> None:
        self._file, self._what = file, what

    def add(self, place: tuple[str, str]) -> None:
        os.write(self._file, (json.dumps([self._what, *place]) + "\n").encode())

    def __getitem__(self, place: tuple[str, str]) -> int:
        return 0

    def __setitem__(self, place: tuple[str, str], count: int) -> None:
        self.add(place)


def live(store: str, told: dict[str, Any], marks: str) -> Any:
    file = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    life = Life(told["program"], in_loop=told["in_loop"], thrown=set(told["thrown"]))
    made: Any = Marking(file, "made")
    returned: Any = Marking(file, "returned")
    life.made, life.returned = made, returned
    backend: Any = EmbeddedBackend(store)
    backend = DyingBackend(backend, after=told["after"]) if told["after"] is not None else backend
    clock = Clock()
    clock.ahead = told["ahead"]
    with clock.ticking():
        if told["in_loop"]:
            return asyncio.run(_alive(AsyncClient(backend), told["session"], life))
        return Client(backend).session(told["session"]).with_options(max_attempts=99).run(life.agent)


async def _alive(client: AsyncClient, session: str, life: Life) -> Any:
    return await client.session(session).with_options(max_attempts=99).run(life.agent)


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(live(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])))
    except (RunWaiting, OutcomeUnknown):
        sys.exit(NOT_YET)
    except Broken:
        sys.stdout.write("thrown")
        sys.exit(NOT_YET)
