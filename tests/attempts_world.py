"""A program whose step fails; it is killed in the pause between two attempts.

    python attempts_world.py WAY STORE LOG

Each attempt writes a line `ATTEMPT IDEMPOTENCY_KEY` to the log. The third comes off.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from agentstream import AsyncClient, Client, agent, current_step, step
from agentstream.agents import steps

WORKS_AT = 3


def agent_of(way: str, log: Path) -> Any:
    def attempt() -> str:
        now = current_step()
        with log.open("a") as file:
            file.write(f"{now.attempt} {now.idempotency_key}\n")
        if now.attempt < WORKS_AT:
            raise ConnectionError(f"attempt {now.attempt}")
        return f"attempt {now.attempt} came off"

    @step(retries=2)
    def work() -> str:
        return attempt()

    @step(name="work", retries=2)
    async def awork() -> str:
        return attempt()

    @step
    async def beside(name: str) -> str:
        return name

    @agent
    def patient() -> str:
        return work()

    @agent(name="patient")
    async def apatient() -> str:
        first = asyncio.ensure_future(awork())
        await asyncio.sleep(0.01)
        await asyncio.gather(beside("one"), beside("two"))  # lanes that are opened while the other one pauses
        return await first

    return apatient if way == "async" else patient


def main() -> None:
    way, store, log = sys.argv[1:]
    steps.FIRST_PAUSE = 600.0
    function = agent_of(way, Path(log))
    if way == "async":
        asyncio.run(AsyncClient(store).session("s").run(function))
    else:
        Client(store).session("s").run(function)


if __name__ == "__main__":
    main()
