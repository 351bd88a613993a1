"""Beside DBOS, with the database it takes by default (SQLite): the same steps, the same kill, the same resume.

Both run in this process in turn, each with its own store in the same folder. A worker is
killed in the step after the last finished one; resuming is from the call that opens the
store (`Client(…)`, `DBOS.launch()`) to the first new step.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Numbers, Row, another, in_process, kb, main, median, ms, on_disk, timed

from agentstream import Client, agent, step

dies = False
reached = threading.Event()
when = 0.0


def act(n: int, last: bool) -> str:
    """The work of a step: nothing, but it notes when the first new one is reached, or dies there."""
    global when
    if last:
        if dies:
            os._exit(0)
        when = time.perf_counter()
        reached.set()
    return another(n)


@step
def fetch(n: int, last: bool) -> str:
    return act(n, last)


@agent
def worker(steps: int) -> list[float]:
    durations: list[float] = []
    for n in range(steps + 1):
        with timed(durations):
            fetch(n, n == steps)
    return durations


def launch(folder: Path) -> tuple[Any, Callable[[int], list[float]]]:
    """DBOS as a first program has it, in `folder`, and what starts the workflow."""
    os.chdir(folder)  # its default is a file in the working folder
    from dbos import DBOS, SetWorkflowID

    DBOS(config={"name": "bench", "log_level": "ERROR", "executor_id": "bench", "application_version": "1"})

    @DBOS.step()
    def dbos_fetch(n: int, last: bool) -> str:
        return act(n, last)

    @DBOS.workflow()
    def dbos_worker(steps: int) -> list[float]:
        durations: list[float] = []
        for n in range(steps + 1):
            with timed(durations):
                dbos_fetch(n, n == steps)
        return durations

    def start(steps: int) -> list[float]:
        with SetWorkflowID(f"workflow-{steps}"):
            return dbos_worker(steps)

    return DBOS, start


def ours_dies(folder: str, steps: str) -> None:
    global dies
    dies = True
    Client(folder).session("killed").run(worker, int(steps))


def theirs_dies(folder: str, steps: str) -> None:
    global dies
    dbos, start = launch(Path(folder))
    dbos.launch()
    dies = True
    start(int(steps))


def measure(folder: Path, quick: bool) -> dict[str, float]:
    steps = 100 if quick else 1000
    places = {name: folder / name for name in ("ours", "theirs", "ours killed", "theirs killed")}
    for place in places.values():
        place.mkdir()
    in_process(__file__, "ours_dies", places["ours killed"], steps)
    in_process(__file__, "theirs_dies", places["theirs killed"], steps)
    found: dict[str, float] = {"steps": steps}

    begun = time.perf_counter()
    with Client(places["ours killed"]) as client:
        client.session("killed").run(worker, steps)
    found["ours resume"] = when - begun
    reached.clear()
    with Client(places["ours"]) as client:
        found["ours"] = median(client.session("alive").run(worker, steps)[:-1])
    found["ours disk"] = on_disk(places["ours"])

    dbos, start = launch(places["theirs"])
    dbos.launch()
    found["theirs"] = median(start(steps)[:-1])
    dbos.destroy()
    reached.clear()
    os.chdir(folder)
    found["theirs disk"] = on_disk(places["theirs"])
    found["theirs resume"] = float(in_process(__file__, "theirs_resumes", places["theirs killed"]))
    return found


def theirs_resumes(folder: str) -> None:
    dbos, _ = launch(Path(folder))
    begun = time.perf_counter()
    dbos.launch()
    if not reached.wait(120):
        raise SystemExit("DBOS did not resume the workflow")
    print(when - begun, flush=True)
    os._exit(0)


def rows(numbers: Numbers) -> list[Row]:
    steps = f"{numbers['steps']:,.0f} steps of 1 KB"

    def row(what: str, name: str, show: Callable[[float], str]) -> Row:
        ours, theirs = numbers[f"ours{name}"], numbers[f"theirs{name}"]
        return Row(what, show(ours), f"DBOS {show(theirs)}", ours / theirs)

    return [
        row(f"{steps}: a step, p50", "", ms),
        row(f"{steps}: disk", " disk", kb),
        row(f"{steps}: resume, to the first new step", " resume", ms),
    ]


if __name__ == "__main__":
    main(measure, ours_dies=ours_dies, theirs_dies=theirs_dies, theirs_resumes=theirs_resumes)
