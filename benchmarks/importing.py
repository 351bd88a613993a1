"""What `import agentstream` adds to importing what it needs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from time import perf_counter

from harness import Numbers, Row, in_process, main, median, ms

TIMES = 7


def once(folder: str) -> None:
    begun = perf_counter()
    import_module("httpx")
    import_module("pydantic")
    needed = perf_counter()
    import_module("agentstream")
    print(needed - begun, perf_counter() - needed)


def measure(folder: Path, quick: bool) -> dict[str, float]:
    tries = [in_process(__file__, "once", folder).split() for _ in range(TIMES)]
    return {"needed": median([float(one[0]) for one in tries]), "own": median([float(one[1]) for one in tries])}


def rows(numbers: Numbers) -> list[Row]:
    own = numbers["own"]
    beside = f"import httpx, pydantic: {ms(numbers['needed'])}"
    return [Row("import agentstream, over what it needs", ms(own), beside, limit="≤ 60 ms", kept=own <= 0.06)]


if __name__ == "__main__":
    main(measure, once=once)
