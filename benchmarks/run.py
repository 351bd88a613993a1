"""Runs the benchmarks and prints their table.

    python benchmarks/run.py                 # every one, the median of several rounds
    python benchmarks/run.py --quick         # smaller, one round: whether they work, and a first idea
    python benchmarks/run.py steps tokens    # some

Each is run in a process and a folder of its own; see `harness.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness import Numbers, Row, in_process, median

HERE = Path(__file__).resolve().parent
SCRATCH = HERE.parent / "build" / "bench"
"""Beside the code: a temporary folder may be in memory, where nothing costs what it costs on a disk."""

ROUNDS = 5
BENCHMARKS: dict[str, int] = {
    "steps": ROUNDS,
    "thousand_steps": ROUNDS,
    "resuming": ROUNDS,
    "forking": 3,
    "opening": 3,
    "tokens": 3,
    "following": 3,
    "waking": 1,
    "conversation": 1,  # bytes: every round gives the same
    "importing": ROUNDS,
    "beside_dbos": 3,
    "beside_langgraph": 3,
    "savers": 3,
    "over_http": 3,
    "serving": 3,
    "inspector": 3,
    "sdks": 3,
    "beside_step_persistence": 3,
}
"""Their names, and how many rounds of each the table takes the median of."""


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: median([numbers[name] for numbers in rounds]) for name in rounds[0]}


def measured(name: str, rounds: int, folder: Path, quick: bool) -> Numbers:
    """The medians of several rounds, each in a process and a folder of its own."""
    results: list[dict[str, float]] = []
    for number in range(1 if quick else rounds):
        place = Path(tempfile.mkdtemp(prefix=f"{name}-{number}-", dir=folder))
        try:
            results.append(json.loads(in_process(str(HERE / f"{name}.py"), place, *["quick"] * quick)))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return medians(results)


def line(row: Row) -> str:
    """A row in markdown, with the ratio beside its budget."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}×" if row.ratio < 100 else f"{row.ratio:,.0f}×"
    limit = row.limit or ("" if row.budget is None else f"≤ {row.budget:g}×")
    kept = row.kept if row.budget is None or row.ratio is None else row.ratio <= row.budget
    cells = [row.what, row.measured, row.beside, ratio, limit, {True: "kept", False: "**over**", None: ""}[kept]]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="What agentstream costs, beside its peers and its budgets.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and one round")
    parser.add_argument("--on", type=Path, default=SCRATCH, metavar="FOLDER", help="the disk to measure on")
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    options.on.mkdir(parents=True, exist_ok=True)

    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n")
    print("| what | agentstream | beside it | ratio | budget | |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in options.names or BENCHMARKS:
        begun = time.monotonic()
        numbers = measured(name, BENCHMARKS[name], options.on, options.quick)
        for row in importlib.import_module(name).rows(numbers):
            print(line(row), flush=True)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
