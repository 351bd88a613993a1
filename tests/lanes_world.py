"""Agents of several lanes with random latencies, for tests that crash them; also a program that is killed.

    python lanes_world.py MODE SEED STORE LOG KILL_AFTER

A log of lines `did LANE STEP` (an effect was had) and `got LANE STEP` (its outcome reached the agent) is what
tells whether something was done again. The program kills itself with SIGKILL when the KILL_AFTERth new outcome
of its life has reached the agent.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agentstream import AsyncClient, Client, agent, in_run, step

LANES, STEPS = 3, 3
MODES = ("gather", "taskgroup", "to_thread", "pool", "thread")


class World:
    """What is outside: it notes what was done, and by whom an outcome was got."""

    def __init__(self, mode: str, seed: int, log: Path | None = None, kill_after: int = 0) -> None:
        self.mode = mode
        self.seed = seed
        self.did: list[tuple[int, int]] = []
        self.got: list[tuple[int, int]] = []
        self.changed: tuple[int, int] | None = None
        self._random = random.Random(f"{seed}/{os.getpid()}/{time.time_ns()}")
        self._log = log
        self._kill_after = kill_after
        self._lock = threading.Lock()
        self.agent = self._make()

    @property
    def is_async(self) -> bool:
        return self.mode in ("gather", "taskgroup", "to_thread")

    def expected(self) -> list[list[int]]:
        return [[lane * 100 + number for number in range(STEPS)] for lane in range(LANES)]

    def done(self, lane: int, number: int) -> int:
        with self._lock:
            self.did.append((lane, number))
            self._note("did", lane, number)
        return lane * 100 + number

    def reached(self, lane: int, number: int) -> None:
        with self._lock:
            self.got.append((lane, number))
            self._note("got", lane, number)
            if self._kill_after and len(set(self.got) & set(self.did)) >= self._kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, what: str, lane: int, number: int) -> None:
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(f"{what} {lane} {number}\n")

    def pause(self) -> float:
        return self._random.choice((0, 0, 0.001, 0.003))

    def asked(self, lane: int, number: int) -> dict[str, Any]:
        """What a step is asked: the same on every life, but for the one that a test has changed."""
        return {"text": f"lane {lane} step {number}", "changed": (lane, number) == self.changed}

    def _make(self) -> Any:
        world = self

        @step(name="work")
        def work(lane: int, number: int, asked: dict[str, Any]) -> int:
            time.sleep(world.pause())
            return world.done(lane, number)

        @step(name="work")
        async def awork(lane: int, number: int, asked: dict[str, Any]) -> int:
            await asyncio.sleep(world.pause())
            return world.done(lane, number)

        def lane(index: int) -> list[int]:
            results: list[int] = []
            for number in range(STEPS):
                time.sleep(world.pause())
                results.append(work(index, number, world.asked(index, number)))
                world.reached(index, number)
            return results

        async def alane(index: int) -> list[int]:
            results: list[int] = []
            for number in range(STEPS):
                await asyncio.sleep(world.pause())
                results.append(await awork(index, number, world.asked(index, number)))
                world.reached(index, number)
            return results

        @agent(name="lanes")
        async def gather() -> list[list[int]]:
            return list(await asyncio.gather(*map(alane, range(LANES))))

        @agent(name="lanes")
        async def taskgroup() -> list[list[int]]:
            async with asyncio.TaskGroup() as group:  # pyright: ignore[reportAttributeAccessIssue]
                tasks = [group.create_task(alane(index)) for index in range(LANES)]
            return [task.result() for task in tasks]

        @agent(name="lanes")
        async def to_thread() -> list[list[int]]:
            return list(await asyncio.gather(*(asyncio.to_thread(lane, index) for index in range(LANES))))

        @agent(name="lanes")
        def pool() -> list[list[int]]:
            with ThreadPoolExecutor(LANES) as workers:
                return list(workers.map(in_run(lane), range(LANES)))

        @agent(name="lanes")
        def thread() -> list[list[int]]:
            results: list[list[int] | BaseException] = [[]] * LANES

            def kept(index: int) -> None:
                try:
                    results[index] = lane(index)
                except BaseException as error:
                    results[index] = error

            threads = [threading.Thread(target=in_run(kept), args=(index,)) for index in range(LANES)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            return results  # type: ignore[return-value]

        return {"gather": gather, "taskgroup": taskgroup, "to_thread": to_thread, "pool": pool, "thread": thread}[
            self.mode
        ]

    def run(self, store: Any) -> list[list[int]]:
        """One life: the run is begun or goes on, in the store at a place or of a backend."""
        if self.is_async:
            return asyncio.run(self._arun(store))
        return Client(store).session("lanes").with_options(take_over=True).run(self.agent)

    async def _arun(self, store: Any) -> list[list[int]]:
        return await AsyncClient(store).session("lanes").with_options(take_over=True).run(self.agent)

    def replay(self, store: Any) -> Any:
        if self.is_async:
            return asyncio.run(AsyncClient(store).session("lanes").replay(self.agent))
        return Client(store).session("lanes").replay(self.agent)


def main() -> None:
    mode, seed, store, log, kill_after = sys.argv[1:]
    world = World(mode, int(seed), Path(log), int(kill_after))
    result = world.run(store)
    sys.exit(0 if result == world.expected() else f"got {result}")


if __name__ == "__main__":
    main()
