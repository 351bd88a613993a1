"""What `import agentstream` adds to importing what it needs, and what importing the usual names from it adds.

With bytecode on disk, as whatever is installed has it: a first import is made and thrown away.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from time import perf_counter

from harness import Numbers, Row, in_process, main, median, ms

TIMES = 7
BUDGET = 0.06


def once(folder: str) -> None:
    begun = perf_counter()
    import_module("httpx")
    import_module("pydantic")
    needed = perf_counter()
    face = import_module("agentstream")
    own = perf_counter()
    for name in ("Client", "agent", "step"):
        getattr(face, name)
    print(needed - begun, own - needed, perf_counter() - needed)


def measure(folder: Path, quick: bool) -> dict[str, float]:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    tries = [in_process(__file__, "once", folder).split() for _ in range(TIMES + 1)][1:]
    return {
        name: median([float(one[place]) for one in tries]) for place, name in enumerate(("needed", "package", "usual"))
    }


def rows(numbers: Numbers) -> list[Row]:
    def row(what: str, name: str, beside: str = "") -> Row:
        return Row(what, ms(numbers[name]), beside, limit="≤ 60 ms", kept=numbers[name] <= BUDGET)

    return [
        row("import agentstream, over what it needs", "package", f"import httpx, pydantic: {ms(numbers['needed'])}"),
        row("… from agentstream import Client, agent, step", "usual"),
    ]


if __name__ == "__main__":
    main(measure, once=once)
