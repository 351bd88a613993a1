"""Resuming a run of many finished steps: from `session.run` to the first new step, after the worker was killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness import Numbers, Row, another, in_process, main, ms

from agentstream import Client, agent, step

reached: float | None = None


@step
def fetch(n: int, last: bool) -> str:
    global reached
    if last:
        reached = time.perf_counter()
        if os.environ.get("BENCH_DIES"):
            os._exit(0)
    return another(n)


@agent
def worker(steps: int) -> int:
    return sum(len(fetch(n, n == steps)) for n in range(steps + 1))


def crash(folder: str, steps: str) -> None:
    """Finishes `steps` steps and dies in the next."""
    os.environ["BENCH_DIES"] = "1"
    Client(folder).session("killed").run(worker, int(steps))


def measure(folder: Path, quick: bool) -> dict[str, float]:
    few, many = 10, 200 if quick else 1000
    found: dict[str, float] = {"few": few, "many": many}
    for name, steps in (("few", few), ("many", many)):
        in_process(__file__, "crash", folder / name, steps)
        with Client(folder / name) as client:
            begun = time.perf_counter()
            client.session("killed").run(worker, steps)
        assert reached is not None
        found[f"{name} took"] = reached - begun
    return found


def rows(numbers: Numbers) -> list[Row]:
    few, many = numbers["few took"], numbers["many took"]
    a_step = (many - few) / (numbers["many"] - numbers["few"])
    what = f"resume after {numbers['many']:,.0f} steps of 1 KB: to the first new step"
    return [Row(what, f"{ms(many)}, {a_step * 1e6:.0f} µs a step", f"after {numbers['few']:.0f} steps: {ms(few)}")]


if __name__ == "__main__":
    main(measure, crash=crash)
