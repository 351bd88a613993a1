"""What the benchmarks share. Each is one file with two functions, and nothing in it asserts a time:

- `measure(folder, quick)` does one round, in a process of its own, and gives numbers by name;
- `rows(numbers)` says what the medians of several rounds mean, as rows of the table.

What is compared is measured in the same round, one right after the other or in turns, so
that a disk or a machine that is slow today is slow for both.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]  # the servers are started as the tests do it

Numbers = Mapping[str, float]
Measure = Callable[[Path, bool], dict[str, float]]
Role = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` is what was measured over what stands beside it, `budget` its largest value."""

    what: str
    measured: str
    beside: str = ""
    ratio: float | None = None
    budget: float | None = None
    limit: str = ""
    """The budget in words, where it is no ratio; `kept` then says whether it was."""
    kept: bool | None = None


def main(measure: Measure, **roles: Role) -> None:
    """Runs what the command line names: a round (`FOLDER [quick]`), or a part of one in a process of its own."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in roles:
        roles[name](*arguments)
    elif name.startswith("-"):
        raise SystemExit(f"usage: {sys.argv[0]} FOLDER [quick]   (or benchmarks/run.py for the whole table)")
    else:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(folder, "quick" in arguments)))


def in_process(file: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
    """What `file` prints when it is run with these arguments in a process of its own, under the command `before`."""
    command = [*before, sys.executable, file, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


# --- values -----------------------------------------------------------------------------------------------------------


def text(size: int, seed: object = 0) -> str:
    """Text that does not compress to nothing, the same for the same seed."""
    return "".join(random.Random(str(seed)).choices(string.ascii_letters + "    ", k=size))


_LIKE = text(1000)


def another(n: object) -> str:
    """1 KB like no other of another `n`, made at once: a text that is there already would be stored as a reference."""
    return f"{n} {_LIKE}"[:1000]


def quantile(values: list[float], share: float) -> float:
    """The value that `share` of the values are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: list[float]) -> float:
    return quantile(values, 0.5)


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Adds the seconds that the block took."""
    begun = time.perf_counter()
    yield
    into.append(time.perf_counter() - begun)


def encoded(value: Any) -> int:
    """Bytes of a value as plain JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


# --- the disk ---------------------------------------------------------------------------------------------------------


def on_disk(folder: Path) -> int:
    """Bytes of all files below `folder`, after what SQLite still has in write-ahead logs was put in its place."""
    for file in [*folder.rglob("*.db"), *folder.rglob("*.sqlite")]:
        with_log = sqlite3.connect(file)
        with_log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with_log.close()
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


class BareFile:
    """The least that durability costs: 1 KB written at the end of a file, and fdatasync."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._block = text(1024).encode()

    def write(self) -> None:
        os.write(self._file, self._block)
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


# --- showing ----------------------------------------------------------------------------------------------------------


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds * 1000:,.0f} ms"


def kb(size: float) -> str:
    return f"{size / 1000:,.0f} KB" if size < 10_000_000 else f"{size / 1_000_000:,.1f} MB"
