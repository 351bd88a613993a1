"""A worker on a server, in a process of its own: `remote_worker.py URL FOLDER AGENT`. Each step leaves a line in
FOLDER/did.

Its patience is short, so that what others leave behind is soon seen.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from agentstream import Client, Worker, agent, sleep, step
from agentstream.agents import noticing, serving, sleeping, waiting
from agentstream.backends.remote import RemoteBackend

FOLDER = Path(sys.argv[2] if __name__ == "__main__" else ".")


def did(what: str) -> None:
    with open(FOLDER / "did", "a") as file:
        file.write(f"{os.getpid()} {what}\n")


@step
def work(name: str) -> str:
    did(name)
    return name.upper()


@step
async def hold(name: str) -> str:
    """Takes until the test says so."""
    did(f"held {name}")
    while not (FOLDER / f"free {name}").exists():
        await asyncio.sleep(0.02)
    return name


@agent
def greet(text: str) -> str:
    return work(text)


@agent
def patient(text: str) -> str:
    work(f"{text} before")
    sleep(2)
    return work(f"{text} after")


@agent
def flaky(text: str) -> str:
    did(text)
    if len((FOLDER / "did").read_text().splitlines()) < 3:
        raise ValueError("not yet")
    return text


@agent
async def held(text: str) -> str:
    first = work(text)
    return first + await hold(text)


if __name__ == "__main__":
    noticing.AROUND = 1.0
    noticing.WAKE_LEASE = 1.0
    serving.REMOTE_LEASE = 0.2
    for room in (sleeping, waiting):
        setattr(room, "NEAR", 0.5)  # noqa: B010
    begun: Any = globals()[sys.argv[3]]
    with Client(RemoteBackend(sys.argv[1], lease_ttl=2)) as client:
        Worker(client, begun, on_message=True, concurrency=4, first_pause=0.1).run()
