"""What one recorded step costs: a step that returns 1 KB, beside 1 KB written bare to the same disk.

Blocks of bare writes, steps and `once` steps take turns, so that all meet the same disk.
fsyncs are counted by strace where it is installed: the difference of two runs of different
length, so that opening and closing the store do not count.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import BareFile, Numbers, Row, another, in_process, main, median, ms, quantile, timed

from agentstream import Client, agent, step


@step
def fetch(n: int) -> str:
    return another(n)


@step(effect="once")
def send(n: int) -> str:
    return another(f"sent {n}")


@agent
def idle(steps: int, effect: str) -> None:
    for n in range(steps):
        (send if effect == "once" else fetch)(n)


class BareTable:
    """The least that SQLite takes for it: 1 KB inserted and committed, with the settings of the store."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE rows(id INTEGER PRIMARY KEY, body BLOB)")

    def write(self) -> None:
        self._connection.execute("INSERT INTO rows(body) VALUES (?)", (another(0),))


def in_turns(folder: Path, blocks: int, size: int) -> Iterator[tuple[str, float]]:
    """Durations by name, block after block of each kind."""
    bare, table = BareFile(folder / "bare"), BareTable(folder / "bare.db")
    durations: dict[str, list[float]] = {"bare": [], "sqlite": [], "step": [], "once": []}
    work = {"bare": lambda n: bare.write(), "sqlite": lambda n: table.write(), "step": fetch, "once": send}

    @agent
    def worker() -> None:
        for block in range(blocks):
            for name, call in work.items():
                for n in range(size):
                    with timed(durations[name]):
                        call(block * size + n)

    with Client(folder / "store") as client:
        client.session("steps").run(worker)
    bare.close()
    for name, all_of_it in durations.items():
        for duration in all_of_it[size // 2 :]:
            yield name, duration


def syncs(effect: str) -> float:
    """fsync and fdatasync calls for one step; -1 where there is no strace."""
    strace = shutil.which("strace")
    if strace is None:
        return -1
    counts: list[int] = []
    few, many = 100, 300
    for steps in (few, many):
        with tempfile.TemporaryDirectory() as scratch:
            log = os.path.join(scratch, "calls")
            traced = (strace, "-f", "-o", log, "-e", "trace=fsync,fdatasync")
            in_process(__file__, "run", os.path.join(scratch, "store"), steps, effect, before=traced)
            counts.append(len(re.findall(r"(?:fsync|fdatasync)\(", Path(log).read_text())))
    return (counts[1] - counts[0]) / (many - few)


def run(folder: str, steps: str, effect: str) -> None:
    with Client(folder) as client:
        client.session("counted").run(idle, int(steps), effect)


def measure(folder: Path, quick: bool) -> dict[str, float]:
    durations: dict[str, list[float]] = {}
    for name, duration in in_turns(folder, 3 if quick else 10, 50 if quick else 100):
        durations.setdefault(name, []).append(duration)
    found = {name: median(values) for name, values in durations.items()}
    found |= {f"{name} p99": quantile(values, 0.99) for name, values in durations.items()}
    return {**found, "syncs": syncs("repeat"), "syncs once": syncs("once")}


def rows(numbers: Numbers) -> list[Row]:
    bare, sqlite, once = numbers["bare"], numbers["sqlite"], numbers["once"]
    beside = f"1 KB + fdatasync {ms(bare)}"
    return [
        Row("a step of 1 KB, p50", ms(numbers["step"]), beside, numbers["step"] / bare, 2),
        Row("… p99", ms(numbers["step p99"]), ms(numbers["bare p99"]), numbers["step p99"] / numbers["bare p99"]),
        Row("… beside bare SQLite", ms(numbers["step"]), f"insert + commit {ms(sqlite)}", numbers["step"] / sqlite),
        Row("a `once` step of 1 KB, p50", ms(once), beside, once / bare, 4),
        _counted("fsyncs a step", numbers["syncs"], 1),
        _counted("fsyncs a `once` step", numbers["syncs once"], 2),
    ]


def _counted(what: str, count: float, budget: int) -> Row:
    if count < 0:
        return Row(what, "not counted (no strace)", limit=f"{budget}")
    return Row(what, f"{count:.2f}", limit=f"{budget}", kept=count < budget + 0.05)


if __name__ == "__main__":
    main(measure, run=run)
