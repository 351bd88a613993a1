"""A thousand steps of 1 KB: the bytes they take on disk, and whether the last are as fast as the first."""

from __future__ import annotations

from pathlib import Path

from harness import Numbers, Row, encoded, kb, main, median, ms, on_disk, text, timed

from agentstream import Client, agent, step

SIZE, MANY = 1000, 100


@step
def fetch(query: str) -> str:
    return text(SIZE, query)


def measure(folder: Path, quick: bool) -> dict[str, float]:
    steps = 300 if quick else 1000
    durations: list[float] = []

    @agent
    def worker() -> None:
        for n in range(steps):
            with timed(durations):
                fetch(f"query {n}")

    with Client(folder / "store") as client:
        client.session("thousand").run(worker)
    payload = sum(encoded({"query": f"query {n}"}) + encoded(text(SIZE, f"query {n}")) for n in range(steps))
    first, last = durations[1 : MANY + 1], durations[-MANY:]  # the very first makes the file's first pages
    return {
        "steps": steps,
        "disk": on_disk(folder / "store"),
        "payload": payload,
        "first": median(first),
        "last": median(last),
    }


def rows(numbers: Numbers) -> list[Row]:
    disk, payload = numbers["disk"], numbers["payload"]
    first, last = numbers["first"], numbers["last"]
    many = f"{numbers['steps']:,.0f} steps of 1 KB"
    return [
        Row(f"{many}: disk after a checkpoint", kb(disk), f"input + output {kb(payload)}", disk / payload, 1.5),
        Row(f"{many}: p50 of the last {MANY}", ms(last), f"of the first {MANY} {ms(first)}", last / first),
    ]


if __name__ == "__main__":
    main(measure)
