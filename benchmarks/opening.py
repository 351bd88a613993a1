"""Opening a session: its state and its last page, and then the first step of a new run, as the session grows.

A client that has read nothing yet each time.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

import sessions
from harness import Numbers, Row, main, median, ms, timed

from agentstream import Client, agent, step

PAGE = 50


@agent
def next_step() -> float:
    return now()


@step
def now() -> float:
    return time.perf_counter()


def measure(folder: Path, quick: bool) -> dict[str, float]:
    sizes = {"short": 1_000, "middle": 10_000, "long": 20_000 if quick else 100_000}
    opened: dict[str, list[float]] = {name: [] for name in sizes}
    begun: dict[str, list[float]] = {name: [] for name in sizes}
    for name, size in sizes.items():
        sessions.make(folder / name, name, size)
    for _ in range(3):
        for name, size in sizes.items():
            state = None
            gc.collect()  # what the last one held is not let go of in this one's time
            with Client(folder / name) as client:
                session = client.session(name)
                with timed(opened[name]):
                    state = session.state()
                    assert state.index >= size
                    assert len(list(session.events(start=state.index - PAGE))) == PAGE
            state = None
            gc.collect()
            with Client(folder / name) as client:
                begin = time.perf_counter()
                begun[name].append(client.session(name).run(next_step) - begin)
    found = {f"{name} events": float(size) for name, size in sizes.items()}
    found |= {f"{name} opened": median(values) for name, values in opened.items()}
    return found | {f"{name} step": median(values) for name, values in begun.items()}


def rows(numbers: Numbers) -> list[Row]:
    found: list[Row] = []
    for key, what in {"opened": "open a session, last page shown", "step": "… and be in the next step"}.items():
        short = numbers[f"short {key}"]
        for name in ("middle", "long"):
            size, took = numbers[f"{name} events"], numbers[f"{name} {key}"]
            beside = f"{numbers['short events']:,.0f} events: {ms(short)}"
            budget = 3 if name == "long" else None
            found.append(Row(f"{what}: {size:,.0f} events", ms(took), beside, took / short, budget))
    return found


if __name__ == "__main__":
    main(measure)
