"""A process that runs the asking agent in a store: `people_worker.py STORE MARKS [kill AFTER]`.

Each act leaves a mark, so that what was done twice is seen. With `kill asked` the process
kills itself when its question is durable, with `kill answered` just before it hands the answer on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from agentstream import Client, RunWaiting, agent, ask, step
from agentstream.agents import asking

MARKS = Path(sys.argv[2])


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@step
def act(name: str) -> str:
    with MARKS.open("a") as marks:
        marks.write(name + "\n")
    return name


@agent
def asks() -> str:
    act("before")
    color = ask("Which color?", choices=["red", "blue"])
    return act(f"painted {color}")


if __name__ == "__main__":
    if sys.argv[3:] == ["kill", "asked"]:
        asking.Room.park = die  # type: ignore[method-assign, assignment]
    if sys.argv[3:] == ["kill", "answered"]:
        asking._objection = die  # type: ignore[assignment]
    with Client(sys.argv[1]) as client:
        try:
            sys.stdout.write(client.session("s").run(asks) + "\n")
        except RunWaiting as waiting:
            sys.stdout.write(f"waiting {waiting.questions[0].key}\n")
